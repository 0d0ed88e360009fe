//! The node pool: which of a node's addresses is free, owned, resting, offered back or lost.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};
use std::{cmp::Reverse, net::IpAddr};

use tokio::time::Instant;

use super::{
    AddressRequest, Allocator, Shortage,
    slot::{EniPool, PoolCounts, Slot, State},
};
use crate::model::{
    Allocation, EniId, Family, Generation, NodePool, Origin, PodAddresses, PoolAddress, SandboxKey, Uid,
};

/// What became of the addresses when a new pool was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Addresses that left the pool without an owner, and not at rest: what was held of them can be forgotten.
    pub forgotten: Vec<PoolAddress>,
    /// Owned addresses that vanished.
    pub lost: Vec<(SandboxKey, IpAddr)>,
}

/// From when until when an address rests.
pub(super) type Rest = (Instant, Instant);

/// The addresses of one node's ENIs.
///
/// Allocation takes the ENI that has given out most, withdrawal the one that has given out least, so
/// that ENIs empty and can be returned. Within an ENI the address that rested longest goes first.
#[derive(Debug, Default)]
pub struct PoolAllocator {
    pub(super) enis: BTreeMap<EniId, EniPool>,
    pub(super) slots: HashMap<IpAddr, Slot>,
    pub(super) owned: BTreeMap<SandboxKey, Allocation>,
    pub(super) cooling: BTreeSet<(Instant, IpAddr)>,
    /// The rests of addresses that left the pool; they go on should the addresses come back.
    pub(super) away: BTreeMap<IpAddr, Rest>,
    withdrawn: BTreeSet<PoolAddress>,
    lost: usize,
    free: usize,
    /// For whom alone addresses are, in whatever state.
    pub(super) reserved_for: BTreeMap<IpAddr, Uid>,
    /// Addresses that nobody but their pod gets and that it has not asked for.
    pub(super) reserved: BTreeSet<(Uid, IpAddr)>,
    pub(super) by_claim: bool,
    pub(super) capacity: usize,
}

impl PoolAllocator {
    /// How many addresses are in which state.
    pub fn counts(&self) -> PoolCounts {
        let (free, cooling, withdrawn, lost) =
            (self.free, self.cooling.len(), self.withdrawn.len(), self.lost);
        let reserved = self.reserved.len();
        PoolCounts {
            free,
            allocated: self.slots.len() - free - cooling - withdrawn - lost - reserved,
            cooling,
            withdrawn,
            lost,
            reserved,
        }
    }

    /// Every owner with what it owns, in order.
    pub fn owners(&self) -> impl Iterator<Item = (&SandboxKey, &Allocation)> {
        self.owned.iter()
    }

    /// Owners of addresses that vanished, with each such address.
    pub fn losses(&self) -> impl Iterator<Item = (&SandboxKey, &Allocation, IpAddr)> {
        let owned = self.owned.iter();
        let each = owned.flat_map(|(key, owned)| owned.addresses.iter().map(move |ip| (key, owned, ip)));
        each.filter(
            |(_, _, ip)| matches!(self.slots.get(ip), Some(slot) if matches!(slot.state, State::Lost(_))),
        )
    }

    /// The addresses that were offered back and not yet taken.
    pub fn withdrawn(&self) -> impl Iterator<Item = PoolAddress> {
        self.withdrawn.iter().copied()
    }

