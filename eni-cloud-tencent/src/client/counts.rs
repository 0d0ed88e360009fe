//! What an operator sees of the requests, by action: a listing of many pages is one call of the core and many
//! requests.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use super::Failure;
use crate::error::Class;

/// The requests of one action since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionCounts {
    /// Requests that were sent.
    pub requests: u64,
    /// Those that failed, throttled ones included.
    pub failures: u64,
    /// Those that were refused because there were too many.
    pub throttled: u64,
    /// The time until the answers, in all.
    pub took: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<&'static str, ActionCounts>>);

impl Counts {
    pub(super) fn note<T>(&self, action: &'static str, took: Duration, result: &Result<T, Failure>) {
        let mut counts = self.0.lock();
        let counts = counts.entry(action).or_default();
        counts.requests += 1;
        counts.took += took;
        if let Err(failure) = result {
            counts.failures += 1;
            counts.throttled += u64::from(failure.class() == Some(Class::Throttled));
        }
    }

    pub(super) fn snapshot(&self) -> BTreeMap<&'static str, ActionCounts> {
        self.0.lock().clone()
    }
}
