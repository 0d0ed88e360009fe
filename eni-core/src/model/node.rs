//! A cluster node as far as its network is concerned.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{InstanceId, NodeName, Uid, Zone};

/// A cluster node as far as its network is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its uid; a node that is deleted and joins again gets another.
    pub uid: Uid,
    /// The virtual machine behind it, where it could be told.
    pub instance: Option<InstanceId>,
    /// Its zone, where it could be told.
    pub zone: Option<Zone>,
    /// Pods that its kubelet takes at most, host-network ones included, where it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pods: Option<u32>,
    /// Since when nothing was heard of its kubelet; `None`: it was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<Timestamp>,
}