    /// Takes over what ipamd published.
    ///
    /// New entries become free. Entries that are gone are dropped; an owned one is lost: it stays with
    /// its owner and is never given out again.
    pub fn accept(&mut self, pool: &NodePool) -> Accepted {
        let mut accepted = Accepted::default();
        self.capacity = pool.capacity as usize;
        self.by_claim = pool.by_claim;
        let reserved = pool.enis.iter().flat_map(|eni| eni.reserved.clone());
        self.reserved_for = reserved.collect();
        self.enis
            .retain(|id, _| pool.enis.iter().any(|eni| eni.id == *id));
        let mut published = BTreeMap::new();
        for eni in &pool.enis {
            self.enis.entry(eni.id.clone()).or_default();
            published.extend(
                eni.attached
                    .iter()
                    .map(|entry| (entry.ip, (*entry, &eni.id, true))),
            );
            published.extend(
                eni.releasing
                    .iter()
                    .map(|entry| (entry.ip, (*entry, &eni.id, false))),
            );
        }
        let mut known: Vec<PoolAddress> = self.slots.values().map(|slot| slot.entry).collect();
        known.sort_unstable();
        for entry in known {
            let state = self.slots[&entry.ip].state.clone();
            match (published.get(&entry.ip), state) {
                // Whatever happened to it meanwhile, it is attached, and somebody uses it.
                (Some((now, eni, true)), State::Allocated(owner) | State::Lost(owner)) => {
                    self.relabel(*now, eni, State::Allocated(owner));
                }
                (Some((same, _, true)), _) if *same == entry => {}
                // In a new stay, too, others may still send to whoever had it last.
                (Some((now, eni, true)), rest @ State::Cooling { .. }) => self.relabel(*now, eni, rest),
                // The agent fences before ipamd releases; whatever it believes, this one is not free.
                (Some((same, _, false)), _) if *same == entry => self.fence(entry),
                _ => self.drop_slot(entry, &mut accepted),
            }
        }
        for (entry, eni, attached) in published.into_values() {
            let state = match self.away.remove(&entry.ip) {
                _ if !attached => State::Withdrawn,
                Some((since, until)) => State::Cooling { since, until },
                None => State::Free,
            };
            self.admit(entry, eni, state);
        }
        self.reserve();
        accepted
    }

    /// Says which ENIs have their device on the node; only these give out addresses.
    pub fn put_into_service(&mut self, in_service: impl Fn(&EniId) -> bool) {
        self.enis
            .iter_mut()
            .for_each(|(id, eni)| eni.in_service = in_service(id));
    }

    /// Restores an owner; an address that the pool does not have is lost.
    pub fn restore_owner(&mut self, key: SandboxKey, mut allocation: Allocation) {
        for ip in allocation.addresses.iter() {
            if let Some(slot) = self.slots.get(&ip) {
                allocation.eni = slot.eni.clone();
                self.leave(ip);
                self.enter(ip, State::Allocated(key.clone()));
            } else {
                let entry = PoolAddress {
                    ip,
                    generation: Generation::from_random(0),
                };
                self.admit(entry, &allocation.eni, State::Lost(key.clone()));
            }
        }
        self.owned.insert(key, allocation);
    }

    /// Restores the fence of a withdrawn address from the journal.
    pub fn restore_withdrawn(&mut self, entry: PoolAddress) {
        self.restore_hold(entry, State::Withdrawn);
    }

    fn restore_hold(&mut self, entry: PoolAddress, state: State) {
        let free = |slot: &&Slot| slot.entry == entry && matches!(slot.state, State::Free | State::Reserved);
        if self.slots.get(&entry.ip).filter(free).is_some() {
            self.leave(entry.ip);
            self.enter(entry.ip, state);
        }
    }

    /// Addresses that would be offered back next, from the ENI that has given out least.
    pub fn surplus(&self, count: usize) -> Vec<PoolAddress> {
        let mut enis: Vec<_> = self.enis.iter().collect();
        enis.sort_by_key(|(id, eni)| (eni.allocated, Reverse(*id)));
        enis.into_iter()
            .flat_map(|(_, eni)| eni.free_v4.iter().rev().chain(eni.free_v6.iter().rev()))
            .take(count)
            .map(|ip| self.slots[ip].entry)
            .collect()
    }

    /// Fences a free address, for ipamd to take; anything else is left alone.
    pub fn withdraw(&mut self, entry: PoolAddress) {
        self.restore_hold(entry, State::Withdrawn);
    }

