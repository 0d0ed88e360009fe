//! Where the core takes wall-clock time and randomness from, so that a simulation can own both.
//!
//! Monotonic time is `tokio::time::Instant`, which a paused runtime already virtualises.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

/// The outside influences on a decision that are not in its arguments.
pub trait Environment: Send + Sync {
    /// Wall-clock time. It may jump; nothing but display and persisted deadlines may depend on it.
    fn now(&self) -> Timestamp;
    /// A random number, for generations, names and jitter. Not for secrets.
    fn random(&self) -> u64;
}

/// The operating system's clock and a randomly seeded generator.
#[derive(Debug, Default)]
pub struct SystemEnvironment {
    rng: Mutex<fastrand::Rng>,
}

impl SystemEnvironment {
    /// A shared environment for a production process.
    pub fn shared() -> Arc<dyn Environment> {
        Arc::new(Self::default())
    }
}

impl Environment for SystemEnvironment {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the system clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u64 {
        self.rng.lock().u64(..)
    }
}
