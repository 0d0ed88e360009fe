//! From start to end.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc};

use eni_core::{
    env::SystemEnvironment,
    model::{Families, InstanceId, NodeName},
    network::NetworkError,
    sandbox::Sandboxes,
};
use eni_kube::{ConnectError, KubeCluster, KubeOptions, connect};
use eni_netlink::NetlinkNetwork;
use tokio::{
    net::TcpListener,
    task::{JoinError, spawn_blocking},
};
use tracing::Instrument;

use crate::{
    Agent, AgentError, Backends, PrimaryError, RememberError,
    install::Installer,
    instance,
    options::{Options, Runtime},
    primary,
    runtime::{CriSandboxes, DEADLINE},
};

/// The source of our events.
const COMPONENT: &str = "tke-eni-agent";

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The node's kernel.
    #[error(
        "the node's network cannot be worked on: {0}; run the agent as root in the node's network namespace"
    )]
    Network(#[from] NetworkError),
    /// The primary ENI.
    #[error(transparent)]
    Primary(#[from] PrimaryError),
    /// The Kubernetes API.
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    /// The port.
    #[error("--health-address {address}: {source}; end what listens there, or take another port")]
    Port {
        /// What was given.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The node's directory.
    #[error(transparent)]
    Remember(#[from] RememberError),
    /// The agent itself.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// This process is ending.
    #[error("the start was cut off: {0}; start the agent again")]
    CutOff(#[from] JoinError),
}

/// Runs until `shutdown` is ready. Pods keep their network.
///
/// # Errors
///
/// [`StartError`]. An API server that does not answer is none: the node is served from its journal.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let node = options.node_name();
    let span = tracing::info_span!("agent", %node);
    let whole = async {
        work(options, node, shutdown).await?;
        tracing::info!("the agent stops");
        Ok(())
    };
    whole.instrument(span).await
}

async fn work(
    options: Options,
    node: NodeName,
    shutdown: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let mut shutdown = pin!(shutdown);
    let named = options.node.primary_interface.clone();
    let primary = spawn_blocking(move || primary::find(named.as_deref())).await??;
    let network = NetlinkNetwork::current()?.forwarding(primary, Families::V4);
    let client = connect(&options.access()).await?;
    let environment = SystemEnvironment::shared();
    let cluster = Arc::new(KubeCluster::new(
        client,
        &KubeOptions::new(COMPONENT),
        environment.clone(),
    ));

    let address = options.node.health_address;
    let bound = TcpListener::bind(address).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, _listener) = bound.map_err(|source| StartError::Port { address, source })?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, %primary, "the agent starts");

    let instance = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        instance = instance(&options, &cluster, &node) => instance?,
    };
    tracing::info!(%instance, endpoint = %options.node.endpoint, "the node's instance is known");
    let sandboxes = match &options.kubelet.container_runtime_endpoint {
        Runtime::Cri(endpoint) => {
            Some(Arc::new(CriSandboxes::new(endpoint.clone(), DEADLINE)) as Arc<dyn Sandboxes>)
        }
        Runtime::Namespaces => None,
    };
    let backends = Backends {
        cluster,
        network: Arc::new(network),
        sandboxes,
        environment,
    };
    let agent = Agent::open(options.agent(node, instance), backends).await?;
    let installer = options.install().map(Installer::new);
    let install = async {
        match &installer {
            Some(installer) => installer.run().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = agent.run(shutdown) => Ok(ended?),
        () = install => Ok(()),
    }
}

async fn instance(
    options: &Options,
    cluster: &KubeCluster,
    node: &NodeName,
) -> Result<InstanceId, RememberError> {
    match &options.node.instance_id {
        Some(given) => Ok(InstanceId::from(given)),
        None => instance::find(cluster, node, options.node.state_dir.join("instance")).await,
    }
}
