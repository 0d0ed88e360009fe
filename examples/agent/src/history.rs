//! What the agent did last and how long it took, for those who look at it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_core::{
    env::Environment,
    journal::{Change, Journal, JournalError, Memory},
    model::SandboxKey,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How many calls are remembered.
const CALLS: usize = 256;

/// Buckets of latencies: from 0.5 ms, each twice the one before, to 65 s.
const BUCKETS: (f64, f64, u16) = (0.000_5, 2.0, 18);

/// A call of a plugin, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// When it ended.
    pub at: Timestamp,
    /// `ADD` or `DEL`.
    pub call: String,
    /// The interface: network, container id and name.
    pub interface: String,
    /// The pod, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// What was given or taken back, or why nothing was.
    pub outcome: String,
    /// How long it took, in milliseconds; of an ADD without the wiring, which is the plugin's.
    pub milliseconds: u64,
}

/// What is remembered of calls and commits.
pub struct History {
    environment: Arc<dyn Environment>,
    calls: Mutex<VecDeque<Call>>,
    /// ADDs that were served, from the request to the grant.
    pub(crate) adds: Histogram,
    /// DELs that succeeded.
    pub(crate) dels: Histogram,
    /// Commits of the journal that succeeded.
    pub(crate) commits: Histogram,
}

impl History {
    /// Nothing yet, dated by `environment`.
    pub fn new(environment: Arc<dyn Environment>) -> Self {
        let (start, factor, length) = BUCKETS;
        let histogram = || Histogram::new(exponential_buckets(start, factor, length));
        Self {
            environment,
            calls: Mutex::default(),
            adds: histogram(),
            dels: histogram(),
            commits: histogram(),
        }
    }

    /// The latest calls, the last one first.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().iter().rev().cloned().collect()
    }

    pub(crate) fn add(
        &self,
        key: &SandboxKey,
        pod: Option<String>,
        took: Duration,
        outcome: Result<String, String>,
    ) {
        if outcome.is_ok() {
            self.adds.observe(took.as_secs_f64());
        }
        self.remember("ADD", key, pod, took, outcome);
    }

    pub(crate) fn del(&self, key: &SandboxKey, took: Duration, outcome: Result<String, String>) {
        if outcome.is_ok() {
            self.dels.observe(took.as_secs_f64());
        }
        self.remember("DEL", key, None, took, outcome);
    }

    fn remember(
        &self,
        call: &str,
        key: &SandboxKey,
        pod: Option<String>,
        took: Duration,
        outcome: Result<String, String>,
    ) {
        let mut calls = self.calls.lock();
        if calls.len() == CALLS {
            calls.pop_front();
        }
        calls.push_back(Call {
            at: self.environment.now(),
            call: call.to_owned(),
            interface: key.to_string(),
            pod,
            outcome: outcome.unwrap_or_else(|failure| failure),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// A journal whose commits are timed.
pub(crate) struct Timed<J> {
    pub(crate) journal: J,
    pub(crate) history: Arc<History>,
}

#[async_trait]
impl<J: Journal> Journal for Timed<J> {
    async fn load(&self) -> Result<Memory, JournalError> {
        self.journal.load().await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let begun = Instant::now();
        self.journal.commit(changes).await?;
        self.history.commits.observe(begun.elapsed().as_secs_f64());
        Ok(())
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use eni_core::env::SystemEnvironment;

    use super::*;

    #[test]
    fn the_latest_calls_are_remembered_and_no_more() {
        let history = History::new(SystemEnvironment::shared());
        for number in 0..CALLS + 2 {
            let key = SandboxKey::new("net", format!("c{number}"), "eth0");
            history.del(&key, Duration::from_millis(7), Err("no".to_owned()));
        }
        let calls = history.calls();
        assert_eq!(calls.len(), CALLS);
        let last = SandboxKey::new("net", format!("c{}", CALLS + 1), "eth0").to_string();
        assert_eq!(
            (&calls[0].interface, &*calls[0].outcome, calls[0].milliseconds),
            (&last, "no", 7)
        );
        assert_eq!(
            calls[CALLS - 1].interface,
            SandboxKey::new("net", "c2", "eth0").to_string()
        );
    }
}
