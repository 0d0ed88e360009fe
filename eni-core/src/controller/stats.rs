//! What an operator sees of the pool controller.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{Action, act::Outcome, desk::Desk, inventory::Inventory, stuck::PATIENCE};
use crate::cloud::{PaceCounts, Pacer};

/// How the pools stand, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolStats {
    /// Nodes that are known.
    pub nodes: usize,
    /// Nodes that wait for their turn.
    pub due: usize,
    /// Nodes that are being worked on.
    pub busy: usize,
    /// Nodes whose last attempt failed and that are tried again later.
    pub paused: usize,
    /// Nodes with sandboxes that wait for an address.
    pub waiting_nodes: usize,
    /// Addresses that scheduled pods lack, over all nodes.
    pub deficit: u64,
    /// Turns of nodes since the start.
    pub turns: u64,
    /// Actions since the start by kind and outcome (`done`, `conflict`, `postponed` or `failed`).
    pub actions: BTreeMap<(&'static str, &'static str), u64>,
    /// How long ago all of our ENIs were read; `None` if they were not yet.
    pub audit_age: Option<Duration>,
    /// ENIs of which a listing is awaited.
    pub in_flight: usize,
    /// Subnets that are left alone, as they had no room or refused.
    pub breakers_open: usize,
    /// ENIs that have been in the hands of the cloud for so long that they are driven on.
    pub stuck: usize,
    /// The calls to the cloud.
    pub calls: PaceCounts,
}

/// Counts as they come.
#[derive(Debug, Default)]
pub(super) struct Counters {
    turns: AtomicU64,
    actions: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Counters {
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count(&self, kind: &'static str, outcome: Outcome) {
        *self.actions.lock().entry((kind, outcome.name())).or_default() += 1;
    }
}

/// Gives [`PoolStats`] while the controller runs. Cheap to clone.
#[derive(Clone)]
pub struct PoolMonitor {
    pub(super) desk: Arc<Desk>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) counters: Arc<Counters>,
    pub(super) pacer: Arc<Pacer>,
}

impl PoolMonitor {
    /// How the pools stand now. It looks at every node: for a scrape, not for a loop.
    pub fn stats(&self) -> PoolStats {
        let mut stats = PoolStats {
            audit_age: self.inventory.audited().map(|audited| audited.elapsed()),
            turns: self.counters.turns.load(Ordering::Relaxed),
            actions: self.counters.actions.lock().clone(),
            in_flight: self.inventory.in_flight(),
            stuck: self.inventory.stuck(PATIENCE),
            breakers_open: self.inventory.breakers_open(),
            calls: self.pacer.counts(),
            ..PoolStats::default()
        };
        {
            let index = self.desk.index();
            stats.nodes = index.nodes().len();
            for need in index.nodes().map(|node| index.need(node)) {
                stats.deficit += u64::from(need.deficit);
                stats.waiting_nodes += usize::from(need.waiting > 0);
            }
        }
        let census = self.desk.census();
        (stats.due, stats.busy, stats.paused) = (census.due, census.busy, census.paused);
        stats
    }
}

impl std::fmt::Debug for PoolMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolMonitor").finish_non_exhaustive()
    }
}

/// An action's name in counts.
pub(super) fn kind(action: &Action) -> &'static str {
    match action {
        Action::Configure(..) => "configure",
        Action::Rewrite(_) => "rewrite",
        Action::Dismiss(_) => "dismiss",
        Action::Restore(_) => "restore",
        Action::Plan { .. } => "plan",
        Action::Create(_) => "create",
        Action::Adopt(..) => "adopt",
        Action::Attach(_) => "attach",
        Action::Assign { .. } => "assign",
        Action::AssignExactly { .. } => "assign_exactly",
        Action::Publish(_) => "publish",
        Action::Unassign { .. } => "unassign",
        Action::Evict { .. } => "evict",
        Action::Migrate { .. } => "migrate",
        Action::Retire(_) => "retire",
        Action::Detach(_) => "detach",
        Action::Delete(_) => "delete",
        Action::Forget(_) => "forget",
    }
}
