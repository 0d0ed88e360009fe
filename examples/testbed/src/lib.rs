//! What the tests of this workspace stand on: the gate that runs them all, and a real Kubernetes API server.
#![deny(missing_docs)]

pub mod command;
pub mod kubernetes;

mod gate;
mod run;
mod stage;
mod stages;
