//! What the service tells its operators: whether it is ready, and what it has done so far.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{AddError, DelError, Grant, NodeService, WiringGuard};
use crate::{
    allocator::Allocator,
    allocator::PoolCounts,
    journal::JournalError,
    model::{Allocation, Family},
};

/// Why an ADD of a new sandbox would not be served now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// Nothing can be made durable.
    #[error("{0}; nothing is given out until a commit succeeds again")]
    Journal(JournalError),
    /// The journal was lost, and the owners of before are not known yet.
    #[error("the node's journal is empty and its owners are still being looked for")]
    Recovering,
    /// ipamd published no ENI whose device is on the node.
    #[error("no ENI is in service on this node; see the events of the node for what ipamd lacks")]
    NoEni,
    /// All that the instance can carry is in use. That is how a full node looks, and no fault: a runtime
    /// that is told of it on STATUS calls the whole node unready.
    #[error("all {0} addresses that this instance can carry are in use")]
    Full(usize),
}

impl NotReady {
    /// Whether something is broken, rather than used up.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Full(_))
    }
}

/// What the service has done since it was opened, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// ADDs that ended, by outcome: `ok`, or what failed, such as `timeout`.
    pub adds: BTreeMap<&'static str, u64>,
    /// DELs that ended, by outcome: `released`, `nothing`, or what failed.
    pub dels: BTreeMap<&'static str, u64>,
    /// Sandboxes that wait for an address.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub longest_wait: Duration,
    /// How many addresses are in which state.
    pub pool: PoolCounts,
    /// Owners that were garbage.
    pub reclaimed: u64,
    /// Things removed from the kernel that served nobody.
    pub leftovers: u64,
    /// Things put back into the kernel that others took away.
    pub repairs: u64,
    /// Addresses that were offered back and taken back for waiters.
    pub taken_back: u64,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Tally {
    adds: BTreeMap<&'static str, u64>,
    dels: BTreeMap<&'static str, u64>,
    pub(super) reclaimed: u64,
    pub(super) leftovers: u64,
    pub(super) repairs: u64,
    pub(super) taken_back: u64,
}

impl Tally {
    pub(super) fn add(&mut self, result: &Result<(Grant, WiringGuard), AddError>) {
        let outcome = match result {
            Ok(_) => "ok",
            Err(AddError::Timeout { .. }) => "timeout",
            Err(AddError::Cancelled { .. }) => "cancelled",
            Err(AddError::Busy { .. }) => "busy",
            Err(AddError::Superseded { .. }) => "superseded",
            Err(AddError::TooLate { .. }) => "too_late",
            Err(AddError::OutOfService { .. }) => "out_of_service",
            Err(AddError::Journal(_)) => "journal",
        };
        *self.adds.entry(outcome).or_default() += 1;
    }

    pub(super) fn del(&mut self, result: &Result<Option<Allocation>, DelError>) {
        let outcome = match result {
            Ok(Some(_)) => "released",
            Ok(None) => "nothing",
            Err(DelError::Busy { .. }) => "busy",
            Err(DelError::Journal(_)) => "journal",
        };
        *self.dels.entry(outcome).or_default() += 1;
    }
}

impl NodeService {
    /// Whether an ADD of a new sandbox would be served, or why not.
    pub fn status(&self) -> Result<(), NotReady> {
        let mut state = self.state.lock();
        state.pool.expire(Instant::now());
        if let Some(error) = &state.journal {
            return Err(NotReady::Journal(error.clone()));
        }
        if state.recovering {
            return Err(NotReady::Recovering);
        }
        // ENIs come with the first pod whose claim needs one.
        if state.published.by_claim {
            return Ok(());
        }
        if state.enis.is_empty() {
            return Err(NotReady::NoEni);
        }
        let counts = state.pool.counts();
        // Of two families each takes as many as the instance can carry pods.
        let families = self.config.families.each();
        let full = |family: &Family| state.pool.at_limit(*family);
        if counts.free == 0 && counts.cooling == 0 && families.iter().any(full) {
            return Err(NotReady::Full(counts.total()));
        }
        Ok(())
    }

    /// What was done so far, and how it stands.
    pub fn counters(&self) -> Counters {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.pool.expire(now);
        let oldest = state.queue.oldest();
        Counters {
            adds: state.tally.adds.clone(),
            dels: state.tally.dels.clone(),
            waiting: state.queue.waiting(|key| state.pool.owned(key).is_some()),
            longest_wait: oldest.map_or(Duration::ZERO, |since| now - since),
            pool: state.pool.counts(),
            reclaimed: state.tally.reclaimed,
            leftovers: state.tally.leftovers,
            repairs: state.tally.repairs,
            taken_back: state.tally.taken_back,
        }
    }

    /// Counts what was put back into the kernel.
    pub(super) fn count_repairs(&self, repairs: usize) {
        self.state.lock().tally.repairs += repairs as u64;
    }
}