    /// Lifts the fence of an address that ipamd has not taken.
    pub fn take_back(&mut self, entry: PoolAddress) {
        if self.withdrawn.contains(&entry) {
            self.leave(entry.ip);
            self.enter(entry.ip, State::Free);
        }
    }

    /// The pool's entry of an address.
    pub fn entry(&self, ip: IpAddr) -> Option<PoolAddress> {
        self.slots.get(&ip).map(|slot| slot.entry)
    }

    /// The pool's entries of what a key owns, those that vanished included.
    pub fn entries(&self, key: &SandboxKey) -> Vec<PoolAddress> {
        let addresses = self.owned.get(key).map(|owned| owned.addresses);
        let slots = addresses.into_iter().flat_map(PodAddresses::iter);
        let slots = slots.filter_map(|ip| self.slots.get(&ip));
        slots.map(|slot| slot.entry).collect()
    }

    /// Whether an address is owned, also one that vanished.
    pub fn is_owned(&self, ip: IpAddr) -> bool {
        self.slots
            .get(&ip)
            .is_some_and(|slot| slot.state.owner().is_some())
    }

    /// Takes back an allocation that nobody learned of.
    pub fn undo(&mut self, key: &SandboxKey) {
        for ip in self
            .owned
            .remove(key)
            .iter()
            .flat_map(|allocation| allocation.addresses.iter())
        {
            self.leave(ip);
            self.enter(ip, State::Free);
        }
    }

    fn fence(&mut self, entry: PoolAddress) {
        match self.slots[&entry.ip].state.clone() {
            State::Withdrawn | State::Lost(_) => {}
            State::Free | State::Reserved | State::Cooling { .. } => {
                self.leave(entry.ip);
                self.enter(entry.ip, State::Withdrawn);
            }
            State::Allocated(key) => {
                self.leave(entry.ip);
                self.enter(entry.ip, State::Lost(key));
            }
        }
    }

    /// Takes up an address that the pool does not have.
    fn admit(&mut self, entry: PoolAddress, eni: &EniId, state: State) {
        if let Entry::Vacant(vacant) = self.slots.entry(entry.ip) {
            vacant.insert(Slot {
                entry,
                eni: eni.clone(),
                state: State::Free,
            });
            self.enter(entry.ip, state);
        }
    }

    /// Leaves an attached address with its owner or at rest, in the stay that ipamd published.
    fn relabel(&mut self, entry: PoolAddress, eni: &EniId, state: State) {
        self.leave(entry.ip);
        if let Some(allocation) = state.owner().and_then(|owner| self.owned.get_mut(owner)) {
            allocation.eni = eni.clone();
        }
        self.slots.insert(
            entry.ip,
            Slot {
                entry,
                eni: eni.clone(),
                state: State::Free,
            },
        );
        self.enter(entry.ip, state);
    }

    fn drop_slot(&mut self, entry: PoolAddress, accepted: &mut Accepted) {
        match self.slots[&entry.ip].state.clone() {
            State::Lost(_) => return,
            State::Allocated(key) => {
                self.leave(entry.ip);
                self.enter(entry.ip, State::Lost(key.clone()));
                accepted.lost.push((key, entry.ip));
                return;
            }
            State::Cooling { since, until } => drop(self.away.insert(entry.ip, (since, until))),
            State::Withdrawn | State::Free | State::Reserved => accepted.forgotten.push(entry),
        }
        self.leave(entry.ip);
        self.slots.remove(&entry.ip);
    }

    /// Takes an address out of the index of its state.
    pub(super) fn leave(&mut self, ip: IpAddr) {
        let slot = &self.slots[&ip];
        match &slot.state {
            State::Free => {
                self.free -= 1;
                if let Some(eni) = self.enis.get_mut(&slot.eni) {
                    eni.remove_free(ip);
                }
            }
            State::Reserved => self.reserved.retain(|(_, reserved)| *reserved != ip),
            State::Allocated(_) => {
                if let Some(eni) = self.enis.get_mut(&slot.eni) {
                    eni.allocated -= 1;
                }
            }
            State::Cooling { until, .. } => {
                self.cooling.remove(&(*until, ip));
            }
            State::Withdrawn => {
                self.withdrawn.remove(&slot.entry);
            }
            State::Lost(_) => self.lost -= 1,
        }
    }

