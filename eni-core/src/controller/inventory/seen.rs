//! What is known of one ENI: the last listing, and the orders that a listing may not show yet. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    controller::{EniView, Observed, inventory::run::Run},
    model::{Eni, EniAddress, EniState, PoolEni},
};

/// How long listings may lag behind what the cloud has answered: an ENI or an address that is missing for
/// less is not believed to be gone, and an order that shows no effect for longer is given again.
pub(in crate::controller) const LAG: Duration = Duration::from_secs(30);
/// How long after an ENI's last reading it is read again while nothing but an address that it lacks is looked
/// for: a few readings must agree.
const RECHECK: Duration = Duration::from_secs(5);
/// An ENI with an order under way is read again after this part of the order's age, so that one that
/// hangs for an hour does not cost a call every second.
const PATIENCE: u32 = 8;
/// The longest pause between two readings of an ENI with an order under way.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known of one ENI.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) eni: Option<Eni>,
    /// When our last order on it was answered; older listings say nothing.
    touched: Instant,
    /// When it was last asked for.
    pub(super) asked: Instant,
    /// Since when it stands in its state, or since our last order.
    since: Instant,
    /// The complete listings in a row without it.
    missing: Option<Run>,
    /// The outcome of the last order is not known.
    pub(super) doubtful: bool,
    /// The state before our last order to attach or detach it, which no listing was seen to leave yet.
    leaving: Option<EniState>,
    /// We made it, and know what it was made with.
    made: bool,
    /// Ordered and not yet listed.
    assigning: BTreeMap<IpAddr, Instant>,
    /// Ordered onto it soon after they were ordered off: for a while a listing may show their earlier stay.
    again: BTreeMap<IpAddr, Instant>,
    /// Ordered off, for as long as a listing may show them, even after one that lacked them.
    unassigning: BTreeMap<IpAddr, Instant>,
    /// Was listed, and is not, in too few listings or for less than they may lag.
    absent: BTreeMap<IpAddr, Absence>,
    /// The complete listings that had it.
    listed: Option<Run>,
    /// Listed and not delivered yet, and since when.
    unready: BTreeMap<IpAddr, Instant>,
    deleting: bool,
}

/// An address that listings lack.
#[derive(Clone, Copy, Debug)]
struct Absence {
    missing: Run,
    /// We ordered it off.
    ordered: bool,
}

