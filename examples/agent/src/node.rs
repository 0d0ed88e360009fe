//! One node's agent, assembled from its parts.

use std::{
    future::{Future, pending},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use agent_api::Endpoint;
use eni_core::{
    agent::{Advertisement, Dialogue, DialogueConfig, NodeService, ServiceConfig, Witnesses},
    cluster::Cluster,
    env::Environment,
    gc::NodeCollector,
    journal::{FileJournal, JournalError},
    model::{InstanceId, NodeName},
    network::NodeNetwork,
    sandbox::{NamespaceSandboxes, Sandboxes},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    devices::{DeviceConfig, DevicePlugin},
    results,
    server::{self, ListenError, Listener, ServeError},
};

/// How often the node's own settings are put right. Also how long a deleted pod's device may linger.
const MAINTENANCE: Duration = Duration::from_secs(2);

/// What an agent has to know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The node it runs on.
    pub node: NodeName,
    /// The instance behind that node; a NodeENIConfig that names another is ignored.
    pub instance: InstanceId,
    /// Where the plugins find it.
    pub endpoint: Endpoint,
    /// Its journal.
    pub journal: PathBuf,
    /// How it gives out addresses.
    pub service: ServiceConfig,
    /// How it talks with ipamd.
    pub dialogue: DialogueConfig,
    /// The pause between two looks for garbage; [`eni_core::gc::INTERVAL`] is usual.
    pub collection: Duration,
    /// Where the runtime keeps the results of ADDs, which tell the owners if the journal was lost;
    /// [`results::DIRECTORIES`] as a rule. A directory that is not there is passed over.
    pub results: Vec<PathBuf>,
    /// How it offers addresses to kubelet as a resource; `None`: it does not, and what may be advertised counts
    /// as advertised.
    pub devices: Option<DeviceConfig>,
}

/// What an agent works on.
#[derive(Clone)]
pub struct Backends {
    /// The cluster's objects.
    pub cluster: Arc<dyn Cluster>,
    /// The node's kernel.
    pub network: Arc<dyn NodeNetwork>,
    /// The runtime's sandboxes, [`CriSandboxes`](crate::runtime::CriSandboxes) as a rule; `None`: they are told
    /// by their network namespaces.
    pub sandboxes: Option<Arc<dyn Sandboxes>>,
    /// Clock and randomness.
    pub environment: Arc<dyn Environment>,
}

/// Why an agent did not start, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The journal cannot be read: nothing may be given out.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The endpoint cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A node's agent whose socket listens and which serves nobody yet.
pub struct Agent {
    config: AgentConfig,
    service: Arc<NodeService>,
    network: Arc<dyn NodeNetwork>,
    dialogue: Dialogue,
    plugin: Option<DevicePlugin>,
    collector: Arc<NodeCollector>,
    listener: Listener,
}

/// Runs a node's agent until `shutdown`. Pods keep their network when it ends.
///
/// # Errors
///
/// As [`Agent::open`] and [`Agent::run`].
pub async fn run(
    config: AgentConfig,
    backends: Backends,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    Agent::open(config, backends).await?.run(shutdown).await
}

impl Agent {
    /// Reads the journal and listens. The cluster need not answer.
    ///
    /// # Errors
    ///
    /// [`AgentError::Journal`] and [`AgentError::Listen`].
    pub async fn open(config: AgentConfig, backends: Backends) -> Result<Self, AgentError> {
        let journal = Arc::new(FileJournal::open(&config.journal).await?);
        let Backends {
            cluster,
            network,
            sandboxes,
            environment,
        } = backends;
        let service = NodeService::open(journal, environment, config.service).await?;
        let (node, instance) = (config.node.clone(), config.instance.clone());
        let dialogue = Dialogue::new(
            node,
            instance,
            service.clone(),
            cluster,
            network.clone(),
            config.dialogue,
        );
        let (dialogue, plugin) = match &config.devices {
            Some(devices) => {
                let advertisement = Arc::new(Advertisement::default());
                let plugin = DevicePlugin::new(devices.clone(), advertisement.clone());
                (dialogue.with_advertisement(advertisement), Some(plugin))
            }
            None => (dialogue, None),
        };
        let known = service.clone();
        let sandboxes =
            sandboxes.unwrap_or_else(|| Arc::new(NamespaceSandboxes::new(move || known.namespaces())));
        let dialogue = match service.recovering() {
            true => dialogue.with_witnesses(witnesses(config.results.clone(), &*sandboxes).await),
            false => dialogue,
        };
        let collector = Arc::new(NodeCollector::new(
            service.clone(),
            network.clone(),
            sandboxes,
            dialogue.pods(),
        ));
        let listener = Listener::bind(&config.endpoint).await?;
        Ok(Self {
            config,
            service,
            network,
            dialogue,
            plugin,
            collector,
            listener,
        })
    }

    /// Who gives the addresses, for those who look at it.
    pub fn service(&self) -> Arc<NodeService> {
        self.service.clone()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    ///
    /// [`AgentError::Serve`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
        let Self {
            config,
            service,
            network,
            dialogue,
            plugin,
            collector,
            listener,
        } = self;
        let waiters = service.clone();
        tokio::select! {
            biased;
            ended = server::run(listener, service, network.clone(), collector.clone(), shutdown) => Ok(ended?),
            () = dialogue.run() => Ok(()),
            () = waiters.run() => Ok(()),
            () = collector.run(config.collection) => Ok(()),
            () = maintain(&config.node, &*network) => Ok(()),
            () = advertise(plugin) => Ok(()),
        }
    }
}

/// What the runtime knows of ADDs of which the journal does not.
async fn witnesses(results: Vec<PathBuf>, sandboxes: &dyn Sandboxes) -> Witnesses {
    let listed = sandboxes.list().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "pods that no kept result names stay nameless");
        Vec::new()
    });
    Witnesses {
        cached: results::read(results).await,
        sandboxes: listed,
        ..Witnesses::default()
    }
}

async fn advertise(plugin: Option<DevicePlugin>) {
    match plugin {
        Some(plugin) => plugin.run().await,
        None => pending().await,
    }
}

async fn maintain(node: &NodeName, network: &dyn NodeNetwork) {
    let mut tick = interval(MAINTENANCE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = network.maintain().await {
            tracing::warn!(%node, %error, "the node's own settings could not be put right");
        }
    }
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
