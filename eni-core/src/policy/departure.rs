//! Which instances are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Instance, InstanceId, InstanceState};

/// How long a cloud's listings may lag behind: two that shall confirm each other are at least this far apart.
pub const LISTING_LAG: Duration = Duration::from_secs(30);
/// Instances that are asked for along with suspects although nothing speaks against them: a reply that
/// lacks all of them is a defect of the listing.
const CONTROLS: usize = 3;

/// A listing lacks every instance that surely exists; nothing is concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cloud lists none of {0} instances that have nodes; the listing is not believed; check the credentials' \
     project and region"
)]
pub struct Implausible(pub usize);

/// The instances behind the cluster's objects, as listings showed them.
///
/// An instance is gone once two complete listings, [`LISTING_LAG`] apart, lack it or show it terminated.
/// One that is stopped is not gone, nor is one whose node object is missing.
#[derive(Debug)]
pub struct Roll {
    /// The first and the last of the listings in a row without it.
    missing: BTreeMap<InstanceId, (Instant, Instant)>,
    /// Those without a node object.
    orphaned: BTreeSet<InstanceId>,
    /// Those to be asked for before the next audit.
    suspects: BTreeSet<InstanceId>,
    audited: Instant,
    audit_interval: Duration,
    turn: usize,
}

impl Roll {
    /// An empty roll; all instances are asked for every `audit_interval` from `now` on.
    pub fn new(now: Instant, audit_interval: Duration) -> Self {
        Self {
            missing: BTreeMap::new(),
            orphaned: BTreeSet::new(),
            suspects: BTreeSet::new(),
            audited: now,
            audit_interval,
            turn: 0,
        }
    }

    /// Whether an instance is gone for certain.
    pub fn is_gone(&self, instance: &InstanceId) -> bool {
        self.missing
            .get(instance)
            .is_some_and(|(first, last)| *last >= *first + LISTING_LAG)
    }

    /// Which instances to ask for now: those that just lost their node object, those that a listing lacked
    /// and another must confirm, and now and then all that are `named` by our objects.
    ///
    /// `alive` are those that have a node object.
    pub fn due(
        &mut self,
        now: Instant,
        named: &BTreeSet<InstanceId>,
        alive: &BTreeSet<InstanceId>,
    ) -> BTreeSet<InstanceId> {
        self.missing.retain(|id, _| named.contains(id));
        self.suspects.retain(|id| named.contains(id));
        let orphaned: BTreeSet<_> = named.difference(alive).cloned().collect();
        self.suspects.extend(orphaned.difference(&self.orphaned).cloned());
        self.orphaned = orphaned;
        if self.audited + self.audit_interval <= now {
            return named.clone();
        }
        let mut due = self.suspects.clone();
        let unconfirmed = self
            .missing
            .iter()
            .filter(|(id, (_, last))| !self.is_gone(id) && *last + LISTING_LAG <= now);
        due.extend(unconfirmed.map(|(id, _)| id.clone()));
        if !due.is_empty() {
            self.turn += 1;
            let controls: Vec<_> = alive
                .iter()
                .filter(|id| !self.missing.contains_key(*id))
                .collect();
            let rotated = controls.iter().cycle().skip(self.turn % controls.len().max(1));
            due.extend(rotated.take(CONTROLS).map(|id| (*id).clone()));
        }
        due
    }

    /// Takes over a complete listing that began at `begun` and asked for `asked`. Returns those that are
    /// gone since.
    ///
    /// # Errors
    ///
    /// The listing contradicts itself or what is known, and was not taken over.
    pub fn learn(
        &mut self,
        begun: Instant,
        asked: &BTreeSet<InstanceId>,
        listed: &[Instance],
        alive: &BTreeSet<InstanceId>,
    ) -> Result<BTreeSet<InstanceId>, Implausible> {
        let shown: BTreeMap<_, _> = listed
            .iter()
            .map(|instance| (&instance.id, instance.state))
            .collect();
        let controls = || {
            asked
                .intersection(alive)
                .filter(|id| !self.missing.contains_key(*id))
        };
        if controls().next().is_some() && !controls().any(|id| shown.contains_key(id)) {
            return Err(Implausible(controls().count()));
        }
        if begun >= self.audited + self.audit_interval {
            self.audited = begun;
        }
        let mut gone = BTreeSet::new();
        for id in asked {
            self.suspects.remove(id);
            let exists = shown
                .get(id)
                .is_some_and(|state| *state != InstanceState::Terminated);
            if exists {
                self.missing.remove(id);
                continue;
            }
            let before = self.is_gone(id);
            let (_, last) = self.missing.entry(id.clone()).or_insert((begun, begun));
            *last = begun.max(*last);
            if !before && self.is_gone(id) {
                gone.insert(id.clone());
            }
        }
        Ok(gone)
    }
}
