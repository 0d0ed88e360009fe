//! The next step of a claim.

use jiff::Timestamp;

use super::{ClaimSight, Whereabouts};
use crate::model::{Claim, ClaimPhase, ClaimRequest, DeletePolicy, NodeName, Pod, PodPhase, Uid};

/// What is to be done about a claim next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimStep {
    /// Nothing, until something changes or, if the claim expires, until then.
    Rest,
    /// Nothing can be done yet; the reason is for the claim and its pod.
    Wait(String),
    /// The claim is written for another pod of its name: pending, on no node, without expiry.
    Adopt(Uid),
    /// The claim is written for the node that its pod was bound to.
    Bind(NodeName),
    /// An address is chosen, and assigned to an ENI of the node.
    Choose(NodeName),
    /// The claim's address is assigned to an ENI of the node: it is on none.
    Assign(NodeName),
    /// The claim's address is moved to an ENI of the node, from where it is.
    Move(NodeName),
    /// The claim is written as assigned: the address is where its pod is.
    Confirm,
    /// The claim is written as retained, to expire at the time if there is one.
    Retain(Option<Timestamp>),
    /// The claim is written as releasing, for the reason.
    Release(&'static str),
    /// The claim's address is taken off the ENI that has it.
    Unassign,
    /// The claim is deleted: its address is not ours any more.
    Delete,
    /// The claim's address is given up for another, which is chosen: somebody else has it, and no pod asked
    /// for this very one.
    Forget,
}

/// The claim that a pod begins with, if it may have one: it needs a network of its own and has not ended.
pub fn open(pod: &Pod, request: ClaimRequest) -> Option<Claim> {
    let may = !pod.host_network && pod.phase != PodPhase::Finished;
    may.then(|| Claim {
        node: pod.node.clone(),
        ..Claim::new(pod.key.clone(), pod.uid.clone(), request)
    })
}

/// The next step of a claim.
///
/// An address leaves its owner only when the owner's pod object is gone or has ended, and its wiring is down:
/// its agent let go of it, or its node is gone. A claim that never came to be assigned has no wiring.
pub fn decide(claim: &Claim, sight: &ClaimSight<'_>) -> ClaimStep {
    if claim.phase == ClaimPhase::Releasing {
        return release(claim, sight);
    }
    let pod = sight.pod.filter(|pod| pod.phase != PodPhase::Finished);
    match pod {
        Some(pod) if pod.uid == claim.pod => serve(claim, pod, sight),
        _ if !is_unwired(claim, sight) => ClaimStep::Wait(still_wired(claim)),
        // Kubernetes' own collector would not wait for the pod: it is only here that the workload takes the claim.
        _ if claim.deleting => ClaimStep::Release("it was deleted, or its workload or its namespace"),
        Some(pod) => ClaimStep::Adopt(pod.uid.clone()),
        None => orphaned(claim, sight),
    }
}

/// The claim's pod lives: it gets the address where it is, and never loses it.
fn serve(claim: &Claim, pod: &Pod, sight: &ClaimSight<'_>) -> ClaimStep {
    let Some(node) = &pod.node else {
        return ClaimStep::Rest;
    };
    // A pod never moves: the claim was made before it was bound, or somebody edited it.
    if claim.node.as_ref() != Some(node) {
        return ClaimStep::Bind(node.clone());
    }
    if claim.addresses.iter().next().is_none() {
        return ClaimStep::Choose(node.clone());
    }
    let assigned = claim.phase == ClaimPhase::Assigned;
    match sight.whereabouts {
        Whereabouts::On(there) if there == node && assigned => ClaimStep::Rest,
        Whereabouts::On(there) if there == node => ClaimStep::Confirm,
        Whereabouts::Unknown => ClaimStep::Rest,
        Whereabouts::On(_) | Whereabouts::Parked => ClaimStep::Move(node.clone()),
        Whereabouts::Free => ClaimStep::Assign(node.clone()),
        Whereabouts::Taken if claim.request.address.is_some() || !is_unwired(claim, sight) => {
            ClaimStep::Wait(taken(claim))
        }
        Whereabouts::Taken => ClaimStep::Forget,
    }
}

/// No pod of the claim's name lives, and nothing of the last one is left.
fn orphaned(claim: &Claim, sight: &ClaimSight<'_>) -> ClaimStep {
    if claim.request.policy.unwrap_or_default() == DeletePolicy::Immediate {
        return ClaimStep::Release("its pod is gone, and its policy is Immediate");
    }
    if claim.addresses.iter().next().is_none() {
        return ClaimStep::Release("its pod is gone and had no address");
    }
    if claim.phase != ClaimPhase::Retained {
        let keep = claim.request.keep;
        // What lies beyond the calendar never comes.
        return ClaimStep::Retain(keep.and_then(|keep| sight.now.checked_add(keep).ok()));
    }
    match claim.expiry {
        Some(expiry) if sight.now >= expiry => ClaimStep::Release("it was kept for as long as it should be"),
        _ => ClaimStep::Rest,
    }
}

/// The address goes back, whatever became of the pod meanwhile: a pod of the name gets a claim of its own.
fn release(claim: &Claim, sight: &ClaimSight<'_>) -> ClaimStep {
    if claim.addresses.iter().next().is_none() {
        return ClaimStep::Delete;
    }
    match sight.whereabouts {
        Whereabouts::Unknown => ClaimStep::Rest,
        Whereabouts::On(_) | Whereabouts::Parked => ClaimStep::Unassign,
        Whereabouts::Free | Whereabouts::Taken => ClaimStep::Delete,
    }
}

/// Whether no wiring of the claim's owner can be left.
fn is_unwired(claim: &Claim, sight: &ClaimSight<'_>) -> bool {
    claim.phase != ClaimPhase::Assigned || sight.unwired
}

fn still_wired(claim: &Claim) -> String {
    let node = claim.node.as_ref().map_or("its node", NodeName::as_str);
    format!(
        "{node} has not said that it took down the network of the last pod (uid {}); if that node is gone for \
         good, delete its Node object",
        claim.pod
    )
}

fn taken(claim: &Claim) -> String {
    format!(
        "somebody else in the subnet has {}; free it there, or delete the claim once its pod is gone",
        claim.addresses
    )
}
