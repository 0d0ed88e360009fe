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

use super::{act::Actor, index::Index};
use crate::{
    model::{EniRecord, Intent, Node, NodeConfig, NodeName, Subnet, SubnetId},
    policy::{self, Claimant, Ledger, Stock, deal},
};

/// How long it is trusted that nothing changed: what is believed of others' ENIs ends by itself.
const TRUST: Duration = Duration::from_secs(60);

/// The grants of all nodes.
pub(super) struct Grants {
    actor: Arc<Actor>,
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

impl State {
    /// Whether gathering everything again would bring what it brought last time.
    fn is_unchanged(&self, sight: Sight, now: Instant) -> bool {
        let same = |(at, before): (Instant, Sight)| before == sight && now < at + TRUST;
        self.gathered.is_some_and(same) && self.ledger.is_at_rest()
    }
}

impl Grants {
    pub(super) fn new(actor: Arc<Actor>) -> Self {
        let state = State {
            ledger: Ledger::new(Instant::now(), actor.config.grants.pause),
            dealt: BTreeMap::new(),
            from: None,
            gathered: None,
            totals: Totals::default(),
            crowded: false,
        };
        let state = Mutex::new(state);
        Self { actor, state }
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
        let stock = self.stock(&index, &mut state.totals, read, subnets);
        let nodes = self.claimants(&index, &mut state, now);
        let from = (stock, nodes, sight.calm);
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
        // That nothing was granted yet, and may not be for now, is no share: it limits nobody.
        let before = std::mem::take(&mut state.dealt);
        let open = |name: &NodeName| {
            let node = &from.1[name];
            let first = node.granted == 0 && !before.contains_key(name);
            first && (from.2 || node.frozen)
        };
        let shares = deal.shares.into_iter().filter(|(name, _)| !open(name));
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

    fn stock(&self, index: &Index, totals: &mut Totals, read: Instant, subnets: Vec<Subnet>) -> Stock {
        let mut taken: BTreeMap<&SubnetId, u32> = BTreeMap::new();
        let mut enis = 0u32;
        for (_, node, records) in index.each() {
            // The instance's own.
            enis += u32::from(node.is_some());
            for record in records {
                enis += 1;
                let (all, _) = self.actor.inventory.takes(record).unwrap_or_default();
                *taken.entry(&record.subnet).or_default() += all;
            }
        }
        let taken = |subnet: &SubnetId| taken.get(subnet).copied().unwrap_or_default();
        if totals.read != Some(read) {
            totals.read = Some(read);
            let total = |subnet: &Subnet| (subnet.id.clone(), subnet.free + taken(&subnet.id));
            totals.of = subnets.iter().map(total).collect();
        }
        let left = |subnet: Subnet| {
            let total = totals.of.get(&subnet.id).copied().unwrap_or_default();
            let used = taken(&subnet.id) + index.reserved(&subnet.id);
            (subnet.id, (subnet.zone, total.saturating_sub(used)))
        };
        Stock {
            subnets: subnets.into_iter().map(left).collect(),
            enis: self
                .actor
                .config
                .eni_quota
                .map(|quota| quota.saturating_sub(enis)),
        }
    }

    fn claimants(&self, index: &Index, state: &mut State, now: Instant) -> BTreeMap<NodeName, Claimant> {
        let mut claimants = BTreeMap::new();
        for (config, node, records) in index.each() {
            let dealt = state.dealt.get(&config.name).copied();
            let mut claimant = self.claimant(config, node, records);
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
        let names: BTreeSet<_> = claimants.keys().collect();
        state.ledger.retain(&names);
        claimants
    }

    fn claimant<'a>(
        &self,
        config: &NodeConfig,
        node: Option<&Node>,
        records: impl Iterator<Item = &'a EniRecord>,
    ) -> Claimant {
        let node = node.filter(|node| node.instance.as_ref() == Some(&config.spec.instance));
        let declared = config.spec.limits;
        let limits = declared.map(|limits| self.actor.inventory.usable(&config.spec.instance, limits));
        let mut enis = Vec::new();
        let mut slots = limits.map_or(0, |limits| limits.secondary_enis());
        for record in records.filter(|record| record.instance == config.spec.instance) {
            slots = slots.saturating_sub(1);
            if record.intent == Intent::Attached {
                let pods = self
                    .actor
                    .inventory
                    .takes(record)
                    .map_or(record.secondary, |(_, pods)| pods);
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
