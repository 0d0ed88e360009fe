//! From start to end: the kinds, the election, and a controller per leadership.

use std::{
    collections::BTreeMap, fs, future::Future, io, net::SocketAddr, path::PathBuf, pin::pin, sync::Arc,
    time::Duration,
};

use eni_cloud_tencent::TencentCloud;
use eni_core::{
    cloud::Cloud,
    controller::{Backends, PoolConfig, PoolController},
    env::{Environment, SystemEnvironment},
};
use eni_kube::{
    ConnectError, Election, ElectionOptions, KubeCluster, KubeOptions, NodeMarks, connect,
    crd::{self, InstallError},
};
use kube::Client;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::Instrument;

use crate::{
    http,
    memory_cloud::{self, PlanError},
    options::{CloudKind, Options},
    status::{Status, Term},
    tencent::{self, TencentError},
};

/// The source of our events.
const COMPONENT: &str = "tke-eni-ipamd";

/// The tag that says whose an ENI is, as TKE's EIPs bear it.
const CLUSTER_TAG: &str = "tke-clusterId";

/// The tag that tells our ENIs from others of the cluster, after that of TKE's EIPs.
const OURS_TAG: &str = "tke-created-eni";

/// How long an API server may refuse what it must allow.
const REFUSALS: Duration = Duration::from_secs(30);

/// Why ipamd does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cloud in memory.
    #[error(transparent)]
    MemoryCloud(#[from] PlanError),
    /// Tencent Cloud.
    #[error(transparent)]
    Tencent(#[from] TencentError),
    /// The Kubernetes API.
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    /// The custom resources.
    #[error(transparent)]
    Kinds(#[from] InstallError),
    /// The port.
    #[error("--health-address {address}: {source}; end what listens there, or take another port")]
    Port {
        /// What was given.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Runs until `shutdown` is ready, and gives leadership back then.
///
/// Whoever loses it without that is a candidate again: what it knew of the cloud ends with the controller.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let environment = SystemEnvironment::shared();
    let provider = provider(&options, &environment)?;
    let identity = identity(environment.as_ref());
    let span = tracing::info_span!("ipamd", cluster = options.cluster_id, identity);
    let whole = async {
        Ipamd::start(provider, options, identity, environment, shutdown).await?;
        tracing::info!("ipamd stops");
        Ok(())
    };
    whole.instrument(span).await
}

/// What lasts longer than one leadership.
struct Ipamd {
    options: Options,
    cloud: Arc<dyn Cloud>,
    client: Client,
    cluster: Arc<KubeCluster>,
    environment: Arc<dyn Environment>,
    status: Arc<Status>,
}

impl Ipamd {
    async fn start(
        provider: Provider,
        options: Options,
        identity: String,
        environment: Arc<dyn Environment>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        let client = connect(&options.access()).await?;
        let address = options.health_address;
        let bound = TcpListener::bind(address).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|source| StartError::Port { address, source })?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, subnets = ?options.subnets, "ipamd starts");

        let status = Arc::new(Status::new(identity.clone(), provider.tencent));
        let mut server = JoinSet::new();
        server.spawn(http::serve(listener, status.clone()));
        let mut shutdown = pin!(shutdown);
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            installed = install(&client, &options) => installed?,
        }
        let election = Election::new(client.clone(), election(&options, identity), environment.clone());
        let kube_options = KubeOptions::new(COMPONENT);
        let ipamd = Self {
            cluster: Arc::new(KubeCluster::new(
                client.clone(),
                &kube_options,
                environment.clone(),
            )),
            client,
            options,
            cloud: provider.cloud,
            environment,
            status,
        };
        ipamd.lead(&election, shutdown).await;
        Ok(())
    }

    /// Leads whenever it can, until `shutdown` is ready.
    async fn lead(&self, election: &Election, mut shutdown: impl Future<Output = ()> + Unpin) {
        loop {
            let leader = tokio::select! {
                biased;
                () = &mut shutdown => return,
                leader = election.lead() => leader,
            };
            let pools = PoolController::new(
                Backends {
                    cloud: self.cloud.clone(),
                    cluster: self.cluster.clone(),
                    environment: self.environment.clone(),
                    leadership: leader.leadership(),
                },
                pool_config(&self.options),
            );
            let term = self.status.begin(Term {
                leadership: leader.leadership(),
                pools: pools.monitor(),
            });
            let marks = NodeMarks::new(
                self.client.clone(),
                &KubeOptions::new(COMPONENT),
                self.options.node_marks(),
                self.environment.clone(),
                leader.leadership(),
            );
            // The pools know when leadership is lost.
            let duties = async {
                tokio::select! {
                    biased;
                    () = pools.run() => {}
                    never = marks.run() => match never {},
                }
            };
            let span = tracing::info_span!("term", number = term);
            let stopped = tokio::select! {
                biased;
                () = &mut shutdown => true,
                () = duties.instrument(span) => false,
            };
            self.status.end();
            // The controller is gone by now, and its calls with it.
            leader.release().await;
            if stopped {
                return;
            }
        }
    }
}

