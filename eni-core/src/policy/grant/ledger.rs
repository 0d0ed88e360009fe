//! What others must not count on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::NodeName;

/// How much each node may be counted on to use.
///
/// That is the highest of what it is granted, what it advertises and what is scheduled to it; and after that
/// fell, still the old figure for the pause in which the scheduler may not have heard of it.
#[derive(Debug)]
pub struct Ledger {
    pause: Duration,
    begun: Instant,
    entries: BTreeMap<NodeName, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// What others must not count on.
    level: u32,
    /// What it fell to, and until when the pause lasts.
    falling: Option<(u32, Instant)>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(now: Instant, pause: Duration) -> Self {
        Self {
            pause,
            begun: now,
            entries: BTreeMap::new(),
        }
    }

    /// Whether something may have fallen right before the ledger was begun: until a pause later nothing may
    /// be granted out of it.
    pub fn is_calm(&self, now: Instant) -> bool {
        now < self.begun + self.pause
    }

    /// Enters what a node may be counted on to use now; returns what others must not count on.
    pub fn enter(&mut self, now: Instant, node: &NodeName, used: u32) -> u32 {
        let entry = self.entries.entry(node.clone()).or_insert(Entry {
            level: used,
            falling: None,
        });
        if used >= entry.level {
            (entry.level, entry.falling) = (used, None);
            return used;
        }
        let (fell_to, until) = entry.falling.unwrap_or((used, now + self.pause));
        // What it rose by meanwhile does not fall any more; what it fell by further waits its own pause.
        let fell_to = fell_to.max(used);
        if until <= now {
            entry.level = fell_to;
            entry.falling = (used < fell_to).then(|| (used, now + self.pause));
        } else {
            entry.falling = Some((fell_to, until));
        }
        entry.level
    }

    /// Whether no pause is under way: the same figures, entered later, give the same answers.
    pub fn is_at_rest(&self) -> bool {
        self.entries.values().all(|entry| entry.falling.is_none())
    }

    /// Drops the nodes that are no more.
    pub fn retain(&mut self, nodes: &BTreeSet<&NodeName>) {
        self.entries.retain(|node, _| nodes.contains(node));
    }
}
