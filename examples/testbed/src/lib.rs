//! What the tests of this workspace stand on: the gate that runs them all, a real Kubernetes API server,
//! and whole clusters.
#![deny(missing_docs)]

pub mod cluster;
pub mod command;
pub mod kubernetes;

mod ahead;
mod gate;
mod run;
mod stage;
mod stages;
