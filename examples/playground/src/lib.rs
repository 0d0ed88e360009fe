//! A VPC with nodes and pods on one machine: the whole system in network namespaces of its own.
//!
//! [`play::Play`] is one run; [`vpc::Vpc`] is the cloud with its data plane in the kernel, usable alone.

pub mod dump;
pub mod fabric;
pub mod isolate;
pub mod kernel;
pub mod leaks;
pub mod netns;
pub mod nodes;
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
pub mod topology;
pub mod vpc;
