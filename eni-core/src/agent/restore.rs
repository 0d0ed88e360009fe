//! What the journal remembers becomes the pool again: no I/O.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    allocator::PoolAllocator,
    env::Uptime,
    journal::{Hold, Memory},
    model::{NodePool, PoolAddress},
};

/// The clocks at the moment of restoring.
pub(super) struct Clocks {
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
    pub(super) uptime: Uptime,
}

/// A node's pool out of the journal.
pub(super) struct Restored {
    pub(super) pool: PoolAllocator,
    pub(super) published: NodePool,
    /// Addresses that are held back and are no longer in the pool.
    pub(super) stale: Vec<PoolAddress>,
}

/// Owners, rests and fences as the journal has them, on the pool that was accepted last. The devices of
/// its ENIs are not known: enough to say what is owned, not to give anything out.
pub(super) fn restore(memory: Memory, cooldown: Duration, clocks: &Clocks) -> Restored {
    let mut pool = PoolAllocator::default();
    let published = memory.pool.unwrap_or_default();
    pool.accept(&published);
    for (key, allocation) in memory.owned {
        pool.restore_owner(key, allocation);
    }
    let mut stale = Vec::new();
    for (entry, hold) in memory.held {
        let known = pool.entry(entry.ip);
        match hold {
            Hold::Withdrawn if known == Some(entry) => pool.restore_withdrawn(entry),
            // It rests to its end, in whatever stay, and whether it is in the pool now or comes back.
            Hold::Cooling { until, uptime } => {
                let rest = rest(until, uptime.as_ref(), cooldown, clocks);
                if rest.is_zero() && known != Some(entry) {
                    stale.push(entry);
                } else {
                    pool.rest(entry.ip, clocks.now, clocks.now + rest);
                }
            }
            Hold::Withdrawn => stale.push(entry),
        }
    }
    Restored {
        pool,
        published,
        stale,
    }
}

/// How much longer an address rests.
///
/// By the boot clock, which nobody sets. It does not reach over a reboot, and the wall clock, which does,
/// is the least to be trusted just then: after one, an address rests anew. The wall clock counts only
/// where an older version wrote nothing else.
fn rest(until: Timestamp, uptime: Option<&Uptime>, cooldown: Duration, clocks: &Clocks) -> Duration {
    let rest = match uptime {
        Some(end) if end.boot == clocks.uptime.boot => end.since.saturating_sub(clocks.uptime.since),
        Some(_) => cooldown,
        None => Duration::try_from(until.duration_since(clocks.wall)).unwrap_or(Duration::ZERO),
    };
    rest.min(cooldown)
}
