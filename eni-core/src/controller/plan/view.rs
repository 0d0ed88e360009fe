//! What a plan is made from.

use std::{collections::BTreeSet, net::IpAddr};

use super::ClaimView;
use crate::model::{Eni, EniRecord, InstanceId, Limits, Node, NodeConfig, NodeName, Subnet, WarmRange};

/// An ENI as the cloud showed it last, with the orders under way on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The ENI; addresses that were assigned and not yet listed are among its addresses, not ready.
    pub eni: Eni,
    /// Addresses whose removal was ordered and that a listing may still show.
    pub unassigning: BTreeSet<IpAddr>,
    /// Addresses that the agent was told of and whose stay has ended: listings lack them for longer than they
    /// lag, or the cloud has given them to the ENI anew.
    pub vanished: BTreeSet<IpAddr>,
    /// No order is under way on it; only then it gets another.
    pub settled: bool,
    /// All of its addresses are known: we made it, or listings that are far enough apart agree.
    pub confirmed: bool,
}

impl Observed {
    /// Whether an address that the agent was told of is still on it.
    pub(super) fn keeps(&self, ip: IpAddr) -> bool {
        let listed = self.eni.secondary_addresses().any(|address| address.ip == ip);
        listed && !self.vanished.contains(&ip)
    }
}

/// What is known of the ENI behind a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniView {
    /// It was not created yet, as far as we know.
    Absent,
    /// It was created and not read yet.
    Unknown,
    /// It was read.
    Known(Box<Observed>),
    /// Complete listings do not have it, for longer than they may lag or since its deletion.
    Gone,
}

/// Everything that a node's plan depends on.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The node.
    pub node: Node,
    /// The object shared with its agent.
    pub config: Option<NodeConfig>,
    /// Pods scheduled there that need an address.
    pub demand: u32,
    /// Our ENI records of the node, each with what is known of the ENI.
    pub enis: Vec<(EniRecord, EniView)>,
    /// What its instance can carry.
    pub limits: Limits,
    /// The subnets of its zone, with what is free after other nodes' plans.
    pub subnets: Vec<Subnet>,
    /// The cluster's warm range.
    pub warm: WarmRange,
    /// Those of the instances named here that are gone for certain.
    pub gone: BTreeSet<InstanceId>,
    /// The node's share of its subnets, once shares were dealt out.
    pub granted: Option<u32>,
    /// What claims say, where addresses are given by claim.
    pub claims: Option<ClaimView>,
}

/// What is left of a node without a node object, or whose instance is gone.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The object shared with its agent.
    pub config: Option<NodeConfig>,
    /// The node.
    pub node: NodeName,
    /// Our ENI records of the node, each with what is known of the ENI.
    pub enis: Vec<(EniRecord, EniView)>,
    /// Those of the instances named here that are gone for certain.
    pub gone: BTreeSet<InstanceId>,
    /// What claims say, where addresses are given by claim.
    pub claims: Option<ClaimView>,
}
