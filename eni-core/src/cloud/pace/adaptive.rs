//! The rate that a cloud takes of one call: found by trying, and by giving way. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;

/// How often the rate may climb a step.
const STEP: Duration = Duration::from_secs(1);
/// From the floor to the ceiling in this many steps: a minute of calls that are taken.
const STEPS: u64 = 60;
/// How long the rate stays below the one that was refused, before a higher one is tried: one refusal
/// in a minute is less than 1 % from two calls a second on.
const HOLD: Duration = Duration::from_secs(60);
/// The pause after a refusal that names none: clouds count by the second, and the rest of this one is
/// spent.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a cloud is believed; a wrong header must not stop the cluster for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A bucket with additive increase and multiplicative decrease.
///
/// A refusal empties it for the pause that the cloud asks for (one second if it asks for none, five
/// minutes at most) and lowers the rate to 70 %, never below the floor. Then it climbs by a sixtieth of
/// the ceiling per second in which calls are taken, up to 90 % of the rate that was refused; beyond
/// that, up to the ceiling, only when the refusal is a minute old.
#[derive(Debug)]
pub(super) struct Adaptive {
    pub(super) bucket: Bucket,
    floor: u64,
    ceiling: u64,
    /// When the cloud last refused, and 90 % of the rate then.
    refused: Option<(Instant, u64)>,
    stepped: Instant,
}

impl Adaptive {
    /// Begins at the ceiling; both in thousandths of calls per second.
    pub(super) fn new(floor: u64, ceiling: u64, now: Instant) -> Self {
        Self {
            bucket: Bucket::new(ceiling, now),
            floor: floor.min(ceiling),
            ceiling,
            refused: None,
            stepped: now,
        }
    }

    /// The cloud took a call.
    pub(super) fn taken(&mut self, now: Instant) {
        let limit = match self.refused {
            Some((at, below)) if now - at < HOLD => below,
            _ => self.ceiling,
        };
        let rate = self.bucket.rate();
        if rate < limit && now - self.stepped >= STEP {
            let step = (self.ceiling / STEPS).max(1);
            self.bucket.set_rate((rate + step).min(limit), now);
            self.stepped = now;
        }
    }

    /// The cloud refused a call that was sent at `sent`; whether that lowered the rate.
    ///
    /// Calls that were under way when the rate was lowered tell nothing about the lower one.
    pub(super) fn refused(&mut self, sent: Instant, retry_after: Option<Duration>, now: Instant) -> bool {
        let pause = retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
        self.bucket.pause(now + pause);
        let news = self.refused.is_none_or(|(at, _)| sent > at);
        if news {
            let rate = self.bucket.rate();
            self.refused = Some((now, (rate * 9 / 10).max(self.floor)));
            self.bucket.set_rate((rate * 7 / 10).max(self.floor), now);
            self.stepped = now + pause;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_refusal_lowers_the_rate_once_for_all_calls_that_were_under_way() {
        let now = Instant::now();
        let mut rate = Adaptive::new(1_000, 50_000, now);
        assert!(rate.refused(now, None, after(now, 1)));
        assert!(!rate.refused(now, None, after(now, 1)));
        assert_eq!(rate.bucket.rate(), 35_000);
        assert!(rate.refused(after(now, 3), None, after(now, 4)));
        assert_eq!(rate.bucket.rate(), 24_500);
    }

    #[test]
    fn the_rate_climbs_below_the_refused_one_and_beyond_it_only_after_a_minute() {
        let now = Instant::now();
        let mut rate = Adaptive::new(1_000, 60_000, now);
        assert!(rate.refused(now, None, now));
        let mut seen = Vec::new();
        for second in 1..=70 {
            rate.taken(after(now, second));
            seen.push(rate.bucket.rate());
        }
        assert_eq!(
            seen[1], 43_000,
            "42 a second, and a step in the second after the pause"
        );
        assert_eq!(seen[30], 54_000, "90 % of what was refused");
        assert_eq!(seen[58], 54_000);
        assert_eq!(seen[69], 60_000);
    }

    #[test]
    fn the_rate_never_falls_below_its_floor() {
        let now = Instant::now();
        let mut rate = Adaptive::new(1_000, 50_000, now);
        for second in 1..60 {
            rate.refused(after(now, second), None, after(now, second));
        }
        assert_eq!(rate.bucket.rate(), 1_000);
    }

    #[test]
    fn a_pause_that_the_cloud_asks_for_is_kept_and_an_absurd_one_is_cut() {
        let now = Instant::now();
        let mut rate = Adaptive::new(1_000, 10_000, now);
        rate.refused(now, Some(Duration::from_secs(7)), now);
        assert!(!rate.bucket.ready(after(now, 7)));
        assert!(rate.bucket.ready(after(now, 8)));
        rate.refused(after(now, 9), Some(Duration::from_secs(86_400)), after(now, 9));
        assert!(!rate.bucket.ready(after(now, 300)));
        assert!(rate.bucket.ready(after(now, 310)));
    }
}
