//! An address has at most one owner in the cluster; the owner's address is attached to its node's ENI and has
//! rested. Nobody gets what the shared object calls withdrawn or releasing. On the wire it is one pod's.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use crate::{
    agent::ServiceConfig,
    allocator::MINIMUM_COOLING,
    journal::Change,
    model::{Allocation, NodeName, PoolAddress, SandboxKey},
    network::PodWiring,
    sim::world::{event::Event, truth::Truth},
};

/// An address rests from before the commit of its release, which takes so long at most.
const COMMIT: Duration = Duration::from_secs(1);

pub(super) fn check(truth: &Truth, event: &Event<'_>, now: Instant) -> Result<(), String> {
    match event {
        Event::Commit { node, changes } => {
            let owns = changes.iter().filter_map(|change| match change {
                Change::Own(key, allocation) => Some((key, allocation)),
                _ => None,
            });
            owns.into_iter()
                .try_for_each(|(key, allocation)| own(truth, node, key, allocation, now))
        }
        Event::Wire { node, wiring } => wire(truth, node, wiring),
        _ => Ok(()),
    }
}

fn own(
    truth: &Truth,
    node: &NodeName,
    key: &SandboxKey,
    allocation: &Allocation,
    now: Instant,
) -> Result<(), String> {
    let machine = truth.machines.get(node);
    if machine.is_some_and(|machine| machine.owned.get(key) == Some(allocation)) {
        return Ok(());
    }
    // Nobody on the node can know yet what the world took away.
    let kept = |ip: &IpAddr| !truth.taken.contains(&(allocation.eni.clone(), *ip));
    for ip in allocation.addresses.iter().filter(kept) {
        if let Some((owner, other)) = truth.owners.get(&ip)
            && (owner, other) != (node, key)
        {
            return Err(format!(
                "{ip} goes to {key} on {node} and is owned by {other} on {owner}"
            ));
        }
        if let Err(why) = truth.delivered(node, &allocation.eni, ip)
            && !truth.is_taken(&allocation.eni, ip)
        {
            return Err(format!(
                "{ip} of {} goes to {key} on {node}: {why}",
                allocation.eni
            ));
        }
        rested(truth, node, ip, now)?;
        let config = truth
            .configs
            .get(node)
            .filter(|config| machine.is_some_and(|machine| machine.instance == config.spec.instance));
        let Some(config) = config else { continue };
        let published = config.pool.enis.iter().find(|eni| eni.id == allocation.eni);
        let stay = |list: &[PoolAddress]| list.iter().find(|entry| entry.ip == ip).copied();
        if published.is_some_and(|eni| stay(&eni.releasing).is_some()) {
            return Err(format!("{ip} goes to {key} on {node} and is being released"));
        }
        let attached = published.and_then(|eni| stay(&eni.attached));
        if attached.is_some_and(|entry| config.agent.withdrawn.contains(&entry)) {
            return Err(format!("{ip} goes to {key} on {node} and was offered back"));
        }
    }
    Ok(())
}

/// At the node's limit an address rests less.
fn rested(truth: &Truth, node: &NodeName, ip: IpAddr, now: Instant) -> Result<(), String> {
    let (Some((at, where_)), Some(machine)) = (truth.released.get(&ip), truth.machines.get(node)) else {
        return Ok(());
    };
    // A claim's address is its next pod's at once, and another claim's after a way through its subnet.
    if machine.pool.by_claim {
        return Ok(());
    }
    // Of an earlier boot only the wall clock tells, and that jumps.
    if where_ != node || machine.booted > *at {
        return Ok(());
    }
    let pool = machine.pool.enis.iter();
    let accepted: usize = pool.map(|eni| eni.attached.len() + eni.releasing.len()).sum();
    let beyond = machine.owned.len();
    let full = accepted + beyond >= machine.capacity.min(machine.pool.capacity as usize);
    let least = if full {
        MINIMUM_COOLING
    } else {
        ServiceConfig::default().cooldown
    };
    let rest = now.duration_since(*at);
    if rest + COMMIT < least {
        return Err(format!(
            "{ip} is given out again on {node} after {rest:?} of {least:?}"
        ));
    }
    Ok(())
}

fn wire(truth: &Truth, node: &NodeName, wiring: &PodWiring) -> Result<(), String> {
    let key = &wiring.interface.key;
    if truth.is_bereaved(node, key) {
        return Ok(());
    }
    for ip in wiring.addresses.iter() {
        if let Some((owner, other)) = truth.owners.get(&ip)
            && (owner, other) != (node, key)
        {
            return Err(format!(
                "{ip} is wired to {key} on {node} and is owned by {other} on {owner}"
            ));
        }
        for (other_node, machine) in &truth.machines {
            let twice = machine.wired.iter().find(|(other, addresses)| {
                let alive = truth
                    .sandboxes
                    .get(&other.container)
                    .is_some_and(|fact| fact.alive);
                let alive = alive && !truth.is_bereaved(other_node, other);
                alive && (other_node, *other) != (node, key) && addresses.iter().any(|wired| wired == ip)
            });
            if let Some((other, _)) = twice {
                return Err(format!(
                    "{ip} is wired to {key} on {node} and to {other} on {other_node}"
                ));
            }
        }
    }
    Ok(())
}
