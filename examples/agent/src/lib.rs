//! The node's agent: assembled here, wired by the program `tke-eni-agent`. What is decided about addresses is in
//! `eni_core::agent`.
//!
//! | file | what |
//! | --- | --- |
//! | [`options`] | the flags |
//! | [`program`] | from start to end |
//! | [`Agent`] | the service, its dialogue with ipamd, its collector, its device plugin and its server, side by side |
//! | [`server`] | what the CNI plugins call |
//! | [`devices`] | what kubelet is told |
//! | [`runtime`], [`results`] | what the container runtime knows |
//! | [`install`] | what the container runtime is given: the plugins and their configuration |
#![deny(missing_docs)]

pub mod devices;
mod file;
pub mod install;
mod instance;
mod node;
pub mod options;
mod primary;
pub mod program;
pub mod proto;
pub mod results;
pub mod runtime;
pub mod server;
mod socket;
mod unsupported;

pub use instance::RememberError;
pub use node::{Agent, AgentConfig, AgentError, Backends, run};
pub use primary::PrimaryError;
