//! A journal in memory, for tests and simulations.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Change, Hold, Journal, JournalError, Memory};
use crate::model::{Allocation, NodePool, PoolAddress, SandboxKey};

/// A journal in memory. Clones share what is remembered: a clone is the journal "opened again" by a
/// service that was restarted.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing is remembered.
    Before,
    /// Everything is remembered, but the caller gets an error.
    After,
}

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<SandboxKey, Allocation>,
    held: BTreeMap<PoolAddress, Hold>,
    pool: Option<NodePool>,
    faults: VecDeque<CommitFault>,
    latency: Duration,
}

impl MemoryJournal {
    /// A journal that remembers nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next commit fails; several faults are met in order.
    pub fn fail_next(&self, fault: CommitFault) {
        self.state.lock().faults.push_back(fault);
    }

    /// How long a commit takes; zero at first. Nothing is remembered before that.
    pub fn set_latency(&self, latency: Duration) {
        self.state.lock().latency = latency;
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn load(&self) -> Result<Memory, JournalError> {
        let state = self.state.lock();
        Ok(Memory {
            owned: state
                .owned
                .iter()
                .map(|(key, allocation)| (key.clone(), allocation.clone()))
                .collect(),
            held: state
                .held
                .iter()
                .map(|(address, hold)| (*address, hold.clone()))
                .collect(),
            pool: state.pool.clone(),
        })
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let latency = self.state.lock().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut state = self.state.lock();
        let fault = state.faults.pop_front();
        if fault != Some(CommitFault::Before) {
            changes.into_iter().for_each(|change| state.apply(change));
        }
        match fault {
            None => Ok(()),
            Some(fault) => Err(JournalError {
                journal: "in memory".to_owned(),
                message: format!("a fault was injected ({fault:?}); open the journal again"),
            }),
        }
    }
}

impl State {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Own(key, allocation) => {
                self.owned.insert(key, allocation);
            }
            Change::Disown(key) => {
                self.owned.remove(&key);
            }
            Change::Hold(address, hold) => {
                self.held.insert(address, hold);
            }
            Change::Unhold(address) => {
                self.held.remove(&address);
            }
            Change::Pool(pool) => self.pool = Some(pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish() -> Vec<Change> {
        vec![Change::Pool(NodePool {
            capacity: 7,
            ..NodePool::default()
        })]
    }

    #[tokio::test]
    async fn a_fault_strikes_before_or_after_the_commit() {
        let journal = MemoryJournal::new();
        journal.fail_next(CommitFault::Before);
        journal.fail_next(CommitFault::After);
        assert!(journal.commit(publish()).await.is_err());
        assert_eq!(journal.load().await.unwrap().pool, None);
        assert!(journal.commit(publish()).await.is_err());
        let reopened = journal.clone();
        assert_eq!(
            reopened.load().await.unwrap().pool.map(|pool| pool.capacity),
            Some(7)
        );
    }
}
