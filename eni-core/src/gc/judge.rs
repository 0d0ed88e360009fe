//! Which owners are garbage: a pure function of what was seen.
//!
//! It takes two independent witnesses, that the sandbox is dead and that its pod needs it no more. Each
//! is explicit: whatever is not known keeps its owner.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    allocator::AddressRequest,
    model::{Allocation, Pod, PodKey, PodPhase, SandboxKey, Uid},
    sandbox::Sandbox,
};

/// How long an owner must have been seen by this process before it is judged. Plugins that were wiring
/// when the agent restarted have ended by then, and watches have caught up with the runtime.
pub const MINIMUM_AGE: Duration = Duration::from_secs(120);

/// What was seen in one round.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Every owner with what it owns, and since when this process has seen it own that.
    pub owners: BTreeMap<SandboxKey, (Allocation, Instant)>,
    /// What sandboxes wait for.
    pub waiting: Vec<AddressRequest>,
    /// Interfaces that a call is under way for.
    pub busy: BTreeSet<SandboxKey>,
    /// Container and interface of every pod device in the kernel.
    pub wired: BTreeSet<(Arc<str>, Arc<str>)>,
    /// The runtime's complete list.
    pub sandboxes: Vec<Sandbox>,
    /// Every pod of the node.
    pub pods: BTreeMap<PodKey, Pod>,
    /// The boot that the node is in.
    pub boot: Arc<str>,
}

/// Why a sandbox is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// The node has booted since, and nothing of it is in the kernel.
    Rebooted {
        /// The boot that it lived in.
        boot: Arc<str>,
    },
    /// Nothing of it is in the kernel, and the runtime's complete list does not have it.
    Unlisted,
    /// Nothing of it is in the kernel, and the runtime says that it does not run.
    Stopped,
}

/// Why a pod needs its sandbox no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodEnd {
    /// It is gone.
    Absent,
    /// It has ended.
    Finished,
    /// Another pod has its name.
    Replaced {
        /// The other one's uid.
        by: Uid,
    },
    /// It has a newer sandbox, which owns an address or waits for one.
    Superseded {
        /// That sandbox's interface.
        by: SandboxKey,
    },
}

/// The two witnesses against an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// That of the node.
    pub sandbox: Death,
    /// That of the cluster.
    pub pod: PodEnd,
}

/// The owners that nobody uses, with the evidence.
pub fn judge(view: &View, now: Instant) -> BTreeMap<SandboxKey, Evidence> {
    let sandboxes = view.sandboxes.iter();
    let ready: BTreeMap<_, _> = sandboxes
        .map(|sandbox| (&sandbox.container, sandbox.ready))
        .collect();
    let listed = |key: &SandboxKey| match ready.get(&key.container) {
        None => Some(Death::Unlisted),
        Some(false) => Some(Death::Stopped),
        Some(true) => None,
    };
    let judged = view.owners.iter().filter_map(|(key, (owned, since))| {
        if *since + MINIMUM_AGE > now {
            return None;
        }
        let sandbox = death(view, key, owned, || listed(key))?;
        let pod = pod_end(view, key, owned)?;
        Some((key.clone(), Evidence { sandbox, pod }))
    });
    judged.collect()
}

/// The owners of a network that the runtime's complete list of its attachments (container and
/// interface) does not have, and that are dead by the node's own evidence, too.
pub fn unlisted(
    view: &View,
    network: &str,
    attachments: &BTreeSet<(Arc<str>, Arc<str>)>,
) -> BTreeMap<SandboxKey, Death> {
    let candidates = view.owners.iter().filter(|(key, _)| {
        *key.network == *network && !attachments.contains(&(key.container.clone(), key.interface.clone()))
    });
    let dead = candidates.filter_map(|(key, (owned, _))| {
        let death = death(view, key, owned, || Some(Death::Unlisted))?;
        Some((key.clone(), death))
    });
    dead.collect()
}

/// How an interface's sandbox died; `listed` says what the runtime knows of it. A device in the kernel
/// proves a namespace that lives, whatever others say.
fn death(
    view: &View,
    key: &SandboxKey,
    owned: &Allocation,
    listed: impl FnOnce() -> Option<Death>,
) -> Option<Death> {
    let wired = view
        .wired
        .contains(&(key.container.clone(), key.interface.clone()));
    if wired || view.busy.contains(key) {
        return None;
    }
    // Where the kernel does not tell its boots apart, none is taken for another.
    let boot = owned.origin.as_ref().map(|origin| &origin.boot);
    let other = boot.filter(|boot| !boot.is_empty() && !view.boot.is_empty() && **boot != view.boot);
    match other {
        Some(boot) => Some(Death::Rebooted { boot: boot.clone() }),
        None => listed(),
    }
}

fn pod_end(view: &View, key: &SandboxKey, owned: &Allocation) -> Option<PodEnd> {
    let this = owned.claimant(key);
    let owners = view.owners.iter().map(|(key, (owned, _))| owned.claimant(key));
    // On a full node a pod's new sandbox would wait for the address of its old one for ever.
    let waiting = view
        .waiting
        .iter()
        .filter(|request| !view.owners.contains_key(&request.key));
    let mut others = owners.chain(waiting.map(AddressRequest::claimant));
    if let Some(newer) = others.find(|other| other.supersedes(&this, &view.boot)) {
        return Some(PodEnd::Superseded {
            by: newer.key.clone(),
        });
    }
    let Some(pod) = view.pods.get(owned.pod.as_ref()?) else {
        return Some(PodEnd::Absent);
    };
    match &owned.pod_uid {
        Some(uid) if *uid != pod.uid => Some(PodEnd::Replaced { by: pod.uid.clone() }),
        _ if pod.phase == PodPhase::Finished => Some(PodEnd::Finished),
        _ => None,
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rebooted { boot } => write!(f, "its sandbox lived in boot {boot}"),
            Self::Unlisted => f.write_str("its sandbox is neither in the kernel nor in the runtime"),
            Self::Stopped => f.write_str("its sandbox is not in the kernel and does not run"),
        }
    }
}

impl fmt::Display for PodEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("its pod is gone"),
            Self::Finished => f.write_str("its pod has finished"),
            Self::Replaced { by } => write!(f, "pod {by} has its pod's name"),
            Self::Superseded { by } => write!(f, "its pod has the newer sandbox {by}"),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, and {}", self.sandbox, self.pod)
    }
}
