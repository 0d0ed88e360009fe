//! A pod's claim on a static address, which may outlive the pod.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NodeName, PodAddresses, PodKey, SubnetId, Uid};

/// Whether a static address goes with its pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletePolicy {
    /// It goes back to its subnet when the pod is gone.
    #[default]
    Immediate,
    /// It is kept for the next pod of the name.
    Never,
}

/// The workload that makes a claim's pods, such as a StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The group and version of its kind, such as `apps/v1`.
    pub api: Arc<str>,
    /// Its kind, such as `StatefulSet`.
    pub kind: Arc<str>,
    /// Its name, in the claim's namespace.
    pub name: Arc<str>,
    /// Its uid: a workload made anew under the name is another.
    pub uid: Uid,
}

/// What a pod asks of its static address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Whether the address goes with the pod; `None` is [`DeletePolicy::Immediate`] in the end.
    pub policy: Option<DeletePolicy>,
    /// The one address that will do.
    pub address: Option<IpAddr>,
    /// The only subnets that will do, best first; empty: any.
    pub subnets: Vec<SubnetId>,
    /// For how long the address is kept without a pod; `None`: for ever.
    pub keep: Option<Duration>,
}

/// Of which subnets an address may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubnetChoice {
    /// Of these, best first.
    Only(Vec<SubnetId>),
    /// Of any but these.
    AllBut(Arc<BTreeSet<SubnetId>>),
}

impl SubnetChoice {
    /// Any subnet.
    pub fn any() -> Self {
        Self::AllBut(Arc::default())
    }

    /// Whether an address of the subnet will do.
    pub fn allows(&self, subnet: &SubnetId) -> bool {
        match self {
            Self::Only(these) => these.contains(subnet),
            Self::AllBut(these) => !these.contains(subnet),
        }
    }
}

/// Where a claim stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClaimPhase {
    /// Its pod has no address that it may use yet; the claim's reason says why.
    #[default]
    Pending,
    /// The address is on an ENI of the claim's node, and the claim's pod may use it.
    Assigned,
    /// The address is kept, and no pod has it.
    Retained,
    /// The address goes back to its subnet, and the claim after it.
    Releasing,
}

/// The claim of the pods of one name on a static address (the kind `VpcIPClaim`).
///
/// The claim alone says who owns the address: the pod with its uid, on its node. The agent learns of it by the
/// reservation in the NodeENIConfig. Everything is ipamd's to write but what says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name of the pod, and of the claim.
    pub key: PodKey,
    /// What is asked for, as the pod that the claim was made for wanted it.
    pub request: ClaimRequest,
    /// The workload with which the claim goes; `None`: it goes with none.
    pub workload: Option<Workload>,
    /// Somebody deleted it, or the cluster did with its workload or its namespace. It is there until its pod is gone
    /// and its address is back; nobody takes the wish back.
    pub deleting: bool,
    /// The pod that owns the address. It stays here when the pod is gone, until another follows it, which
    /// ipamd decides.
    pub pod: Uid,
    /// The node that the pod was bound to.
    pub node: Option<NodeName>,
    /// The subnet of the address.
    pub subnet: Option<SubnetId>,
    /// The address; none before it was chosen.
    pub addresses: PodAddresses,
    /// Where it stands.
    pub phase: ClaimPhase,
    /// Why it stands there, for an operator.
    pub reason: Option<String>,
    /// When a kept address goes back to its subnet: written once, when its pod was found gone, and taken away
    /// when another pod follows it.
    pub expiry: Option<Timestamp>,
}

impl Claim {
    /// The claim that a pod begins with.
    pub fn new(key: PodKey, pod: Uid, request: ClaimRequest) -> Self {
        Self {
            key,
            request,
            workload: None,
            deleting: false,
            pod,
            node: None,
            subnet: None,
            addresses: PodAddresses::default(),
            phase: ClaimPhase::Pending,
            reason: None,
            expiry: None,
        }
    }
}
