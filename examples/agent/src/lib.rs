//! The node's agent.

pub mod devices;
mod node;
pub mod proto;
pub mod results;
pub mod runtime;
pub mod server;
mod socket;

pub use node::{AgentConfig, AgentError, Backends, run};
