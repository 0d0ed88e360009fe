//! What is known of the cluster and which node is next, shared by whoever learns something.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    PoolConfig,
    index::Index,
    inventory::Urgent,
    schedule::{Census, End, Schedule, Turn},
};
use crate::model::NodeName;

/// The index of the cluster and the schedule of its nodes.
///
/// The index is locked before the others, and none across an await.
pub(super) struct Desk {
    index: Mutex<Index>,
    schedule: Mutex<Schedule>,
    /// The nodes that are being worked on, and whether somebody waits there.
    urgent: Mutex<BTreeMap<NodeName, watch::Sender<bool>>>,
    /// How often `change` was called.
    changes: AtomicU64,
    /// A node was marked.
    marked: Notify,
}

impl Desk {
    pub(super) fn new(config: &PoolConfig) -> Self {
        Self {
            index: Mutex::new(Index::new(config.claims.is_some())),
            schedule: Mutex::new(Schedule::new(config.backoff, PoolConfig::MAXIMUM_BACKOFF)),
            urgent: Mutex::default(),
            changes: AtomicU64::new(0),
            marked: Notify::new(),
        }
    }

    /// What is known of the cluster, to be read.
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock()
    }

    /// Changes what is known of the cluster; the nodes that `change` returns are due.
    pub(super) fn change<I>(&self, change: impl FnOnce(&mut Index) -> I)
    where
        I: IntoIterator<Item = NodeName>,
    {
        let mut index = self.index.lock();
        let nodes = change(&mut index);
        let (mut schedule, urgent) = (self.schedule.lock(), self.urgent.lock());
        self.changes.fetch_add(1, Ordering::Relaxed);
        for node in nodes {
            let need = index.need(&node);
            if let Some(urgent) = urgent.get(&node) {
                urgent.send_replace(need.waiting > 0);
            }
            schedule.mark(node, need);
        }
        self.marked.notify_one();
    }

    /// Tells one state of what is known from another: while it is the same, nothing has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The neediest node that is due; with `urgent`, only one where somebody waits.
    pub(super) fn next(&self, urgent: bool) -> Option<Turn> {
        let index = self.index.lock();
        self.schedule
            .lock()
            .next(Instant::now(), urgent, |node| index.need(node))
    }

    /// Whether somebody waits on a node, as it changes until the end of its turn.
    pub(super) fn urgent(&self, node: &NodeName) -> Urgent {
        let index = self.index.lock();
        let (urgent, receiver) = watch::channel(index.need(node).waiting > 0);
        self.urgent.lock().insert(node.clone(), urgent);
        receiver
    }

    /// A turn has ended.
    pub(super) fn finish(&self, turn: Turn, end: End) {
        let need = self.index.lock().need(&turn.node);
        self.urgent.lock().remove(&turn.node);
        self.schedule.lock().finish(turn, need, end, Instant::now());
    }

    /// Until a node was marked, or a pause has ended.
    pub(super) async fn stirred(&self) {
        let retry = self.schedule.lock().next_retry();
        let retry = async {
            match retry {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.marked.notified() => {}
            () = retry => {}
        }
    }

    /// How many nodes stand where.
    pub(super) fn census(&self) -> Census {
        self.schedule.lock().census()
    }
}
