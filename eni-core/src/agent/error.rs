//! Why a call to the node service failed.

use std::time::Duration;

use crate::{allocator::Shortage, journal::JournalError, model::SandboxKey, network::NetworkError};

/// Why an ADD got no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The deadline passed while it waited. The runtime may try again.
    #[error("no address within the deadline, {ahead} sandboxes were ahead in the queue: {shortage}")]
    Timeout {
        /// Why there was none.
        shortage: Shortage,
        /// Waiters ahead of this one when it gave up.
        ahead: usize,
    },
    /// A DEL for the same interface came after it.
    #[error("a DEL for {key} arrived while this ADD was under way; the sandbox is being removed")]
    Cancelled {
        /// The interface.
        key: SandboxKey,
    },
    /// Another call for the same interface took longer than this one's deadline.
    #[error("another call for {key} is still under way; this ADD is to be repeated")]
    Busy {
        /// The interface.
        key: SandboxKey,
    },
    /// The pod has a newer sandbox: this one is to be removed.
    #[error("{key} belongs to an older sandbox of its pod than {by}, which has the pod's address; remove it")]
    Superseded {
        /// The interface.
        key: SandboxKey,
        /// The interface of the newer sandbox.
        by: SandboxKey,
    },
    /// Its deadline is too near for anything to be done and recorded.
    #[error(
        "{key}: {left:?} until the deadline are too few to give out an address; repeat the ADD with more time"
    )]
    TooLate {
        /// The interface.
        key: SandboxKey,
        /// What was left when it arrived.
        left: Duration,
    },
    /// The interface has an address of an ENI that has left the node.
    #[error("the ENI that carries the address of {key} is no longer on this node; delete the pod")]
    OutOfService {
        /// The interface.
        key: SandboxKey,
    },
    /// The allocation could not be made durable, so it was not made.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why a DEL could not end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelError {
    /// An ADD for the same interface is still wiring. The runtime will try again.
    #[error("an ADD for {key} is still wiring the pod; this DEL is to be repeated")]
    Busy {
        /// The interface.
        key: SandboxKey,
    },
    /// The release could not be made durable, so it was not made.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why something that nobody uses could not be reclaimed. It is looked at again in the next round.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReclaimError {
    /// The kernel kept something of it, so the address must not be given to others.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The release could not be made durable, so it was not made.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
