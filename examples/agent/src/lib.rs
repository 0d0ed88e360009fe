//! The node's agent.

mod node;
pub mod results;
pub mod server;

pub use node::{AgentConfig, AgentError, Backends, run};
