//! A VPC with nodes and pods on one machine: the whole system in network namespaces of its own.
//!
//! [`play::Play`] is one run. The VPC itself is the crate `fabric`.

pub mod clouds;
pub mod leaks;
pub mod options;
pub mod ping;
pub mod play;
pub mod plugins;
pub mod pods;
pub mod progress;
pub mod report;
pub mod scale;
pub mod simulate;
pub mod stats;
pub mod survey;
pub mod system;
pub mod tables;
