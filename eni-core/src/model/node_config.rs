//! The one object that ipamd and a node's agent share (the kind `NodeENIConfig`, short `nec`).
//!
//! `spec` and `pool` belong to ipamd, `agent` to the agent; each writes its own part only, by
//! compare-and-swap on the whole object.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{EniId, Generation, InstanceId, Limits, Mac, NodeName, SubnetId, Uid, Zone};

/// How many idle addresses a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmRange {
    /// Fewer than this beyond the demand makes the pool grow.
    pub min: u32,
    /// More than this beyond the demand makes it shrink.
    pub max: u32,
}

impl Default for WarmRange {
    /// TKE's documented defaults, `--ip-min-warm-target` and `--ip-max-warm-target`.
    fn default() -> Self {
        Self { min: 5, max: 5 }
    }
}

impl WarmRange {
    /// A range, or `None` unless `min <= max`.
    pub fn new(min: u32, max: u32) -> Option<Self> {
        (min <= max).then_some(Self { min, max })
    }
}

/// What does not change while a node lives, and what an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// The virtual machine; an agent ignores an object that names another than its own.
    pub instance: InstanceId,
    /// The uid of the node object it was made for.
    pub node_uid: Uid,
    /// The zone.
    pub zone: Zone,
    /// Overrides the cluster's warm range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<WarmRange>,
    /// What the cloud declares that the instance can carry, once it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// One stay of an address in a node's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolAddress {
    /// The address.
    pub ip: IpAddr,
    /// Which stay of it.
    pub generation: Generation,
}

/// An ENI on a node with the addresses that pods may get from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolEni {
    /// The cloud's id.
    pub id: EniId,
    /// The MAC by which the agent finds the device.
    pub mac: Mac,
    /// Its subnet.
    pub subnet: SubnetId,
    /// The subnet's range.
    pub cidr: IpNet,
    /// The subnet's router.
    pub gateway: IpAddr,
    /// The ENI's own address, set on the device.
    pub primary: IpAddr,
    /// Addresses that the agent may give out.
    pub attached: Vec<PoolAddress>,
    /// Addresses that the agent withdrew and ipamd is taking off the ENI.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releasing: Vec<PoolAddress>,
    /// For whom alone attached addresses are: the pod whose claim has the address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<IpAddr, Uid>,
    /// Addresses that ipamd is taking off and that the agent was never told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evicting: Vec<IpAddr>,
}

impl PoolEni {
    /// Whether it says anything of an address for pods.
    pub fn names(&self, ip: IpAddr) -> bool {
        let mut told = self.attached.iter().chain(&self.releasing);
        told.any(|entry| entry.ip == ip) || self.evicting.contains(&ip)
    }
}

/// The node's pool as ipamd publishes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePool {
    /// The ENIs that are attached and in service.
    pub enis: Vec<PoolEni>,
    /// The agent offers back what it has idle above this number of attached addresses.
    pub maximum: u32,
    /// Pods that the instance can carry at most.
    pub capacity: u32,
    /// Addresses that the node can attain out of the subnets behind it, those attached included: what it
    /// may advertise. The sum over all nodes never exceeds what the subnets have.
    #[serde(default)]
    pub granted: u32,
    /// Pods get the addresses that are reserved for them and no others: static addresses, owned by claims. What
    /// is reserved for nobody is offered back at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_claim: bool,
}

impl NodePool {
    /// How many addresses the agent may give out.
    pub fn attached(&self) -> usize {
        self.enis.iter().map(|eni| eni.attached.len()).sum()
    }
}

/// What the agent tells ipamd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Addresses that it fenced, will never give out again in that stay, and that are still attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<PoolAddress>,
    /// Addresses that are neither idle nor owned by a scheduled pod nor withdrawn: cooling down, or
    /// owned by sandboxes whose pods are gone.
    #[serde(default)]
    pub held: u32,
    /// Sandboxes that wait for an address.
    #[serde(default)]
    pub short: u32,
    /// Addresses that the node advertises: never fewer than its kubelet may believe. A lowered grant is given
    /// to others only after this followed.
    #[serde(default)]
    pub advertised: u32,
}

/// The object that ipamd and a node's agent share; it bears the node's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConfig {
    /// The node.
    pub name: NodeName,
    /// What the node is.
    pub spec: NodeSpec,
    /// ipamd's part.
    #[serde(default)]
    pub pool: NodePool,
    /// The agent's part.
    #[serde(default)]
    pub agent: AgentReport,
}
