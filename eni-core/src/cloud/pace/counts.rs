//! What an operator sees of the calls to the cloud.

use std::{collections::BTreeMap, time::Duration};

use super::Lane;
use crate::cloud::Call;

/// The calls of one kind in one lane since the pacer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneCounts {
    /// Calls that were sent, repetitions included.
    pub calls: u64,
    /// Those that failed, throttled ones included.
    pub failures: u64,
    /// Those that the cloud refused because there were too many.
    pub throttled: u64,
    /// Those that were repetitions.
    pub retries: u64,
    /// Calls that were never sent, because they could not have ended before their deadline.
    pub not_started: u64,
    /// The time that calls spent waiting for their turn, whether they were sent or not.
    pub waited: Duration,
}

/// A snapshot of a [`Pacer`](super::Pacer), to be exported by a binary.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PaceCounts {
    /// By call and lane; what never occurred is missing.
    pub calls: BTreeMap<(Call, Lane), LaneCounts>,
    /// The calls per second that the cloud is believed to take, by call.
    pub rates: BTreeMap<Call, f64>,
    /// Calls that wait for their turn, by lane.
    pub queued: BTreeMap<Lane, usize>,
}

impl PaceCounts {
    /// Calls that were sent, of all lanes together, by the method's name.
    pub fn by_call(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for ((call, _), counts) in self.calls.iter().filter(|(_, counts)| counts.calls > 0) {
            *sums.entry(call.name()).or_default() += counts.calls;
        }
        sums
    }

    /// The sum over all calls and lanes.
    pub fn total(&self) -> LaneCounts {
        self.calls
            .values()
            .fold(LaneCounts::default(), |sum, one| LaneCounts {
                calls: sum.calls + one.calls,
                failures: sum.failures + one.failures,
                throttled: sum.throttled + one.throttled,
                retries: sum.retries + one.retries,
                not_started: sum.not_started + one.not_started,
                waited: sum.waited + one.waited,
            })
    }
}
