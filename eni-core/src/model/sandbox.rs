//! The key of an allocation, and the allocation itself.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{EniId, PodAddresses, PodKey, Uid};

/// What owns an address on a node: one interface of one sandbox in one network.
///
/// Never the pod's name: two sandboxes of one pod may live at once, and a late DEL of the first must
/// not touch the second.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SandboxKey {
    /// The CNI network's name.
    pub network: Arc<str>,
    /// The runtime's id of the sandbox.
    pub container: Arc<str>,
    /// The interface's name inside the sandbox.
    pub interface: Arc<str>,
}

impl SandboxKey {
    /// The key of `interface` of `container` in `network`.
    pub fn new(network: impl AsRef<str>, container: impl AsRef<str>, interface: impl AsRef<str>) -> Self {
        Self {
            network: Arc::from(network.as_ref()),
            container: Arc::from(container.as_ref()),
            interface: Arc::from(interface.as_ref()),
        }
    }
}

impl fmt::Display for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.network, self.container, self.interface)
    }
}

impl fmt::Debug for SandboxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A network namespace: a path can be taken by another one, the two numbers cannot while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Netns {
    /// Where the runtime mounted it.
    pub path: Arc<str>,
    /// The number of its file system's device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// In which life of the node, and for which namespace, something was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The id of the node's boot; a sandbox of another boot is dead.
    pub boot: Arc<str>,
    /// The sandbox's namespace, where the plugin told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<Netns>,
}

/// What a sandbox's interface was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Allocation {
    /// Its addresses.
    pub addresses: PodAddresses,
    /// The ENI that carries them.
    pub eni: EniId,
    /// The pod, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodKey>,
    /// The pod's uid, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Uid>,
    /// Where it came from; an allocation recovered from elsewhere has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}