/// Defines our kinds. An API server that does not answer is waited for, and one that refuses for a while: when it
/// starts it has not read the roles yet.
async fn install(client: &Client, options: &Options) -> Result<(), InstallError> {
    let mut answers_since = Instant::now();
    loop {
        let Err(error) = crd::install(client.clone()).await else {
            return Ok(());
        };
        if matches!(error, InstallError::Unavailable { .. }) {
            answers_since = Instant::now();
        } else if answers_since.elapsed() > REFUSALS {
            return Err(error);
        }
        tracing::warn!(%error, "the kinds cannot be defined yet");
        sleep(options.election.leader_elect_retry_period).await;
    }
}

/// Who carries orders out.
struct Provider {
    cloud: Arc<dyn Cloud>,
    /// The same, if it is Tencent's: it counts requests.
    tencent: Option<Arc<TencentCloud>>,
}

fn provider(options: &Options, environment: &Arc<dyn Environment>) -> Result<Provider, StartError> {
    match options.cloud.cloud {
        CloudKind::Memory => {
            let file: PathBuf = options.cloud.memory_cloud.clone().unwrap_or_default();
            Ok(Provider {
                cloud: Arc::new(memory_cloud::load(file, &options.subnets)?),
                tencent: None,
            })
        }
        CloudKind::Tencent => {
            let variable = |name: &str| std::env::var(name).ok();
            let cloud = tencent::cloud(&options.cloud.tencent, environment.clone(), variable)?;
            let cloud = Arc::new(cloud);
            Ok(Provider {
                cloud: cloud.clone(),
                tencent: Some(cloud),
            })
        }
    }
}

fn pool_config(options: &Options) -> PoolConfig {
    let tags = BTreeMap::from([
        (CLUSTER_TAG.to_owned(), options.cluster_id.clone()),
        (OURS_TAG.to_owned(), "true".to_owned()),
    ]);
    PoolConfig {
        warm: options.warm(),
        claims: options.claims(),
        pace: options.pace(),
        eni_quota: options.cloud.eni_quota,
        ..PoolConfig::new(options.subnets.clone(), tags)
    }
}

fn election(options: &Options, identity: String) -> ElectionOptions {
    let flags = &options.election;
    ElectionOptions {
        lease_duration: flags.leader_elect_lease_duration,
        renew_deadline: flags.leader_elect_renew_deadline,
        retry_period: flags.leader_elect_retry_period,
        ..ElectionOptions::new(
            &flags.leader_elect_resource_namespace,
            &flags.leader_elect_resource_name,
            identity,
        )
    }
}

/// This process and no other: in a pod the host's name is the pod's, or with its network the node's.
fn identity(environment: &dyn Environment) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), environment.random())
}
