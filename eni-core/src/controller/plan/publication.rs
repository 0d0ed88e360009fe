//! What the agent is told.

use std::{collections::BTreeSet, net::IpAddr};

use super::{EniView, NodeView, Observed, claimed, ours, sizing};
use crate::model::{
    EniRecord, EniState, Generation, Intent, NodeConfig, NodePool, PoolAddress, PoolEni, WarmRange,
};

/// What the agent may use: the ENIs on its instance with their addresses.
pub(super) fn publish(
    view: &NodeView,
    config: &NodeConfig,
    warm: WarmRange,
    mut pressed: u32,
    random: &mut dyn FnMut() -> u64,
) -> NodePool {
    let sizing = sizing(view, warm, 0);
    let mut enis = Vec::new();
    for (record, eni) in ours(view, config).filter(|(record, _)| record.intent == Intent::Attached) {
        let before = config
            .pool
            .enis
            .iter()
            .find(|before| Some(&before.id) == record.id.as_ref());
        match eni {
            EniView::Known(known)
                if known.eni.state == EniState::InUse
                    && known.eni.instance.as_ref() == Some(&config.spec.instance) =>
            {
                enis.extend(in_service(view, config, before, known, &mut pressed, random));
            }
            // Not read yet, or off the instance for a moment: it is attached again, and pods use it.
            EniView::Unknown | EniView::Known(_) => enis.extend(before.cloned()),
            EniView::Absent | EniView::Gone => {}
        }
    }
    // Pods may use them; their records come back first.
    enis.extend(unrecorded(view, config).cloned());
    enis.sort_by(|a, b| a.id.cmp(&b.id));
    NodePool {
        enis,
        maximum: sizing.maximum(),
        capacity: sizing.ceiling,
        granted: view.granted.unwrap_or(config.pool.granted),
        by_claim: view.claims.is_some(),
    }
}

/// Published ENIs whose record somebody deleted.
pub(super) fn unrecorded<'a>(
    view: &'a NodeView,
    config: &'a NodeConfig,
) -> impl Iterator<Item = &'a PoolEni> {
    let ids = |(record, eni): &'a (EniRecord, EniView)| {
        let found = match eni {
            EniView::Known(known) => Some(&known.eni.id),
            _ => None,
        };
        record.id.as_ref().into_iter().chain(found)
    };
    let recorded: BTreeSet<_> = view.enis.iter().flat_map(ids).collect();
    config
        .pool
        .enis
        .iter()
        .filter(move |eni| !recorded.contains(&eni.id))
}

fn in_service(
    view: &NodeView,
    config: &NodeConfig,
    before: Option<&PoolEni>,
    known: &Observed,
    pressed: &mut u32,
    random: &mut dyn FnMut() -> u64,
) -> Option<PoolEni> {
    let eni = &known.eni;
    let primary = eni.primary_address()?;
    let (cidr, gateway) = match (before, view.subnets.iter().find(|subnet| subnet.id == eni.subnet)) {
        (Some(before), _) => (before.cidr, before.gateway),
        (None, Some(subnet)) => (subnet.cidr, subnet.gateway),
        (None, None) => {
            tracing::warn!(node = %view.node.name, eni = %eni.id, subnet = %eni.subnet,
                "the ENI's subnet is not among the configured subnets of its zone; add it to serve pods from it");
            return None;
        }
    };
    let (claims, node) = (view.claims.as_ref(), &config.name);
    let withdrawn = |entry: &PoolAddress| {
        let withdrawn = config.agent.withdrawn.contains(entry);
        claims.map_or(withdrawn, |claims| {
            (withdrawn || claims.lost) && claims.lets_go(entry.ip, node)
        })
    };
    let releases = |entry: &&PoolAddress| claims.is_none_or(|claims| claims.is_releasing(entry.ip, node));
    let (mut attached, mut releasing) = (Vec::new(), Vec::new());
    if let Some(before) = before {
        // Attached stays until the agent withdraws it, even if a listing lacks it, for only the agent knows
        // whether somebody uses it; unless it is certainly gone, and may be somebody else's.
        let vanished = |entry: &&PoolAddress| known.vanished.contains(&entry.ip);
        attached.extend(
            before
                .attached
                .iter()
                .filter(|entry| !withdrawn(entry) && !vanished(entry)),
        );
        releasing.extend(before.attached.iter().filter(|entry| withdrawn(entry)));
        // One listing without a releasing address may be wrong: if it came back, it would pass for a fresh one.
        releasing.extend(
            before
                .releasing
                .iter()
                .filter(|entry| !vanished(entry))
                .filter(releases),
        );
    }
    let held: BTreeSet<IpAddr> = attached
        .iter()
        .chain(&releasing)
        .map(|entry: &PoolAddress| entry.ip)
        .collect();
    let evicting = claims.map(|claims| claimed::evicting(known, before, claims, node, pressed));
    let evicting = evicting.unwrap_or_default();
    let fresh = eni.secondary_addresses().filter(|address| {
        let claimed = claims.is_none_or(|claims| claims.is_assigned(address.ip, node));
        address.ready
            && claimed
            && !evicting.contains(&address.ip)
            && !held.contains(&address.ip)
            && !known.unassigning.contains(&address.ip)
    });
    let mut generation = || Generation::from_random(random());
    attached.extend(fresh.map(|address| PoolAddress {
        ip: address.ip,
        generation: generation(),
    }));
    let reserved = attached.iter().filter_map(|entry| {
        let pod = claims?.reserved(entry.ip, node)?;
        Some((entry.ip, pod))
    });
    let reserved = reserved.collect();
    attached.sort_unstable();
    releasing.sort_unstable();
    Some(PoolEni {
        id: eni.id.clone(),
        mac: eni.mac,
        subnet: eni.subnet.clone(),
        cidr,
        gateway,
        primary,
        attached,
        releasing,
        reserved,
        evicting,
    })
}
