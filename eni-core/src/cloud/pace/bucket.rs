//! A token bucket that keeps its rate in every single second. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// One call, in the unit that a rate of one call per 1,000 s earns in a nanosecond: whole numbers make
/// every wait exact.
const TOKEN: u128 = 1_000_000_000_000;

/// Tokens for at most `rate` calls in any second.
///
/// A bucket that refills at the rate lets a full burst pass on top of it. This one takes the burst out
/// of the refill: a tenth of the rate (at least one call) may pass at once, and the refill is lower by
/// what the burst has beyond one call. So the rate, rounded up to whole calls, holds in every half-open
/// second; for 50 calls a second that is a burst of 5 and a refill of 46.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Thousandths of calls per second; never zero.
    rate: u64,
    tokens: u128,
    /// What was earned until then is in `tokens`; while it lies ahead, nothing passes.
    at: Instant,
}

impl Bucket {
    /// A full bucket for `rate` thousandths of calls per second.
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        let mut bucket = Self {
            rate: rate.max(1),
            tokens: 0,
            at: now,
        };
        bucket.tokens = bucket.burst();
        bucket
    }

    /// Thousandths of calls per second.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// A token can be taken now.
    pub(super) fn ready(&self, now: Instant) -> bool {
        now >= self.at && self.earned(now) >= TOKEN
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let ready = self.ready(now);
        if ready {
            self.refill(now);
            self.tokens -= TOKEN;
        }
        ready
    }

    /// Puts back a token that was taken and not used.
    pub(super) fn put_back(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = (self.tokens + TOKEN).min(self.burst());
    }

    /// The first instant at which the last of `calls` tokens can be taken, if they are taken as they
    /// come and the rate stays.
    pub(super) fn ready_at(&self, calls: usize, now: Instant) -> Instant {
        let missing = (calls as u128 * TOKEN).saturating_sub(self.earned(now));
        let nanos = missing.div_ceil(u128::from(self.per_nano()));
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.at.max(now) + wait
    }

    /// Changes the rate; what was earned stays, as far as the new burst holds it.
    pub(super) fn set_rate(&mut self, rate: u64, now: Instant) {
        self.refill(now);
        self.rate = rate.max(1);
        self.tokens = self.tokens.min(self.burst());
    }

    /// Empties the bucket and keeps it so until `until`, or the end of a longer pause.
    pub(super) fn pause(&mut self, until: Instant) {
        self.tokens = 0;
        self.at = self.at.max(until);
    }

    fn refill(&mut self, now: Instant) {
        self.tokens = self.earned(now);
        self.at = self.at.max(now);
    }

    fn earned(&self, now: Instant) -> u128 {
        let nanos = now.saturating_duration_since(self.at).as_nanos();
        (self.tokens + nanos * u128::from(self.per_nano())).min(self.burst())
    }

    fn burst(&self) -> u128 {
        (u128::from(self.rate) * (TOKEN / 10_000)).max(TOKEN)
    }

    /// What a nanosecond earns: the rate less the burst beyond one call.
    fn per_nano(&self) -> u64 {
        self.rate - self.rate.div_ceil(10).saturating_sub(1_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NANO: Duration = Duration::from_nanos(1);

    proptest! {
        #[test]
        fn a_bucket_stays_between_empty_and_its_burst_and_waits_exactly(
            rate in 100..200_000_u64,
            steps in prop::collection::vec((0..400_000_000_u64, 0..8_u8), 1..200),
        ) {
            let mut now = Instant::now();
            let mut bucket = Bucket::new(rate, now);
            for (nanos, step) in steps {
                now += Duration::from_nanos(nanos);
                match step {
                    0 => bucket.put_back(now),
                    1 => bucket.pause(now + Duration::from_nanos(nanos * 3)),
                    2 => bucket.set_rate(rate / 2 + nanos % rate, now),
                    _ => {
                        let at = bucket.ready_at(1, now);
                        prop_assert_eq!(bucket.ready(now), at == now);
                        if at > now {
                            prop_assert!(!bucket.ready(at - NANO));
                        }
                        now = at;
                        prop_assert!(bucket.take(now));
                    }
                }
                prop_assert!(bucket.earned(now) <= bucket.burst());
            }
        }

        #[test]
        fn the_rate_holds_in_every_second(
            calls in 1..120_u64,
            pauses in prop::collection::vec(0..900_000_000_u64, 1..60),
            wanted in 1..100_usize,
        ) {
            let mut now = Instant::now();
            let mut bucket = Bucket::new(calls * 1_000, now);
            let mut passed = Vec::new();
            for pause in pauses {
                now += Duration::from_nanos(pause);
                for _ in 0..wanted {
                    if bucket.take(now) {
                        passed.push(now);
                    }
                }
                now = bucket.ready_at(1, now);
            }
            for (n, first) in passed.iter().enumerate() {
                let second = passed[n..].iter().take_while(|at| **at - *first < Duration::from_secs(1));
                prop_assert!(second.count() as u64 <= calls);
            }
        }

        #[test]
        fn the_wait_for_many_is_that_of_taking_them_one_by_one(rate in 500..100_000_u64, calls in 1..100_usize) {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate, start);
            let expected = bucket.ready_at(calls, start);
            let mut now = start;
            for _ in 0..calls {
                now = bucket.ready_at(1, now);
                prop_assert!(bucket.take(now));
            }
            // Each wait ends on a whole nanosecond; what that earns too much may not fit the burst.
            prop_assert!(now >= expected);
            prop_assert!(now - expected <= NANO * u32::try_from(calls).unwrap());
        }
    }

    #[test]
    fn a_paused_bucket_begins_empty_when_the_pause_ends() {
        let now = Instant::now();
        let mut bucket = Bucket::new(10_000, now);
        bucket.pause(now + Duration::from_secs(2));
        assert!(!bucket.ready(now + Duration::from_secs(2)));
        assert_eq!(bucket.ready_at(1, now), now + Duration::from_millis(2_100));
        bucket.put_back(now);
        assert!(
            !bucket.ready(now + Duration::from_secs(1)),
            "not within the pause"
        );
    }
}
