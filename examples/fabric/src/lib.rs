//! A VPC in network namespaces of this machine, for whatever wants packets to flow as in a cloud.
//!
//! [`VpcFabric`] makes a simulated cloud's changes real; [`vpc::Vpc`] is a memory cloud with it and with
//! nodes whose primary ENIs work. [`isolate`] takes a process where none of that touches the machine.
#![deny(missing_docs)]

mod data_plane;
pub mod dump;
pub mod isolate;
pub mod kernel;
pub mod netns;
pub mod nodes;
pub mod topology;
pub mod vpc;

pub use data_plane::{FabricError, VpcFabric};
