//! The node's side: the service behind ADD and DEL, and its dialogue with ipamd.

mod dialogue;
mod keyed;
mod queue;
mod service;
mod supply;

pub use dialogue::{Dialogue, DialogueConfig, Release};
pub use service::{NodeService, WiringGuard};

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use tokio::time::Instant;

use crate::{
    allocator::{AddressRequest, Shortage},
    journal::JournalError,
    model::{Allocation, Families, Mac, SandboxKey},
    network::EniLink,
};

/// How a node gives out addresses.
#[derive(Clone, Copy, Debug)]
pub struct ServiceConfig {
    /// How long a released address rests. 30 s by default, as AWS's `IP_COOLDOWN_PERIOD`.
    pub cooldown: Duration,
    /// The families that a pod gets.
    pub families: Families,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(30),
            families: Families::V4,
        }
    }
}

/// A runtime's ADD.
#[derive(Clone, Debug)]
pub struct Add {
    /// Who needs what.
    pub request: AddressRequest,
    /// When the caller gives up.
    pub deadline: Instant,
    /// When the plugin started, by the node's boot clock; tells a late ADD from a legal repetition
    /// after a DEL.
    pub started: Duration,
}

/// A runtime's DEL.
#[derive(Clone, Debug)]
pub struct Del {
    /// Which interface.
    pub key: SandboxKey,
    /// When the caller gives up.
    pub deadline: Instant,
    /// When the plugin started, by the node's boot clock.
    pub started: Duration,
}

/// An allocation with what it takes to wire it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What was given.
    pub allocation: Allocation,
    /// The ENI's device and table.
    pub link: EniLink,
    /// The ENI's MAC.
    pub mac: Mac,
    /// The subnet's range.
    pub cidr: IpNet,
    /// The subnet's router.
    pub gateway: IpAddr,
}

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
