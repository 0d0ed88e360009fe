//! The key of an allocation, and the allocation itself.

use std::{fmt, sync::Arc, time::Duration};

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
    /// When the plugin that asked for it started, by that boot's clock; of two sandboxes of one pod the
    /// later one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Duration>,
}

impl Origin {
    /// Whether this was given later than `other`, as far as both can tell. `boot` is the node's now:
    /// what was given in another is older than what was given in this one.
    pub fn is_later_than(&self, other: &Self, boot: &str) -> bool {
        match (*self.boot == *boot, *other.boot == *boot) {
            (true, false) => true,
            (true, true) => self
                .started
                .zip(other.started)
                .is_some_and(|(one, two)| one > two),
            (false, _) => false,
        }
    }
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

impl Allocation {
    /// The interface that owns it, among the others of its pod.
    pub fn claimant<'a>(&'a self, key: &'a SandboxKey) -> Claimant<'a> {
        Claimant {
            key,
            pod_uid: self.pod_uid.as_ref(),
            origin: self.origin.as_ref(),
        }
    }
}

/// A sandbox's interface, as one of those that its pod has or had.
#[derive(Clone, Copy, Debug)]
pub struct Claimant<'a> {
    /// The interface.
    pub key: &'a SandboxKey,
    /// The pod's uid, where it is known.
    pub pod_uid: Option<&'a Uid>,
    /// Since when it is there, where it is known.
    pub origin: Option<&'a Origin>,
}

impl Claimant<'_> {
    /// Whether this is the same interface of the same pod in a sandbox that was made later: `other`
    /// serves nobody any more. `boot` is the node's now.
    pub fn supersedes(&self, other: &Self, boot: &str) -> bool {
        let same_pod = self.pod_uid.is_some() && self.pod_uid == other.pod_uid;
        let same_place = self.key.network == other.key.network && self.key.interface == other.key.interface;
        let origins = self.origin.zip(other.origin);
        let later = origins.is_some_and(|(one, two)| one.is_later_than(two, boot));
        same_pod && same_place && self.key.container != other.key.container && later
    }
}
