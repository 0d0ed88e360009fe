//! Garbage collection: mark, confirm with a second witness, sweep.

mod judge;
mod node;

use async_trait::async_trait;

pub use judge::{Death, Evidence, MINIMUM_AGE, PodEnd, View, judge, unlisted};
pub use node::{INTERVAL, NodeCollector};

/// What one round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// What was reclaimed, a line each, with the ids and the evidence.
    pub reclaimed: Vec<String>,
    /// What should have been and could not be, a line each, with the reason; the next round tries again.
    pub failed: Vec<String>,
    /// What is suspected and waits for its second witness.
    pub suspected: usize,
}

/// Evidence could not be gathered; nothing was reclaimed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing was reclaimed: {0}")]
pub struct NoEvidence(pub String);

/// Reclaims what nobody uses.
///
/// # Contract
///
/// * A removal needs two independent witnesses. A failed or partial listing is no evidence.
/// * Only what is marked as ours is touched.
/// * A round is bounded and holds no lock that an allocation needs. It may be dropped at any point.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Collector: Send + Sync {
    /// One round.
    async fn collect(&self) -> Result<Sweep, NoEvidence>;
}
