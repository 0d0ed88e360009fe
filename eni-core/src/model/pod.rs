//! A pod as far as its network is concerned.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ClaimRequest, NodeName, Uid, Workload};

/// A pod's name within the cluster. Another pod may bear it later: the uid tells them apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name in that namespace.
    pub name: Arc<str>,
}

impl PodKey {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        Self {
            namespace: Arc::from(namespace.as_ref()),
            name: Arc::from(name.as_ref()),
        }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Not started.
    Pending,
    /// Started.
    Running,
    /// Ended, well or badly (completed, error, evicted); it uses no network any more.
    Finished,
}

/// A pod as far as its network is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub key: PodKey,
    /// Its uid.
    pub uid: Uid,
    /// The node it was scheduled to.
    pub node: Option<NodeName>,
    /// It uses the node's own network.
    pub host_network: bool,
    /// Where it stands.
    pub phase: PodPhase,
    /// What it asks of a static address, where pods have such; or what is wrong with how it asks.
    pub claim: Result<ClaimRequest, String>,
    /// The workload that made it.
    pub workload: Option<Workload>,
}

impl Pod {
    /// Whether it needs an address on its node: scheduled, not finished, with a network of its own.
    pub fn needs_address(&self) -> bool {
        self.node.is_some() && !self.host_network && self.phase != PodPhase::Finished
    }
}
