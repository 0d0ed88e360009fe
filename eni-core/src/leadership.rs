//! Whether this process may still act for the cluster.

use std::time::Duration;

/// The right to act, which ends by itself unless it is renewed.
///
/// # Contract
///
/// * At no moment do two processes of a cluster hold it.
/// * The answer is by a clock that does not jump, and errs on the short side: it takes the lease's end as
///   seen by those who would take it over.
/// * Losing it is final for a value: whoever leads again does so with a new one.
pub trait Leadership: Send + Sync {
    /// How much longer it is held for certain; `None` once it is lost.
    fn remaining(&self) -> Option<Duration>;
}

/// The leadership of a process that has no rival, as in a test or in a cluster with one replica that is
/// stopped before it is replaced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrivalled;

impl Leadership for Unrivalled {
    fn remaining(&self) -> Option<Duration> {
        Some(Duration::MAX)
    }
}