    /// Puts an address into a state and its index; what is free for one pod alone is reserved.
    pub(super) fn enter(&mut self, ip: IpAddr, state: State) {
        let state = match (state, self.reserved_for.get(&ip)) {
            (State::Free, Some(pod)) => {
                self.reserved.insert((pod.clone(), ip));
                State::Reserved
            }
            (state, _) => state,
        };
        let slot = self
            .slots
            .get_mut(&ip)
            .expect("callers enter addresses that have a slot");
        let eni = self.enis.get_mut(&slot.eni);
        match &state {
            State::Free => {
                self.free += 1;
                if let Some(eni) = eni {
                    eni.free(Family::of(ip)).push_back(ip);
                }
            }
            State::Reserved => {}
            State::Allocated(_) => {
                if let Some(eni) = eni {
                    eni.allocated += 1;
                }
            }
            State::Cooling { until, .. } => {
                self.cooling.insert((*until, ip));
            }
            State::Withdrawn => {
                self.withdrawn.insert(slot.entry);
            }
            State::Lost(_) => self.lost += 1,
        }
        slot.state = state;
    }
}

impl Allocator for PoolAllocator {
    fn allocate(&mut self, request: &AddressRequest, now: Instant) -> Result<Allocation, Shortage> {
        if let Some(allocation) = self.owned.get_mut(&request.key) {
            let boot = |origin: &Option<Origin>| origin.as_ref().map(|origin| origin.boot.clone());
            // Some runtimes start a sandbox again under its old id after a reboot.
            if request.origin.is_some() && boot(&allocation.origin) != boot(&request.origin) {
                allocation.origin.clone_from(&request.origin);
            }
            return Ok(allocation.clone());
        }
        if self.by_claim {
            return self
                .allocate_reserved(request)
                .ok_or_else(|| self.shortage_of(request));
        }
        self.expire(now);
        if !self.enis.values().any(|eni| eni.serves(request.families)) {
            self.hasten(request.families, now);
        }
        let fullest = self
            .enis
            .iter()
            .filter(|(_, eni)| eni.serves(request.families))
            .max_by_key(|(id, eni)| (eni.allocated, Reverse(*id)));
        let Some((id, _)) = fullest else {
            return Err(self.shortage());
        };
        let id = id.clone();
        let mut addresses = PodAddresses::default();
        let eni = self.enis.get_mut(&id).expect("the chosen ENI is in the pool");
        for family in request.families.each() {
            let ip = eni.free(*family).front();
            addresses.insert(*ip.expect("the chosen ENI serves every family"));
        }
        Ok(self.own(request, id, addresses))
    }

    fn release(&mut self, key: &SandboxKey, now: Instant, until: Instant) -> Option<Allocation> {
        let allocation = self.owned.remove(key)?;
        for ip in allocation.addresses.iter() {
            self.leave(ip);
            if matches!(self.slots[&ip].state, State::Lost(_)) {
                self.slots.remove(&ip);
                self.away.insert(ip, (now, until));
            } else if self.by_claim {
                self.enter(ip, State::Withdrawn);
            } else {
                self.enter(ip, State::Cooling { since: now, until });
            }
        }
        Some(allocation)
    }

    fn owned(&self, key: &SandboxKey) -> Option<&Allocation> {
        self.owned.get(key)
    }

    fn shortage(&self) -> Shortage {
        if self.by_claim {
            return Shortage::Unclaimed;
        }
        if !self.enis.values().any(|eni| eni.in_service) {
            return Shortage::NoEni;
        }
        let counts = self.counts();
        Shortage::NoAddress {
            owned: counts.allocated,
            cooling: counts.cooling,
            withdrawn: counts.withdrawn,
        }
    }
}
