//! Keeps the grants up to date: reads what is known, deals, and names the nodes whose grant changed.
//!
//! A grant is published with everything else that the node's plan publishes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{act::Actor, index::Index, instances::Instances};
use crate::{
    model::{EniRecord, Intent, Node, NodeConfig, NodeName, Subnet, SubnetId, Zone},
    policy::{self, Claimant, Ledger, Share, Stock, deal},
};

/// How long it is trusted that nothing changed: what is believed of others' ENIs ends by itself.
const TRUST: Duration = Duration::from_secs(60);

/// The grants of all nodes.
pub(super) struct Grants {
    actor: Arc<Actor>,
    instances: Arc<Instances>,
    state: Mutex<State>,
}

struct State {
    ledger: Ledger,
    /// What was dealt last, published or not yet.
    dealt: BTreeMap<NodeName, u32>,
    /// What it was dealt from.
    from: Option<(Stock, BTreeMap<NodeName, Claimant>, bool)>,
    /// When that was gathered last, and how things stood.
    gathered: Option<(Instant, Sight)>,
    totals: Totals,
    crowded: bool,
}

/// What tells cheaply whether anything may have changed that a deal depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sight {
    changes: u64,
    subnets: Instant,
    calm: bool,
}

/// What each subnet had at its last reading for us, free or taken by our ENIs. Unlike what is free, it does
/// not change with what we take and give back.
#[derive(Default)]
struct Totals {
    read: Option<Instant>,
    of: BTreeMap<SubnetId, u32>,
}

/// What our ENIs take.
#[derive(Default)]
struct Taken {
    addresses: BTreeMap<SubnetId, u32>,
    /// ENIs, those of the instances themselves included.
    enis: u32,
}

impl State {
    /// Whether gathering everything again would bring what it brought last time.
    fn is_unchanged(&self, sight: Sight, now: Instant) -> bool {
        let same = |(at, before): (Instant, Sight)| before == sight && now < at + TRUST;
        self.gathered.is_some_and(same) && self.ledger.is_at_rest()
    }
}

impl Grants {
    pub(super) fn new(actor: Arc<Actor>, instances: Arc<Instances>) -> Self {
        let state = State {
            ledger: Ledger::new(Instant::now(), actor.config.grants.pause),
            dealt: BTreeMap::new(),
            from: None,
            gathered: None,
            totals: Totals::default(),
            crowded: false,
        };
        let state = Mutex::new(state);
        Self {
            actor,
            instances,
            state,
        }
    }

    /// A node's grant, once it was dealt one.
    pub(super) fn of(&self, node: &NodeName) -> Option<u32> {
        self.state.lock().dealt.get(node).copied()
    }

    /// Deals anew if something changed. Returns the nodes whose grant did.
    pub(super) async fn round(&self) -> Vec<NodeName> {
        self.refresh().await;
        let Some((read, subnets)) = self.actor.inventory.last_subnets() else {
            return Vec::new();
        };
        let now = Instant::now();
        let index = self.actor.desk.index();
        let mut state = self.state.lock();
        let sight = Sight {
            changes: self.actor.desk.changes(),
            subnets: read,
            calm: state.ledger.is_calm(now),
        };
        if state.is_unchanged(sight, now) {
            return Vec::new();
        }
        state.gathered = Some((now, sight));
        let from = self.gather(&index, &mut state, now, sight, subnets);
        if state.from.as_ref() == Some(&from) {
            return Vec::new();
        }
        let deal = deal(&from.0, &from.1, &self.actor.config.grants, from.2);
        let changed = deal
            .shares
            .iter()
            .filter(|(name, share)| from.1[*name].granted != share.granted);
        let changed = changed.map(|(name, _)| name.clone()).collect();
        state.crowded = deal.crowded;
        // That nothing was granted yet, and is not for now, is no share: it limits nobody.
        let before = std::mem::take(&mut state.dealt);
        let open = |name: &NodeName, share: &Share| {
            let node = &from.1[name];
            let first = node.granted == 0 && !before.contains_key(name);
            first && (from.2 || node.frozen || share.postponed)
        };
        let shares = deal.shares.into_iter();
        let shares = shares.filter(|(name, share)| !open(name, share));
        state.dealt = shares.map(|(name, share)| (name, share.granted)).collect();
        state.from = Some(from);
        changed
    }

    /// Reads the subnets more often than the audit does while somebody lacks something.
    async fn refresh(&self) {
        if !self.state.lock().crowded {
            return;
        }
        if let Err(error) = self.actor.inventory.refresh_subnets().await {
            tracing::warn!(%error, "subnets cannot be read; grants follow the last reading");
        }
    }

