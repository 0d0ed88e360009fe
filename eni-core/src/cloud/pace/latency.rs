//! How long a call takes these days. Pure: time is an argument.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How many calls are remembered.
const SAMPLES: usize = 5;
/// How long a call is remembered: then it is worth a try again.
const MEMORY: Duration = Duration::from_secs(60);

/// The median of the last five calls of the last minute; zero before the first.
///
/// A median, because one slow call in a thousand must not keep the others from starting. It is at most
/// twice the call time-out, and it forgets: when no call was started for a minute, one is tried again.
#[derive(Debug, Default)]
pub(super) struct Latency {
    samples: VecDeque<(Instant, Duration)>,
}

impl Latency {
    /// A call was answered after `took`.
    pub(super) fn answered(&mut self, took: Duration, now: Instant) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, took));
    }

    /// A call was given up after `waited`: it takes longer than that, twice as long for all we know.
    pub(super) fn given_up(&mut self, waited: Duration, now: Instant) {
        self.answered(waited * 2, now);
    }

    /// How long a call that starts now is expected to take.
    pub(super) fn expected(&self, now: Instant) -> Duration {
        let known = self.samples.iter().filter(|(at, _)| now - *at < MEMORY);
        let mut known: Vec<_> = known.map(|(_, took)| *took).collect();
        known.sort_unstable();
        known.get(known.len() / 2).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_call_is_an_outlier_and_three_are_the_rule() {
        let now = Instant::now();
        let mut latency = Latency::default();
        assert_eq!(latency.expected(now), Duration::ZERO);
        for _ in 0..9 {
            latency.answered(Duration::from_millis(200), now);
        }
        latency.given_up(Duration::from_secs(10), now);
        assert_eq!(latency.expected(now), Duration::from_millis(200));
        latency.given_up(Duration::from_secs(10), now);
        latency.given_up(Duration::from_secs(10), now);
        assert_eq!(latency.expected(now), Duration::from_secs(20));
    }

    #[test]
    fn a_slow_cloud_is_forgotten_after_a_minute() {
        let now = Instant::now();
        let mut latency = Latency::default();
        latency.answered(Duration::from_secs(12), now);
        assert_eq!(
            latency.expected(now + Duration::from_secs(59)),
            Duration::from_secs(12)
        );
        assert_eq!(latency.expected(now + MEMORY), Duration::ZERO);
    }
}
