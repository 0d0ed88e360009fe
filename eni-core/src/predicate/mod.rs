//! Whether a pod's network fits a node.
//!
//! [`Rooms`] is the answer of the shared pool: what a node was granted, without what is bound to it and what is being
//! bound.

mod rooms;

pub use rooms::{Room, Rooms};

use crate::model::{NodeName, Pod};

/// The reason where a node has no address left that it may get: its subnets have none, or others were granted them.
pub const INSUFFICIENT: &str = "InsufficientIPOrENI";

/// The reason where a node's ENIs carry no more.
pub const LIMIT: &str = "ENILimitExceed";

/// The best score of a node, the most that the extender protocol knows (`MaxExtenderPriority`).
pub const BEST: u8 = 10;

/// Why a node does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// A short constant that operators know, such as `InsufficientIPOrENI`.
    pub reason: &'static str,
    /// The ids behind it, alike on nodes that are alike.
    pub detail: String,
    /// Whether evicting pods from the node could help.
    pub preemption_helps: bool,
}

/// Judges nodes for a pod.
///
/// # Contract
///
/// Synchronous, from memory only: the scheduler waits. It reserves nothing: a decision binds only when
/// the pod is bound.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Predicate: Send + Sync {
    /// Whether the pod's network fits the node.
    fn filter(&self, pod: &Pod, node: &NodeName) -> Result<(), Misfit>;

    /// How well it fits, 0 to 10 (the extender protocol's range); of two nodes the higher is better.
    fn score(&self, pod: &Pod, node: &NodeName) -> u8;
}
