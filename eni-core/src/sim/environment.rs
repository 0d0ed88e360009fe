//! A clock and a random source that a test owns.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::env::{Environment, Uptime};

/// 2026-01-01T00:00:00Z, in seconds since 1970: when every simulation begins.
const EPOCH: i64 = 1_767_225_600;

/// A seeded environment: its wall clock begins at a fixed epoch and follows tokio's clock.
#[derive(Debug)]
pub struct SimEnvironment {
    start: Instant,
    jump: Mutex<SignedDuration>,
    rng: Mutex<fastrand::Rng>,
    /// How often it was booted, and when last.
    boot: Mutex<(u64, Instant)>,
}

impl SimEnvironment {
    /// An environment whose random numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            start: Instant::now(),
            jump: Mutex::new(SignedDuration::ZERO),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            boot: Mutex::new((0, Instant::now())),
        }
    }

    /// The node boots anew.
    pub fn reboot(&self) {
        let mut boot = self.boot.lock();
        *boot = (boot.0 + 1, Instant::now());
    }

    /// Moves the wall clock, forwards or backwards; tokio's clock is left alone.
    pub fn jump(&self, by: SignedDuration) {
        let mut jump = self.jump.lock();
        *jump = jump.saturating_add(by);
    }
}

impl Environment for SimEnvironment {
    fn now(&self) -> Timestamp {
        let elapsed = SignedDuration::try_from(self.start.elapsed()).unwrap_or(SignedDuration::MAX);
        let since_epoch = SignedDuration::from_secs(EPOCH)
            .saturating_add(elapsed)
            .saturating_add(*self.jump.lock());
        Timestamp::from_duration(since_epoch).unwrap_or(if since_epoch.is_negative() {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }

    fn uptime(&self) -> Uptime {
        let (count, at) = *self.boot.lock();
        Uptime {
            boot: format!("boot-{count}").into(),
            since: at.elapsed(),
        }
    }

    fn random(&self) -> u64 {
        self.rng.lock().u64(..)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_follows_virtual_time_and_jumps() {
        let environment = SimEnvironment::new(1);
        assert_eq!(environment.now().to_string(), "2026-01-01T00:00:00Z");
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(environment.now().to_string(), "2026-01-01T00:01:30Z");
        environment.jump(SignedDuration::from_secs(-3600));
        assert_eq!(environment.now().to_string(), "2025-12-31T23:01:30Z");
    }

    #[tokio::test]
    async fn a_seed_fixes_the_random_numbers() {
        let draw = |seed| {
            let environment = SimEnvironment::new(seed);
            [environment.random(), environment.random()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
