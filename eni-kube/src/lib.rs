//! Kubernetes for [`eni_core`].
//!
//! What is here: Kubernetes' own Pod and Node objects as the core's values ([`pod()`], [`node()`]). What is not
//! here yet: the client, and with it the implementation of [`eni_core::cluster::Cluster`]; the custom
//! resources; the device plugin; the scheduler extender.
#![deny(missing_docs)]

mod error;
mod node;
mod pod;

pub use error::InvalidObject;
pub use node::node;
pub use pod::pod;
