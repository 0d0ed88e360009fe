//! How many addresses a node shall have, and how many it gives back.

use crate::{
    agent::Release,
    allocator::PoolCounts,
    model::{Limits, NodePool, WarmRange},
};

/// What the size of a node's pool depends on. All figures count addresses.
///
/// ipamd adds up to [`target`](Self::target), the agent takes away down to [`maximum`](Self::maximum). Both
/// come from the same figures, and `maximum >= target - held` always, so that what one has just done
/// never makes the other act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Pods scheduled to the node that need an address.
    pub demand: u32,
    /// Addresses that are bound and cannot be given out now: cooling, withdrawn, or owned by sandboxes
    /// whose pods are gone.
    pub held: u32,
    /// How many shall be idle.
    pub warm: WarmRange,
    /// The most that the node may have bound, see [`ceiling`].
    pub ceiling: u32,
    /// The node's share of its subnets, where shares were dealt out. It limits what is idle, never what
    /// scheduled pods need.
    pub granted: Option<u32>,
}

impl Sizing {
    /// How many addresses shall be bound.
    pub fn target(&self) -> u32 {
        self.entitled(self.warm.min)
            .saturating_add(self.held)
            .min(self.ceiling)
    }

    /// Above how many bound addresses, not counting those held, the node offers back.
    pub fn maximum(&self) -> u32 {
        self.entitled(self.warm.max)
    }

    /// The scheduled pods with `idle` more, as far as the node's share goes.
    fn entitled(&self, idle: u32) -> u32 {
        let wanted = self.demand.saturating_add(idle);
        self.granted
            .map_or(wanted, |granted| wanted.min(granted.max(self.demand)))
    }
}

/// How many addresses a node can use: what its instance carries, (ENIs - 1) x (addresses - 1), and never
/// more than the pods that its kubelet takes.
pub fn ceiling(limits: Limits, max_pods: Option<u32>) -> u32 {
    limits.pods().min(max_pods.unwrap_or(u32::MAX))
}

/// How many idle addresses a node offers back now.
///
/// Above what the node may carry, all of the surplus goes at once, whatever the release mode; and what is reserved
/// for nobody, where addresses are given by claim.
pub fn offer(counts: PoolCounts, orphans: usize, pool: &NodePool, release: Release) -> usize {
    if pool.by_claim {
        return counts.free;
    }
    let in_use = (counts.free + counts.allocated).saturating_sub(orphans);
    let surplus = in_use.saturating_sub(pool.maximum as usize).min(counts.free);
    // What vanished is bound nowhere.
    let bound = counts.total() - counts.withdrawn - counts.lost;
    let excess = bound.saturating_sub(pool.capacity as usize).min(counts.free);
    match release {
        Release::Slow => surplus.min(1).max(excess),
        Release::Quick => surplus.max(excess),
    }
}
