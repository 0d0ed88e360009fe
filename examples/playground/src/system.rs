//! The system under test: one ipamd on a cloud, and an agent per node, wired to the memory cluster.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agent::{AgentConfig, Backends};
use agent_api::Endpoint;
use eni_core::{
    agent::{DialogueConfig, Release, ServiceConfig},
    cloud::Cloud,
    cluster::{Cluster, ClusterError, modify},
    controller::{self, PoolConfig, PoolController, PoolMonitor},
    env::{Environment, SystemEnvironment},
    leadership::Unrivalled,
    model::{Families, Node as NodeObject, NodeConfig, Uid, WarmRange},
    network::NetworkError,
    sim::MemoryCluster,
};
use eni_netlink::NetlinkNetwork;
use fabric::{nodes::Node, vpc::Vpc};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long a released address rests; short, so that a run shows its addresses in use again.
const COOLDOWN: Duration = Duration::from_secs(3);
/// How often agents offer back what is idle.
const RELEASE: Duration = Duration::from_secs(1);
/// How often ipamd looks at its orders.
const POLL: Duration = Duration::from_millis(250);
/// How long the parts may take to end.
const STOP: Duration = Duration::from_secs(20);

/// The running system.
#[derive(Debug)]
pub struct System {
    /// The cluster's objects.
    pub cluster: MemoryCluster,
    monitor: PoolMonitor,
    stop: CancellationToken,
    parts: JoinSet<()>,
    errors: Arc<Mutex<Vec<String>>>,
}

/// Why the system cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// A node's kernel.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The path of the run directory is too long for a socket.
    #[error("the agent's socket cannot be in the run directory: {0}; set TMPDIR to a shorter path")]
    Endpoint(#[from] agent_api::InvalidEndpoint),
}

impl System {
    /// Starts ipamd on `cloud`, and the agents of all nodes.
    pub fn start(vpc: &Vpc, cloud: Arc<dyn Cloud>) -> Result<Self, SystemError> {
        let cluster = MemoryCluster::new();
        let environment = SystemEnvironment::shared();
        let subnets = vpc
            .topology
            .subnets
            .iter()
            .map(|subnet| subnet.id.clone())
            .collect();
        let tags = BTreeMap::from([("eni-cluster".to_owned(), "playground".to_owned())]);
        let config = PoolConfig {
            poll_interval: POLL,
            ..PoolConfig::new(subnets, tags)
        };
        let backends = controller::Backends {
            cloud,
            cluster: Arc::new(cluster.connect()),
            environment: environment.clone(),
            leadership: Arc::new(Unrivalled),
        };
        let pools = PoolController::new(backends, config);
        let mut system = Self {
            cluster: cluster.clone(),
            monitor: pools.monitor(),
            stop: CancellationToken::new(),
            parts: JoinSet::new(),
            errors: Arc::default(),
        };
        let stop = system.stop.clone();
        system
            .parts
            .spawn(async move { stop.run_until_cancelled(pools.run()).await.unwrap_or_default() });
        for node in &vpc.nodes {
            system.start_agent(node, environment.clone())?;
            cluster.put_node(NodeObject {
                name: node.plan.name.clone(),
                uid: Uid::from(format!("uid-of-{}", node.plan.name)),
                instance: Some(node.plan.instance.clone()),
                zone: Some(node.plan.subnet.zone.clone()),
                max_pods: None,
                silent: None,
            });
        }
        Ok(system)
    }

    fn start_agent(&mut self, node: &Node, environment: Arc<dyn Environment>) -> Result<(), SystemError> {
        let network = NetlinkNetwork::in_namespace(&node.netns().display().to_string())?
            .forwarding(node.mac, Families::V4);
        let config = AgentConfig {
            node: node.plan.name.clone(),
            instance: node.plan.instance.clone(),
            endpoint: endpoint(node)?,
            journal: node.directory.join("journal"),
            service: ServiceConfig {
                cooldown: COOLDOWN,
                ..ServiceConfig::default()
            },
            dialogue: DialogueConfig {
                release: Release::Quick,
                release_interval: RELEASE,
                report_interval: RELEASE,
                ..DialogueConfig::default()
            },
            collection: eni_core::gc::INTERVAL,
            // Its journals outlive its runtime.
            results: Vec::new(),
            devices: None,
        };
        let backends = Backends {
            cluster: Arc::new(self.cluster.connect()),
            network: Arc::new(network),
            sandboxes: None,
            environment,
        };
        let (name, errors) = (node.plan.name.clone(), self.errors.clone());
        let agent = agent::run(config, backends, self.stop.clone().cancelled_owned());
        self.parts.spawn(async move {
            if let Err(error) = agent.await {
                errors.lock().push(format!("agent of {name}: {error}"));
            }
        });
        Ok(())
    }

    /// The node's object shared by ipamd and its agent, once ipamd made it.
    pub async fn node_config(&self, node: &Node) -> Option<NodeConfig> {
        let read = self.cluster.node_configs().get(node.plan.name.as_str()).await;
        read.ok().map(|read| read.object)
    }

    /// Asks for pools without idle addresses, as an operator does before nodes are taken away.
    pub async fn shrink(&self, nodes: &[Node]) -> Result<(), SystemError> {
        let none = WarmRange { min: 0, max: 0 };
        for node in nodes {
            let store = self.cluster.node_configs();
            modify(store.as_ref(), node.plan.name.as_str(), |config| {
                config.spec.warm.replace(none) != Some(none)
            })
            .await?;
        }
        Ok(())
    }

    /// The calls that were sent to the cloud.
    pub fn cloud_calls(&self) -> BTreeMap<&'static str, u64> {
        self.monitor.stats().calls.by_call()
    }

    /// Parts that ended by themselves.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }

    /// Stops everything.
    pub async fn stop(mut self) -> Vec<String> {
        self.stop.cancel();
        let ended = timeout(STOP, async { while self.parts.join_next().await.is_some() {} }).await;
        let mut errors = self.errors();
        if ended.is_err() {
            errors.push(format!("the agents or ipamd did not stop within {STOP:?}"));
        }
        errors
    }
}

/// Where the agent of a node listens.
pub fn endpoint(node: &Node) -> Result<Endpoint, agent_api::InvalidEndpoint> {
    format!("unix://{}", node.directory.join("agent.sock").display()).parse()
}
