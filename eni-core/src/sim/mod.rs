//! Memory backends of every trait, with virtual time, limits and faults.
//!
//! They are strict where a real backend is strict, so that a mistake shows in a test rather than in a
//! data centre. Time is `tokio::time`, paused or not. Whatever is iterated is ordered: the same calls
//! give the same answers.

mod cloud;
mod cluster;
mod environment;
mod fabric;
mod fault;
mod memory_fabric;
mod network;
mod sandboxes;
pub mod scale;
pub mod world;

pub use cloud::{Chosen, Latency, MemoryCloud, MemoryCloudBuilder, UnderWay};
pub use cluster::MemoryCluster;
pub use environment::SimEnvironment;
pub use fabric::{Fabric, FabricChange};
pub use fault::{Fault, FaultHook};
pub use memory_fabric::MemoryFabric;
pub use network::MemoryNetwork;
pub use sandboxes::MemorySandboxes;
