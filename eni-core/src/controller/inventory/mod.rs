//! What we know of the cloud: our ENIs, the orders under way on them, subnets and limits.
//!
//! Orders go through here, so that their effect is known before a listing shows it; two shared loops read
//! what has an order under way, and everything, for all nodes together.

mod capacity;
mod location;
mod orders;
mod reading;
mod run;
mod seen;
mod subnets;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

pub(super) use capacity::Capacity;
pub(super) use location::Location;
pub(super) use orders::Create;
pub(super) use run::AGREEING;
use seen::Seen;

use super::{PoolConfig, plan::EniView};
use crate::{
    cloud::{Capabilities, Cloud, Lane, Paced, Pacer},
    model::{EniId, EniRecord, EniState, InstanceId, PoolEni},
};

/// How long an order may take with its waiting; then the node is planned anew, as much has changed.
const TURN: Duration = Duration::from_secs(30);

/// Whether somebody waits for an address on a node, as it changes.
pub(super) type Urgent = watch::Receiver<bool>;

/// What we know of the cloud.
pub(super) struct Inventory {
    pacer: Arc<Pacer>,
    tags: BTreeMap<String, String>,
    poll_interval: Duration,
    audit_interval: Duration,
    subnets: subnets::Subnets,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    enis: BTreeMap<EniId, Seen>,
    by_name: BTreeMap<String, EniId>,
    /// Which ENI has an address, or may have it: two while it goes from one to the other.
    at: BTreeMap<IpAddr, BTreeSet<EniId>>,
    /// Those of `enis` that a listing is awaited of.
    in_flight: BTreeSet<EniId>,
    /// Records whose ENI may exist without an id, and from when on its absence can be believed. `None`:
    /// its creation was never sent.
    creations: BTreeMap<String, Option<Instant>>,
    findings: BTreeMap<InstanceId, capacity::Finding>,
    /// When the last complete listing began.
    audited: Option<Instant>,
    /// The complete listings, all of which lack what no ENI has.
    audits: Option<run::Run>,
    polled: Option<Instant>,
}

/// How long an ENI has been in the hands of the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// How long it has stood in a state that should pass by itself.
    pub(super) moving: Option<Duration>,
    /// Addresses that are listed and not delivered for at least the patience.
    pub(super) unready: Vec<IpAddr>,
}

impl Inventory {
    pub(super) fn new(pacer: Arc<Pacer>, config: &PoolConfig) -> Self {
        Self {
            subnets: subnets::Subnets::new(config.subnets.clone()),
            pacer,
            tags: config.tags.clone(),
            poll_interval: config.poll_interval,
            audit_interval: config.audit_interval,
            state: Mutex::default(),
        }
    }

    /// The cloud for orders and the reads that they need.
    fn on(&self, lane: Lane) -> Paced {
        self.pacer.on(lane).until(Instant::now() + TURN)
    }

    /// The cloud for orders that make a node's pool grow; `urgent` while somebody waits there.
    fn growing(&self, urgent: &Urgent) -> Paced {
        self.on(Lane::Growth).urged_by(urgent.clone())
    }

    fn capabilities(&self) -> Capabilities {
        self.pacer.on(Lane::Growth).capabilities()
    }

    /// What is known of the ENI of a record, whose agent was told of the `published` ones.
    pub(super) fn view(&self, id: Option<&EniId>, name: &str, published: &[PoolEni]) -> EniView {
        let mut state = self.state.lock();
        let Some(id) = id.or(state.by_name.get(name)).cloned() else {
            return EniView::Absent;
        };
        state.seen(&id).view(published)
    }

    /// How many addresses the ENI of a record takes from its subnet, in all and for pods; `None` while it
    /// was not created, or once it is gone.
    pub(super) fn takes(&self, record: &EniRecord) -> Option<(u32, u32)> {
        let state = self.state.lock();
        let id = record.id.as_ref().or(state.by_name.get(&record.name))?;
        let seen = state.enis.get(id).filter(|seen| !seen.is_gone())?;
        let ordered = (record.secondary + 1, record.secondary);
        // Before it was read, and while it is made, its addresses may not show.
        let Some(eni) = &seen.eni else {
            return Some(ordered);
        };
        let all = u32::try_from(eni.addresses.len()).unwrap_or(u32::MAX);
        let pods = u32::try_from(eni.secondary_addresses().count()).unwrap_or(u32::MAX);
        Some(match eni.state {
            EniState::Pending => (all.max(ordered.0), pods.max(ordered.1)),
            _ => (all, pods),
        })
    }

    /// How long an ENI has been in the hands of the cloud.
    pub(super) fn standing(&self, id: &EniId, patience: Duration) -> Standing {
        let now = Instant::now();
        let state = self.state.lock();
        state
            .enis
            .get(id)
            .map_or_else(Standing::default, |seen| Standing {
                moving: seen.moving_for(now),
                unready: seen.unready_for(patience, now),
            })
    }

    /// Forgets an ENI that is gone, or a record without one.
    pub(super) fn forget(&self, id: Option<&EniId>, name: &str) {
        let mut state = self.state.lock();
        state.creations.remove(name);
        let id = id.cloned().or(state.by_name.get(name).cloned());
        state.by_name.remove(name);
        if let Some(id) = id {
            let before = state.enis.remove(&id).map(|seen| seen.holds());
            state.in_flight.remove(&id);
            state.relocate(&id, &before.unwrap_or_default(), &BTreeSet::new());
        }
    }

    /// ENIs of which a listing is awaited.
    pub(super) fn in_flight(&self) -> usize {
        self.state.lock().in_flight.len()
    }

    /// Those of them that make no progress for `patience`.
    pub(super) fn stuck(&self, patience: Duration) -> usize {
        let (state, now) = (self.state.lock(), Instant::now());
        let seen = state.in_flight.iter().filter_map(|id| state.enis.get(id));
        seen.filter(|seen| seen.is_stuck(patience, now)).count()
    }

    /// When all of our ENIs were read last.
    pub(super) fn audited(&self) -> Option<Instant> {
        self.state.lock().audited
    }
}

impl State {
    /// What is known of an ENI; if that is nothing, it is to be read.
    fn seen(&mut self, id: &EniId) -> &mut Seen {
        if !self.enis.contains_key(id) {
            self.in_flight.insert(id.clone());
        }
        self.enis
            .entry(id.clone())
            .or_insert_with(|| Seen::unknown(Instant::now()))
    }

    /// Changes what is known of an ENI; what `change` returns.
    fn change<T>(&mut self, id: &EniId, change: impl FnOnce(&mut Seen) -> T) -> T {
        let seen = self.seen(id);
        let before = seen.holds();
        let result = change(seen);
        let after = seen.holds();
        let (in_flight, name) = (seen.is_in_flight(), seen.eni.as_ref().map(|eni| eni.name.clone()));
        if in_flight {
            self.in_flight.insert(id.clone());
        } else {
            self.in_flight.remove(id);
        }
        if let Some(name) = name
            && !self.by_name.contains_key(&name)
        {
            self.by_name.insert(name, id.clone());
        }
        self.relocate(id, &before, &after);
        result
    }
}
