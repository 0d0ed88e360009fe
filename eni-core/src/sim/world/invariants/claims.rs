//! A static address belongs to one claim, and through it to one pod on one node. It changes hands only when the
//! last hands have let go. That a claim which is over has given it back to its subnet is judged in the end.

use tokio::time::Instant;

use crate::{
    model::{Claim, ClaimPhase, NodeName, SandboxKey},
    sim::world::{event::Event, truth::Truth},
};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    match event {
        Event::Claimed { before, after } => {
            alone(truth, after)?;
            before.map_or(Ok(()), |before| handed_on(truth, before, after))
        }
        Event::Acknowledge { node, key, .. } => acknowledged(truth, node, key),
        _ => Ok(()),
    }
}

/// No other claim that is assigned has one of its addresses.
fn alone(truth: &Truth, claim: &Claim) -> Result<(), String> {
    if claim.phase != ClaimPhase::Assigned {
        return Ok(());
    }
    let assigned = truth
        .claims
        .values()
        .filter(|other| other.key != claim.key && other.phase == ClaimPhase::Assigned);
    let shared = |other: &&Claim| {
        other
            .addresses
            .iter()
            .any(|ip| claim.addresses.iter().any(|own| own == ip))
    };
    match assigned.into_iter().find(shared) {
        Some(other) => Err(format!(
            "{} has {}, and so has {}",
            claim.key, claim.addresses, other.key
        )),
        None => Ok(()),
    }
}

/// Another pod, and another address, only while nobody has the address by any journal.
fn handed_on(truth: &Truth, before: &Claim, after: &Claim) -> Result<(), String> {
    if (&before.pod, before.addresses) == (&after.pod, after.addresses) {
        return Ok(());
    }
    let owned = before
        .addresses
        .iter()
        .find_map(|ip| Some((ip, truth.owners.get(&ip)?)));
    match owned.filter(|(_, (node, key))| !truth.is_bereaved(node, key)) {
        Some((ip, (node, key))) if before.phase == ClaimPhase::Assigned => Err(format!(
            "{} goes from {} to {} and {key} on {node} has {ip}",
            before.key, before.pod, after.pod
        )),
        _ => Ok(()),
    }
}

/// Who is told an address has it by its claim.
fn acknowledged(truth: &Truth, node: &NodeName, key: &SandboxKey) -> Result<(), String> {
    let Some(fact) = truth
        .sandboxes
        .get(&key.container)
        .filter(|_| !truth.claims.is_empty())
    else {
        return Ok(());
    };
    let owned = truth
        .machines
        .get(node)
        .and_then(|machine| machine.owned.get(key));
    let Some(owned) = owned.filter(|_| !truth.is_bereaved(node, key)) else {
        return Ok(());
    };
    // Of a pod that is gone meanwhile the claim may have gone on once its wiring was down.
    if truth.pods.get(&fact.uid).is_none_or(|pod| pod.gone) {
        return Ok(());
    }
    let claim = truth.claims.values().find(|claim| claim.pod == fact.uid);
    match claim {
        Some(claim) if claim.addresses == owned.addresses && claim.node.as_ref() == Some(node) => Ok(()),
        claim => Err(format!(
            "{key} on {node} has {} and its claim is {claim:?}",
            owned.addresses
        )),
    }
}
