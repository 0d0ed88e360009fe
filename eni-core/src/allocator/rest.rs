//! The rest of released addresses: when it ends, who gets one early, and what keeps one aside.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::{
    PoolAllocator,
    slot::{Slot, State},
};
use crate::model::{EniId, Families, Family, PodAddresses};

/// At the node's limit a waiter gets a cooling address, but not one younger than this.
pub const MINIMUM_COOLING: Duration = Duration::from_secs(5);

/// Longer than any process runs; short enough to be added to an instant.
const UNTIL_FURTHER_NOTICE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl PoolAllocator {
    /// Frees what has rested long enough.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(until, ip)) = self.cooling.first() {
            if until > now {
                break;
            }
            self.leave(ip);
            self.enter(ip, State::Free);
        }
        self.away.retain(|_, (_, until)| *until > now);
    }

    /// When the next address will have rested long enough for somebody who waits.
    pub fn next_expiry(&self) -> Option<Instant> {
        let (until, ip) = self.cooling.first()?;
        match self.slots[ip].state {
            State::Cooling { since, .. } if self.at_limit(Family::of(*ip)) => {
                Some((since + MINIMUM_COOLING).min(*until))
            }
            _ => Some(*until),
        }
    }

    /// Keeps an address that nobody owns from being given out until [`rest`](Self::rest); whether it is
    /// one that the pool gives out.
    pub fn set_aside(&mut self, ip: IpAddr, now: Instant) -> bool {
        let end = now + UNTIL_FURTHER_NOTICE;
        self.cool(ip, end, end)
    }

    /// Lets an address that nobody owns rest from `now` to `until`, also one that the pool does not have now.
    pub fn rest(&mut self, ip: IpAddr, now: Instant, until: Instant) {
        if self.slots.contains_key(&ip) {
            self.cool(ip, now, until);
        } else {
            self.away.insert(ip, (now, until));
        }
    }

    fn cool(&mut self, ip: IpAddr, since: Instant, until: Instant) -> bool {
        let state = self.slots.get(&ip).map(|slot| &slot.state);
        let idle = matches!(state, Some(State::Free | State::Reserved | State::Cooling { .. }));
        if idle {
            self.leave(ip);
            self.enter(ip, State::Cooling { since, until });
        }
        idle
    }

    /// Whether the instance can carry no more addresses of a family.
    pub fn at_limit(&self, family: Family) -> bool {
        // What vanished is bound nowhere.
        let bound = |(ip, slot): &(&IpAddr, &Slot)| {
            Family::of(**ip) == family && !matches!(slot.state, State::Lost(_))
        };
        self.slots.iter().filter(bound).count() >= self.capacity
    }

    /// If the node cannot get other addresses, frees those that have rested longest and together serve
    /// a request, ahead of time; all that it needs, or none.
    pub(super) fn hasten(&mut self, families: Families, now: Instant) {
        let mut rested: BTreeMap<&EniId, PodAddresses> = BTreeMap::new();
        let mut chosen = None;
        for (_, ip) in &self.cooling {
            let (slot, family) = (&self.slots[ip], Family::of(*ip));
            let ripe = matches!(slot.state, State::Cooling { since, .. } if since + MINIMUM_COOLING <= now);
            let Some(eni) = self.enis.get(&slot.eni).filter(|eni| eni.in_service && ripe) else {
                continue;
            };
            if eni.has_free(family) || !families.each().contains(&family) || !self.at_limit(family) {
                continue;
            }
            let found = rested.entry(&slot.eni).or_default();
            if !found.iter().any(|found| Family::of(found) == family) {
                found.insert(*ip);
            }
            let obtainable = |family: &Family| {
                eni.has_free(*family) || found.iter().any(|found| Family::of(found) == *family)
            };
            if families.each().iter().all(obtainable) {
                chosen = Some(*found);
                break;
            }
        }
        for ip in chosen.into_iter().flat_map(PodAddresses::iter) {
            self.leave(ip);
            self.enter(ip, State::Free);
        }
    }
}
