//! What can happen, as invariants see it: before it takes effect.

use std::net::IpAddr;

use super::process::Who;
use crate::{
    allocator::PoolCounts,
    cloud::CreateEni,
    journal::Change,
    model::{Claim, Eni, EniId, NodeConfig, NodeName, NodePool, PodAddresses, PodKey, SandboxKey},
    network::PodWiring,
};

/// One thing that is about to happen.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A cloud call arrives.
    Call { who: &'a Who, action: &'static str },
    /// An order arrives at the cloud.
    Order { who: &'a Who, order: Order<'a> },
    /// The cloud has accepted it.
    Ordered(Order<'a>),
    /// An ENI was made, or found by its token.
    Created(&'a Eni),
    /// A node's journal remembers.
    Commit {
        node: &'a NodeName,
        changes: &'a [Change],
    },
    /// A runtime is told that a sandbox has addresses.
    Acknowledge {
        node: &'a NodeName,
        key: &'a SandboxKey,
        addresses: PodAddresses,
    },
    /// Every call for an interface is over, its DEL at last or beside its ADD.
    Deleted { node: &'a NodeName, key: &'a SandboxKey },
    /// A pod is told that its address is lost.
    Bereaved { pod: &'a PodKey },
    /// A pod interface goes on the wire.
    Wire {
        node: &'a NodeName,
        wiring: &'a PodWiring,
    },
    /// A NodeENIConfig is written.
    Configured {
        who: &'a Who,
        before: Option<&'a NodeConfig>,
        after: &'a NodeConfig,
    },
    /// A claim is written.
    Claimed {
        before: Option<&'a Claim>,
        after: &'a Claim,
    },
    /// A claim is deleted.
    Unclaimed { claim: &'a Claim },
    /// A node service counts its addresses.
    Counted {
        node: &'a NodeName,
        counts: PoolCounts,
        pool: &'a NodePool,
    },
}

/// An order that changes what the cloud delivers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order<'a> {
    Create(&'a CreateEni),
    Attach(&'a EniId),
    Assign(&'a EniId),
    Unassign(&'a EniId, &'a [IpAddr]),
    Detach(&'a EniId),
    Delete(&'a EniId),
}

impl Order<'_> {
    /// The ENI that it is about.
    pub(super) fn eni(&self) -> Option<&EniId> {
        match self {
            Self::Create(_) => None,
            Self::Attach(eni) | Self::Assign(eni) | Self::Unassign(eni, _) => Some(eni),
            Self::Detach(eni) | Self::Delete(eni) => Some(eni),
        }
    }

    /// Whether it takes something away.
    pub(super) fn is_destructive(&self) -> bool {
        matches!(self, Self::Unassign(..) | Self::Detach(_) | Self::Delete(_))
    }
}
