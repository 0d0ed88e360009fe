//! The node's side: the service behind ADD and DEL, and its dialogue with ipamd.

mod add;
mod advertisement;
mod del;
mod dialogue;
mod error;
mod keyed;
mod pods;
mod queue;
mod reclaim;
mod recover;
mod restore;
mod service;
mod status;
mod supply;

pub use advertisement::Advertisement;
pub use dialogue::{Dialogue, DialogueConfig, Release};
pub use error::{AddError, DelError, ReclaimError};
pub use pods::NodePods;
pub use recover::{CachedResult, Witnesses};
pub use service::{NodeService, WiringGuard};
pub use status::{Counters, NotReady};

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use tokio::time::Instant;

use crate::{
    allocator::AddressRequest,
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