    /// What is dealt out, and who may get it.
    fn gather(
        &self,
        index: &Index,
        state: &mut State,
        now: Instant,
        sight: Sight,
        subnets: Vec<Subnet>,
    ) -> (Stock, BTreeMap<NodeName, Claimant>, bool) {
        let mut taken = Taken::default();
        let mut claimants = BTreeMap::new();
        for (config, node, records) in index.each() {
            let mut claimant = self.claimant(config, node, records, &mut taken);
            let dealt = state.dealt.get(&config.name).copied();
            claimant.scheduled = index.demand(&config.name);
            claimant.granted = dealt.unwrap_or(config.pool.granted);
            let used = claimant
                .granted
                .max(config.pool.granted)
                .max(config.agent.advertised)
                .max(claimant.scheduled);
            claimant.committed = state.ledger.enter(now, &config.name, used);
            claimants.insert(config.name.clone(), claimant);
        }
        // A node that is still to get its object will need no less than the others; until then they must
        // not be granted all. One whose instance is gone gets none.
        for (name, zone, instance) in index.awaited() {
            if self.instances.is_gone(instance) {
                continue;
            }
            let mut claimant = awaited(zone, index.demand(name));
            let used = claimant
                .scheduled
                .saturating_add(self.actor.config.grants.reserve);
            claimant.committed = state.ledger.enter(now, name, used);
            claimants.insert(name.clone(), claimant);
        }
        let names: BTreeSet<_> = claimants.keys().collect();
        state.ledger.retain(&names);
        let stock = self.stock(index, &mut state.totals, sight.subnets, subnets, &taken);
        (stock, claimants, sight.calm)
    }

    fn stock(
        &self,
        index: &Index,
        totals: &mut Totals,
        read: Instant,
        subnets: Vec<Subnet>,
        taken: &Taken,
    ) -> Stock {
        let of = |subnet: &SubnetId| taken.addresses.get(subnet).copied().unwrap_or_default();
        if totals.read != Some(read) {
            totals.read = Some(read);
            let total = |subnet: &Subnet| (subnet.id.clone(), subnet.free + of(&subnet.id));
            totals.of = subnets.iter().map(total).collect();
        }
        let left = |subnet: Subnet| {
            let total = totals.of.get(&subnet.id).copied().unwrap_or_default();
            let used = of(&subnet.id) + index.reserved(&subnet.id);
            (subnet.id, (subnet.zone, total.saturating_sub(used)))
        };
        Stock {
            subnets: subnets.into_iter().map(left).collect(),
            enis: self
                .actor
                .config
                .eni_quota
                .map(|quota| quota.saturating_sub(taken.enis)),
        }
    }

    fn claimant<'a>(
        &self,
        config: &NodeConfig,
        node: Option<&Node>,
        records: impl Iterator<Item = &'a EniRecord>,
        taken: &mut Taken,
    ) -> Claimant {
        // The instance's own.
        taken.enis += u32::from(node.is_some());
        let node = node.filter(|node| node.instance.as_ref() == Some(&config.spec.instance));
        let declared = config.spec.limits;
        let limits = declared.map(|limits| self.actor.inventory.usable(&config.spec.instance, limits));
        let mut enis = Vec::new();
        let mut slots = limits.map_or(0, |limits| limits.secondary_enis());
        for record in records {
            let takes = self.actor.inventory.takes(record);
            taken.add(&record.subnet, takes.map_or(0, |(all, _)| all));
            if record.instance != config.spec.instance {
                continue;
            }
            slots = slots.saturating_sub(1);
            if record.intent == Intent::Attached {
                let pods = takes.map_or(record.secondary, |(_, pods)| pods);
                enis.push((record.subnet.clone(), pods));
            }
        }
        Claimant {
            zone: config.spec.zone.clone(),
            enis,
            slots,
            per_eni: limits.map_or(0, |limits| limits.secondary_addresses()),
            ceiling: limits.map_or(u32::MAX, |limits| {
                policy::ceiling(limits, node.and_then(|node| node.max_pods))
            }),
            scheduled: 0,
            granted: 0,
            committed: 0,
            frozen: node.is_none() || limits.is_none(),
        }
    }
}

impl Taken {
    fn add(&mut self, subnet: &SubnetId, addresses: u32) {
        self.enis += 1;
        match self.addresses.get_mut(subnet) {
            Some(taken) => *taken += addresses,
            None => {
                self.addresses.insert(subnet.clone(), addresses);
            }
        }
    }
}

/// A node without an object of ours: nothing is known yet that would allow a grant.
fn awaited(zone: &Zone, scheduled: u32) -> Claimant {
    Claimant {
        zone: zone.clone(),
        enis: Vec::new(),
        slots: 0,
        per_eni: 0,
        ceiling: u32::MAX,
        scheduled,
        granted: 0,
        committed: 0,
        frozen: true,
    }
}
