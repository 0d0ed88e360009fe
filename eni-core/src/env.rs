//! Where the core takes wall-clock time, the boot and randomness from, so that a simulation can own them.
//!
//! Monotonic time is `tokio::time::Instant`, which a paused runtime already virtualises.

use std::{fs, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// One run of the node's kernel, and how long it has run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// A random id that the kernel makes at each boot.
    pub boot: Arc<str>,
    /// Time since that boot, suspension included (Linux' CLOCK_BOOTTIME). No operator sets it.
    pub since: Duration,
}

/// The outside influences on a decision that are not in its arguments.
pub trait Environment: Send + Sync {
    /// Wall-clock time. It may jump; nothing but display and persisted deadlines may depend on it.
    fn now(&self) -> Timestamp;
    /// Which boot this is and how long ago it was.
    fn uptime(&self) -> Uptime;
    /// A random number, for generations, names and jitter. Not for secrets.
    fn random(&self) -> u64;
}

/// The operating system's clocks and a randomly seeded generator.
#[derive(Debug)]
pub struct SystemEnvironment {
    rng: Mutex<fastrand::Rng>,
    boot: Arc<str>,
    /// Where `/proc` does not tell the uptime, time is counted from here.
    begun: Instant,
}

impl Default for SystemEnvironment {
    fn default() -> Self {
        // Without /proc no boot can be recognised, and none is taken for another.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            rng: Mutex::default(),
            boot: Arc::from(boot.trim()),
            begun: Instant::now(),
        }
    }
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

    fn uptime(&self) -> Uptime {
        let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = text.split(' ').next().and_then(|seconds| seconds.parse().ok());
        let since = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Uptime {
            boot: self.boot.clone(),
            since: since.unwrap_or_else(|| self.begun.elapsed()),
        }
    }

    fn random(&self) -> u64 {
        self.rng.lock().u64(..)
    }
}
