//! How the agent stands, for those who look from outside.

use std::sync::{Arc, OnceLock};

use eni_core::{
    agent::{NodeService, NotReady},
    model::{InstanceId, NodeName},
};
use eni_kube::KubeCluster;

use crate::{
    history::History,
    install::{Installation, Installer},
};

/// Shared by the program, which writes it, and the servers, which read it.
#[derive(Debug)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    pub(crate) cluster: Arc<KubeCluster>,
    serving: OnceLock<Serving>,
}

/// What there is to see once the instance is known.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) instance: InstanceId,
    pub(crate) service: Arc<NodeService>,
    pub(crate) history: Arc<History>,
    pub(crate) installer: Option<Arc<Installer>>,
}

impl Status {
    /// Of an agent that is starting.
    pub(crate) fn new(node: NodeName, cluster: Arc<KubeCluster>) -> Self {
        Self {
            node,
            cluster,
            serving: OnceLock::new(),
        }
    }

    /// It has begun; to be called once.
    pub(crate) fn begin(&self, serving: Serving) {
        self.serving.get_or_init(|| serving);
    }

    /// What it serves, if it has begun.
    pub(crate) fn serving(&self) -> Option<&Serving> {
        self.serving.get()
    }

    /// Whether new pods are served; else why not.
    pub fn ready(&self) -> Result<(), String> {
        let serving = self.serving().ok_or("the node's instance is not known yet")?;
        if let Some(fault) = serving.service.status().err().filter(NotReady::is_fault) {
            return Err(fault.to_string());
        }
        match serving.installer.as_ref().map(|installer| installer.standing()) {
            Some(Installation::Pending(why)) => Err(why),
            Some(Installation::Done) | None => Ok(()),
        }
    }
}
