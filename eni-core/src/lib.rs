//! The backend-agnostic engine of an ENI-based Kubernetes pod network.
//!
//! A cloud's elastic network interfaces (ENIs) carry secondary addresses of the VPC; each pod gets one
//! of them. This crate holds the model, the traits that a backend implements, and every decision:
//! which address a pod gets, how many addresses a node needs, which ENI and subnet they come from, and
//! when something may be taken away. It knows no cloud, no Kubernetes client and no kernel interface.
//!
//! | want to | look at |
//! | --- | --- |
//! | talk to another cloud | [`cloud::Cloud`] |
//! | keep the objects elsewhere than in Kubernetes | [`cluster::Cluster`] |
//! | wire pods another way | [`network::NodeNetwork`] |
//! | give out addresses on a node | [`agent::NodeService`], [`allocator::PoolAllocator`] |
//! | take back what no DEL released | [`gc::NodeCollector`] |
//! | grow and shrink the nodes' pools | [`controller::PoolController`] |
//! | test without any of them | the `sim` feature: `sim::MemoryCloud` and its siblings |
#![deny(missing_docs)]

pub mod agent;
pub mod allocator;
pub mod cloud;
pub mod cluster;
pub mod controller;
pub mod env;
pub mod gc;
pub mod journal;
pub mod leadership;
pub mod model;
pub mod network;
pub mod policy;
pub mod predicate;
pub mod sandbox;

#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "sim")]
pub mod sim;
