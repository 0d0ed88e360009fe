//! What is known about a claim's surroundings when its next step is decided.

use jiff::Timestamp;

use crate::model::{NodeName, Pod};

/// Where a claim's address is, by a complete listing of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Not known, or a call about it is under way or has an unknown outcome.
    Unknown,
    /// On no ENI.
    Free,
    /// On an ENI of ours that is attached to a node.
    On(NodeName),
    /// On an ENI of ours that is attached to no node.
    Parked,
    /// Somebody else has it.
    Taken,
}

/// What is known about a claim's surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSight<'a> {
    /// The pod of the claim's name, by a complete reading; `None`: there is none.
    pub pod: Option<&'a Pod>,
    /// No wiring of the claim's owner can be left: the agent has let go of the address, or the node's instance is
    /// gone, or the address is certainly not on the node.
    pub unwired: bool,
    /// Where the address is.
    pub whereabouts: &'a Whereabouts,
    /// Wall-clock time.
    pub now: Timestamp,
}
