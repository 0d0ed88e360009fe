//! A static address as an object of its own.

use std::net::IpAddr;

use super::{Claim, ClaimPhase, NodeName, PodKey, SubnetId, Uid};

/// A static address and whose it is (the kind `VpcIP`), for those who look for an address and not for a pod.
///
/// It is derived: claims alone decide. ipamd writes it after them, and puts right what somebody changes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// The address.
    pub ip: IpAddr,
    /// The claim that has it, with the pod that owns it; `None`: it is not of a claim, and left alone.
    pub claim: Option<(PodKey, Uid)>,
    /// The node of that pod.
    pub node: Option<NodeName>,
    /// The subnet of the address.
    pub subnet: Option<SubnetId>,
    /// Where the claim stands.
    pub phase: ClaimPhase,
}

impl AddressRecord {
    /// What is to be said of an address that a claim has.
    pub fn of(claim: &Claim, ip: IpAddr) -> Self {
        Self {
            ip,
            claim: Some((claim.key.clone(), claim.pod.clone())),
            node: claim.node.clone(),
            subnet: claim.subnet.clone(),
            phase: claim.phase,
        }
    }

    /// The name of an address's object: its text, of IPv6 with `-` for each `:`, which no name may have.
    pub fn name(ip: IpAddr) -> String {
        ip.to_string().replace(':', "-")
    }
}
