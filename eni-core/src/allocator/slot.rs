//! One address and one ENI of the node pool: their states, and how the states are counted.

use std::{collections::VecDeque, net::IpAddr};

use tokio::time::Instant;

use crate::model::{EniId, Families, Family, PoolAddress, SandboxKey};

/// How many addresses are in which state. Their sum is what the pool has accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// May be given out.
    pub free: usize,
    /// Owned by sandboxes.
    pub allocated: usize,
    /// Released a moment ago.
    pub cooling: usize,
    /// Offered back to ipamd.
    pub withdrawn: usize,
    /// Owned, but vanished in the cloud.
    pub lost: usize,
    /// May be given to one pod alone, which has not asked for it.
    pub reserved: usize,
}

impl PoolCounts {
    /// All addresses.
    pub fn total(self) -> usize {
        self.free + self.allocated + self.cooling + self.withdrawn + self.lost + self.reserved
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// Free for one pod alone.
    Reserved,
    Allocated(SandboxKey),
    Cooling {
        since: Instant,
        until: Instant,
    },
    Withdrawn,
    Lost(SandboxKey),
}

impl State {
    /// The sandbox that uses the address.
    pub(super) fn owner(&self) -> Option<&SandboxKey> {
        match self {
            Self::Allocated(owner) | Self::Lost(owner) => Some(owner),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: PoolAddress,
    pub(super) eni: EniId,
    pub(super) state: State,
}

/// The free addresses of one ENI, oldest first, and how many it has given out.
#[derive(Debug, Default)]
pub(super) struct EniPool {
    pub(super) free_v4: VecDeque<IpAddr>,
    pub(super) free_v6: VecDeque<IpAddr>,
    pub(super) allocated: usize,
    pub(super) in_service: bool,
}

impl EniPool {
    pub(super) fn free(&mut self, family: Family) -> &mut VecDeque<IpAddr> {
        match family {
            Family::V4 => &mut self.free_v4,
            Family::V6 => &mut self.free_v6,
        }
    }

    /// Allocation takes the front and withdrawal the back; only rare cases search.
    pub(super) fn remove_free(&mut self, ip: IpAddr) {
        let free = self.free(Family::of(ip));
        if free.front() == Some(&ip) {
            free.pop_front();
        } else if free.back() == Some(&ip) {
            free.pop_back();
        } else {
            free.retain(|other| *other != ip);
        }
    }

    pub(super) fn serves(&self, families: Families) -> bool {
        self.in_service && families.each().iter().all(|family| self.has_free(*family))
    }

    pub(super) fn has_free(&self, family: Family) -> bool {
        match family {
            Family::V4 => !self.free_v4.is_empty(),
            Family::V6 => !self.free_v6.is_empty(),
        }
    }
}
