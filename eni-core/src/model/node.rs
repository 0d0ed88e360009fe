//! A cluster node as far as its network is concerned.

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
}
