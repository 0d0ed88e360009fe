//! What becomes of a claim on a static address. Pure: of the claim, the pod of its name, what is known of the
//! node and the cloud, and the time.
//!
//! One step at a time: a step is carried out and written, fenced by the claim's version, before the next is
//! decided of what is then.

mod decide;
mod sight;
#[cfg(test)]
mod tests;

pub use decide::{ClaimStep, decide, open};
pub use sight::{ClaimSight, Whereabouts};
