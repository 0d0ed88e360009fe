//! Which warm range a node has: its own, or the cluster's.

use crate::model::WarmRange;

/// A node's own warm range makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the NodeENIConfig asks for {} to {} idle addresses; the first must not exceed the second; the cluster's \
     range applies until it is corrected",
    .0.min, .0.max
)]
pub struct InvalidWarmRange(pub WarmRange);

/// The range that applies to a node with a range of its `own` or without.
///
/// # Errors
///
/// The node's own range is senseless; then the cluster's applies.
pub fn warm_range(own: Option<WarmRange>, cluster: WarmRange) -> Result<WarmRange, InvalidWarmRange> {
    match own {
        Some(own) => WarmRange::new(own.min, own.max).ok_or(InvalidWarmRange(own)),
        None => Ok(cluster),
    }
}