impl Seen {
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            eni: None,
            touched: now,
            asked: now,
            since: now,
            missing: None,
            doubtful: false,
            leaving: None,
            made: false,
            assigning: BTreeMap::new(),
            again: BTreeMap::new(),
            unassigning: BTreeMap::new(),
            absent: BTreeMap::new(),
            listed: None,
            unready: BTreeMap::new(),
            deleting: false,
        }
    }

    /// What a plan may conclude of it, given what its agent was told.
    pub(super) fn view(&self, published: &[PoolEni]) -> EniView {
        if self.is_gone() {
            return EniView::Gone;
        }
        let Some(eni) = self.eni.clone() else {
            return EniView::Unknown;
        };
        let told = published.iter().filter(|published| published.id == eni.id);
        let told = told.flat_map(|eni| {
            let stays = eni.attached.iter().chain(&eni.releasing).map(|entry| entry.ip);
            stays.chain(eni.evicting.iter().copied())
        });
        EniView::Known(Box::new(Observed {
            unassigning: self.unassigning(),
            vanished: self.vanished(told),
            settled: self.is_settled(),
            confirmed: self.is_confirmed(),
            eni,
        }))
    }

    /// Several complete listings do not have it, for longer than they may lag unless its deletion was ordered.
    pub(super) fn is_gone(&self) -> bool {
        let gone = |missing: Run| {
            if self.deleting {
                missing.is_repeated()
            } else {
                missing.is_certain(false)
            }
        };
        self.missing.is_some_and(gone)
    }

    /// Whether no listing lacked it and its deletion was not ordered.
    pub(super) fn is_present(&self) -> bool {
        self.missing.is_none() && !self.deleting
    }

    /// The first listing without it, if it is gone.
    pub(super) fn gone_since(&self) -> Option<Instant> {
        self.missing
            .filter(|_| self.is_gone())
            .map(|missing| missing.since())
    }

    /// Whether a listing is awaited.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_gone() && (self.is_moving() || !self.absent.is_empty())
    }

    /// Whether it takes an order now: none is under way, and nothing happens that we did not order.
    pub(super) fn is_settled(&self) -> bool {
        self.is_gone() || !self.is_moving() && self.absent.values().all(|absence| absence.ordered)
    }

    /// Whether all of its addresses are known: one listing may lack some.
    fn is_confirmed(&self) -> bool {
        self.absent.is_empty() && (self.made || self.is_listed_enough())
    }

    /// Whether what none of its listings had is certain not to be there.
    fn is_listed_enough(&self) -> bool {
        self.listed.is_some_and(|listed| listed.is_certain(false))
    }

    fn is_moving(&self) -> bool {
        let moving =
            |eni: &Eni| eni.state.is_transitional() || eni.addresses.iter().any(|address| !address.ready);
        let leaving = |eni: &Eni| {
            eni.secondary_addresses()
                .any(|address| self.unassigning.contains_key(&address.ip))
        };
        let ordered = !self.assigning.is_empty()
            || self.eni.as_ref().is_some_and(leaving)
            || self.deleting
            || self.doubtful
            || self.leaving.is_some();
        ordered || self.missing.is_some() || self.eni.as_ref().is_none_or(moving)
    }

    /// When it should be read again, if a listing is awaited.
    pub(super) fn next_reading(&self, interval: Duration) -> Instant {
        let age = self.asked.saturating_duration_since(self.touched.max(self.since));
        let next = self.asked + (age / PATIENCE).clamp(interval, LONGEST_PAUSE.max(interval));
        let absence_alone = !self.absent.is_empty() && !self.is_moving();
        if absence_alone {
            next.max(self.asked + RECHECK)
        } else {
            next
        }
    }

    /// Those of the addresses that were told to its agent whose stay has ended: for longer than listings lag
    /// they do not have them, or the cloud has given them to it anew.
    fn vanished(&self, told: impl IntoIterator<Item = IpAddr>) -> BTreeSet<IpAddr> {
        let confirmed = self.is_listed_enough();
        let has = |ip: &IpAddr| {
            let mut addresses = self.eni.iter().flat_map(|eni| &eni.addresses);
            addresses.any(|address| address.ip == *ip)
        };
        let absent = |ip: &IpAddr| confirmed && !has(ip) && !self.absent.contains_key(ip);
        let told = told.into_iter();
        told.filter(|ip| self.assigning.contains_key(ip) || absent(ip))
            .collect()
    }

    /// The addresses that it has, its own included, or may have although the last listing lacked them.
    pub(super) fn holds(&self) -> BTreeSet<IpAddr> {
        let listed = self.eni.iter().flat_map(|eni| &eni.addresses);
        let missed = self.absent.iter().filter(|(_, absence)| !absence.ordered);
        let missed = missed.map(|(ip, _)| *ip);
        listed.map(|address| address.ip).chain(missed).collect()
    }

    /// Whether an address was ordered off it a moment ago.
    pub(super) fn is_leaving(&self, ip: IpAddr) -> bool {
        self.unassigning.contains_key(&ip)
    }

    /// Addresses whose removal was ordered and that a listing may still show.
    fn unassigning(&self) -> BTreeSet<IpAddr> {
        self.unassigning.keys().copied().collect()
    }

    /// How long it has stood in a state that should pass by itself.
    pub(super) fn moving_for(&self, now: Instant) -> Option<Duration> {
        let moving = self.eni.as_ref().is_some_and(|eni| eni.state.is_transitional());
        (moving && !self.is_gone()).then(|| now.saturating_duration_since(self.since))
    }

    /// Addresses that are listed and not delivered for at least so long.
    pub(super) fn unready_for(&self, patience: Duration, now: Instant) -> Vec<IpAddr> {
        let late = self.unready.iter().filter(|(_, since)| **since + patience <= now);
        late.map(|(ip, _)| *ip).collect()
    }

    /// Whether it makes no progress for `patience`.
    pub(super) fn is_stuck(&self, patience: Duration, now: Instant) -> bool {
        self.moving_for(now).is_some_and(|age| age >= patience) || !self.unready_for(patience, now).is_empty()
    }

    /// An order on it was answered.
    pub(super) fn touch(&mut self, now: Instant) {
        self.touched = now;
        self.asked = now;
        self.since = now;
    }

    /// It was created, or found again.
    pub(super) fn created(&mut self, eni: Eni) {
        self.eni = Some(eni);
        self.missing = None;
        self.made = true;
    }

    /// It was ordered to `state`, which a listing may not show at once.
    pub(super) fn ordered(&mut self, state: EniState) {
        if let Some(eni) = &mut self.eni {
            self.leaving = Some(eni.state).filter(|before| *before != state);
            eni.state = state;
        }
        self.deleting = state == EniState::Deleting;
    }

    /// Addresses were ordered onto it.
    pub(super) fn assigned(&mut self, ips: &[IpAddr], now: Instant) {
        self.assigning.extend(ips.iter().map(|ip| (*ip, now)));
        let left = |ip: &&IpAddr| self.unassigning.contains_key(*ip);
        self.again.extend(ips.iter().filter(left).map(|ip| (*ip, now)));
        self.absent.retain(|ip, _| !ips.contains(ip));
        self.unassigning.retain(|ip, _| !ips.contains(ip));
        if let Some(eni) = &mut self.eni {
            eni.addresses.retain(|address| !ips.contains(&address.ip));
            eni.addresses.extend(ips.iter().map(|ip| unready(*ip)));
        }
    }

    /// Addresses were ordered off it.
    pub(super) fn unassigned(&mut self, ips: &[IpAddr], now: Instant) {
        self.unassigning.extend(ips.iter().map(|ip| (*ip, now)));
        self.unready.retain(|ip, _| !ips.contains(ip));
    }

    /// Takes over what a complete listing said that began at `asked`; whether anything changed.
    pub(super) fn learn(&mut self, listed: Option<Eni>, asked: Instant) -> bool {
        self.asked = self.asked.max(asked);
        if self.touched > asked {
            return false;
        }
        let before = (self.is_gone(), self.is_in_flight());
        let Some(mut eni) = listed else {
            let again = |missing: Run| missing.again(asked);
            self.missing = Some(self.missing.map_or(Run::first(asked), again));
            return before != (self.is_gone(), self.is_in_flight());
        };
        self.missing = None;
        self.doubtful = false;
        let lagged = self.touched + LAG <= asked;
        if lagged {
            self.deleting = false;
        }
        self.leaving = self.leaving.filter(|before| *before == eni.state && !lagged);
        self.learn_addresses(&eni, asked);
        self.again.retain(|_, ordered| *ordered + LAG > asked);
        for address in &mut eni.addresses {
            address.ready &= !self.again.contains_key(&address.ip);
        }
        let coming = self.assigning.keys().map(|ip| unready(*ip));
        eni.addresses.extend(coming);
        let stands = |known: &Eni| known.state == eni.state && known.instance == eni.instance;
        if !self.eni.as_ref().is_some_and(stands) {
            self.since = asked;
        }
        let changed = self.eni.as_ref() != Some(&eni);
        self.eni = Some(eni);
        changed || before != (self.is_gone(), self.is_in_flight())
    }

    fn learn_addresses(&mut self, eni: &Eni, asked: Instant) {
        let has = |ip: &IpAddr| eni.addresses.iter().any(|address| address.ip == *ip);
        let before = self
            .eni
            .iter()
            .flat_map(Eni::secondary_addresses)
            .map(|address| address.ip);
        let missed = before.filter(|ip| !has(ip) && !self.assigning.contains_key(ip));
        for ip in missed {
            let ordered = self.unassigning.contains_key(&ip);
            let missing = Run::first(asked);
            self.absent.entry(ip).or_insert(Absence { missing, ordered });
        }
        for absence in self.absent.values_mut() {
            absence.missing = absence.missing.again(asked);
        }
        self.absent
            .retain(|ip, absence| !has(ip) && !absence.missing.is_certain(absence.ordered));
        self.listed = Some(
            self.listed
                .map_or(Run::first(asked), |listed| listed.again(asked)),
        );
        self.assigning
            .retain(|ip, ordered| !has(ip) && *ordered + LAG > asked);
        self.unassigning.retain(|_, ordered| *ordered + LAG > asked);
        let late = |ip: &IpAddr| {
            eni.addresses
                .iter()
                .any(|address| address.ip == *ip && !address.ready)
        };
        self.unready.retain(|ip, _| late(ip));
        for address in eni.secondary_addresses().filter(|address| !address.ready) {
            if !self.unassigning.contains_key(&address.ip) {
                self.unready.entry(address.ip).or_insert(asked);
            }
        }
    }
}

fn unready(ip: IpAddr) -> EniAddress {
    EniAddress {
        ip,
        primary: false,
        ready: false,
    }
}

#[cfg(test)]
mod tests;
