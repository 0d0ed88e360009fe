//! The one source of chance of a simulation.

use std::time::Duration;

use parking_lot::Mutex;

/// A seeded generator. Whoever draws first gets the first number, so that the order of events, which the
/// seed decides too, decides everything else.
#[derive(Debug)]
pub(super) struct Dice {
    rng: Mutex<fastrand::Rng>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds shall have nothing in common.
        let seed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// True with this probability.
    pub(super) fn chance(&self, probability: f64) -> bool {
        probability > 0.0 && self.rng.lock().f64() < probability
    }

    /// From `low` to `high`, both included.
    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        self.rng.lock().u64(low..=high.max(low))
    }

    /// From `low` to `high` milliseconds.
    pub(super) fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of these, unless there are none.
    pub(super) fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        let last = from.len().checked_sub(1)?;
        from.get(self.between(0, last as u64) as usize)
    }

    /// Nothing for some seeds, for the others up to `high`: what a seed leaves out lets the rest go further.
    pub(super) fn rate(&self, high: f64) -> f64 {
        let mut rng = self.rng.lock();
        let (on, share) = (rng.bool(), rng.f64());
        if on { high * share } else { 0.0 }
    }
}
