//! The node's durable memory: which sandbox has which address, and what became of the others.

#[cfg(feature = "file-journal")]
mod file;
mod memory;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[cfg(feature = "file-journal")]
pub use file::FileJournal;
pub use memory::{CommitFault, MemoryJournal};

use crate::{
    env::Uptime,
    model::{Allocation, NodePool, PoolAddress, SandboxKey},
};

/// What the node knows of an address that nobody owns and that it must not give out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Hold {
    /// Released a moment ago; peers may still send to its last owner.
    Cooling {
        /// When it may be given out again, by the wall clock of the node.
        until: Timestamp,
        /// The same by the clock of the boot it was released in, which does not jump.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uptime: Option<Uptime>,
    },
    /// Offered back to ipamd.
    Withdrawn,
}

/// One change of the node's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A sandbox's interface owns an allocation.
    Own(SandboxKey, Allocation),
    /// It owns nothing any more.
    Disown(SandboxKey),
    /// An address is held back.
    Hold(PoolAddress, Hold),
    /// An address is no longer held back.
    Unhold(PoolAddress),
    /// The pool that ipamd last published.
    Pool(NodePool),
}

/// Everything that the node remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Owners and what they own.
    pub owned: Vec<(SandboxKey, Allocation)>,
    /// Addresses that are held back.
    pub held: Vec<(PoolAddress, Hold)>,
    /// The pool that ipamd last published.
    pub pool: Option<NodePool>,
}

/// The journal cannot be read or written. An acknowledgement that depends on it must not be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal {journal}: {message}")]
pub struct JournalError {
    /// Which journal, such as a path.
    pub journal: String,
    /// What happened, and what to do.
    pub message: String,
}

/// The node's durable memory.
///
/// # Contract
///
/// * `commit` returns when all of its changes are durable, or has changed nothing. After an error the
///   outcome is unknown until the journal is opened again.
/// * The cost of `commit` does not depend on how much the journal holds.
/// * `load` returns exactly the outcome of the acknowledged commits, plus at most whole commits that
///   were under way at a crash: never a part of one.
/// * A damaged or too new journal is an error that says so, never a silent beginning from nothing.
/// * Callers may commit concurrently; the changes of different keys may be made durable together.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Journal: Send + Sync {
    /// Everything remembered.
    async fn load(&self) -> Result<Memory, JournalError>;

    /// Makes changes durable, all or nothing, in order.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError>;
}
