//! Sizing and choice, as pure functions.

use crate::{
    agent::Release,
    allocator::PoolCounts,
    model::{Limits, NodePool, Subnet, SubnetId, WarmRange},
};

/// How many addresses a node needs bound.
///
/// `demand` pods are scheduled there, `held` addresses cannot be given out now, `warm` shall be idle.
/// Never more than the instance can carry.
pub fn target(demand: u32, held: u32, warm: WarmRange, limits: Limits) -> u32 {
    demand
        .saturating_add(held)
        .saturating_add(warm.min)
        .min(limits.pods())
}

/// Above how many addresses, not counting those held, a node offers back.
pub fn maximum(demand: u32, warm: WarmRange) -> u32 {
    demand.saturating_add(warm.max)
}

/// How many idle addresses a node offers back now.
///
/// Above what the instance may carry, all of the surplus goes at once, whatever the release mode.
pub fn offer(counts: PoolCounts, orphans: usize, pool: &NodePool, release: Release) -> usize {
    let in_use = (counts.free + counts.allocated).saturating_sub(orphans);
    let surplus = in_use.saturating_sub(pool.maximum as usize).min(counts.free);
    let bound = counts.total() - counts.withdrawn;
    let excess = bound.saturating_sub(pool.capacity as usize).min(counts.free);
    match release {
        Release::Slow => surplus.min(1).max(excess),
        Release::Quick => surplus.max(excess),
    }
}

/// The subnet for a new ENI: the one with the most free addresses, if it has room for the ENI's own
/// address and one for a pod.
pub fn roomiest(subnets: &[Subnet]) -> Option<(&SubnetId, u32)> {
    let fits = subnets.iter().filter(|subnet| subnet.free >= 2);
    // The first of equals, so that the choice does not depend on a cloud's order of listing.
    fits.max_by(|a, b| a.free.cmp(&b.free).then(b.id.cmp(&a.id)))
        .map(|subnet| (&subnet.id, subnet.free))
}
