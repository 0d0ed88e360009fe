//! The CNI plugins `tke-route-eni` (puts a pod on the wire) and `tke-eni-ipamc` (asks the node's agent for
//! its addresses).
//!
//! Each runs once per call of the container runtime, so both start fast, log nothing unless they fail,
//! and keep no state: what they must remember is the agent's or the kernel's.

mod agent;
mod command;
mod conf;
mod delegate;
mod error;
mod invocation;
mod ipamc;
mod result;
mod route_eni;
mod rpc;
mod skeleton;
mod version;
mod wiring;

pub use skeleton::{tke_eni_ipamc, tke_route_eni};
