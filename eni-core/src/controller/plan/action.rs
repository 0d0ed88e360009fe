//! What a plan consists of.

use std::net::IpAddr;

use crate::model::{EniId, EniRecord, NodeConfig, NodePool, NodeSpec, SubnetId};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Create the object shared with the agent, with all that is attached already.
    Configure(NodeSpec, NodePool),
    /// Make the object shared with the agent one of another instance or another node object.
    Rewrite(NodeConfig),
    /// Delete the object shared with the agent, the last that is left of a node.
    Dismiss(NodeConfig),
    /// Record an ENI that shall be created.
    Plan {
        /// In which subnet.
        subnet: SubnetId,
        /// With how many addresses for pods.
        secondary: u32,
    },
    /// Write the record of a published ENI again, which somebody deleted.
    Restore(EniRecord),
    /// Create the ENI of a record, or find it again.
    Create(EniRecord),
    /// Record the id of an ENI whose creation was not answered.
    Adopt(EniRecord, EniId),
    /// Attach an ENI to the node's instance.
    Attach(EniId),
    /// Add addresses to an ENI.
    Assign {
        /// The ENI.
        eni: EniId,
        /// Its subnet.
        subnet: SubnetId,
        /// How many.
        count: u32,
    },
    /// Add these very addresses to an ENI, which claims have.
    AssignExactly {
        /// The ENI.
        eni: EniId,
        /// Its subnet.
        subnet: SubnetId,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// Move an address that a claim has from an ENI that is elsewhere.
    Migrate {
        /// The ENI that has it.
        from: EniId,
        /// The node's ENI.
        to: EniId,
        /// The address.
        address: IpAddr,
    },
    /// Tell the agent what it may use.
    Publish(NodePool),
    /// Take withdrawn addresses off an ENI.
    Unassign {
        /// The ENI.
        eni: EniId,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// Take addresses off an ENI that the agent was never told of.
    Evict {
        /// The ENI.
        eni: EniId,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// Record that an empty ENI shall go.
    Retire(EniRecord),
    /// Take an ENI off the instance.
    Detach(EniId),
    /// Delete an ENI.
    Delete(EniId),
    /// Delete the record of an ENI that is gone.
    Forget(EniRecord),
}

impl Action {
    /// The ENI that it gives an order about. An ENI takes one order at a time.
    pub fn eni(&self) -> Option<&EniId> {
        match self {
            Self::Attach(eni) | Self::Detach(eni) | Self::Delete(eni) => Some(eni),
            Self::Assign { eni, .. } | Self::AssignExactly { eni, .. } => Some(eni),
            Self::Migrate { to, .. } => Some(to),
            Self::Unassign { eni, .. } | Self::Evict { eni, .. } => Some(eni),
            _ => None,
        }
    }
}
