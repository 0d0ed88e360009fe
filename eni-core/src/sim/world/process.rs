//! A process, a machine, a connection: something that works until it is cut, and from then on reaches nothing.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use crate::model::NodeName;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// The agent of a node.
    Agent(NodeName),
    /// A CNI plugin of a node.
    Plugin(NodeName),
    /// An ipamd, the how-manieth.
    Ipamd(u32),
    /// A node's machine.
    Machine(NodeName),
    /// The world itself.
    World,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(node) => write!(f, "agent/{node}"),
            Self::Plugin(node) => write!(f, "cni/{node}"),
            Self::Ipamd(number) => write!(f, "ipamd-{number}"),
            Self::Machine(node) => write!(f, "{node}"),
            Self::World => f.write_str("world"),
        }
    }
}

/// Something that can be cut off, once.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) who: Who,
    cut: AtomicBool,
    fallen: Notify,
}

impl Process {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            cut: AtomicBool::new(false),
            fallen: Notify::new(),
        }
    }

    /// From now on no call of it reaches anything.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.fallen.notify_waiters();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Until it is cut.
    pub(super) async fn until_cut(&self) {
        let fallen = self.fallen.notified();
        if !self.is_cut() {
            fallen.await;
        }
    }
}
