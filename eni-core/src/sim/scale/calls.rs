//! The calls that reach the cloud: how many of which, and how many in the busiest second.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::report::{Calls, is_reading};
use crate::sim::{Fault, MemoryCloud};

const SECOND: Duration = Duration::from_secs(1);

/// Counts the calls since it was read last.
#[derive(Default)]
pub(super) struct Meter {
    counts: BTreeMap<&'static str, u64>,
    /// The calls of the last second.
    recent: VecDeque<Instant>,
    peak: usize,
    began: Option<Instant>,
    /// The last call that was no reading, and how many calls there were until then.
    worked: Option<(Instant, u64)>,
}

impl Meter {
    /// Counts every call that reaches `cloud`.
    pub(super) fn before(cloud: &MemoryCloud) -> Arc<Mutex<Self>> {
        let meter: Arc<Mutex<Self>> = Arc::default();
        let counting = meter.clone();
        cloud.set_fault(Arc::new(move |action, _| {
            counting.lock().count(action, Instant::now());
            Fault::None
        }));
        meter
    }

    /// What was called since the last time.
    pub(super) fn take(&mut self) -> Calls {
        let taken = std::mem::take(self);
        let (worked_seconds, worked_calls) = match taken.began.zip(taken.worked) {
            Some((began, (last, calls))) => ((last - began).as_secs_f64(), calls),
            None => (0.0, 0),
        };
        Calls {
            by_action: taken.counts,
            peak: taken.peak,
            worked_seconds,
            worked_calls,
        }
    }

    fn count(&mut self, action: &'static str, now: Instant) {
        *self.counts.entry(action).or_default() += 1;
        self.began.get_or_insert(now);
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| *at + SECOND <= now) {
            self.recent.pop_front();
        }
        self.peak = self.peak.max(self.recent.len());
        if !is_reading(action) {
            self.worked = Some((now, self.counts.values().sum()));
        }
    }
}
