//! Kubernetes for [`eni_core`].
//!
//! | want to | look at |
//! | --- | --- |
//! | reach the API server | [`connect()`] |
//! | give the core a cluster | [`KubeCluster`] |
//! | act only while no other process does | [`Election`] |
//! | mark nodes without addresses for pods | [`NodeMarks`] |
//! | define the custom resources | [`crd::install`], [`crd::definitions`] |
//! | see Kubernetes' own objects as the core does | [`pod()`], [`node()`] |
//! | answer `kube-scheduler` | [`extender`] |
#![deny(missing_docs)]

mod calls;
mod claim_request;
mod cluster;
mod connect;
pub mod crd;
mod election;
mod error;
mod events;
pub mod extender;
mod informer;
mod item;
mod kind;
mod marks;
mod node;
mod originals;
mod pod;
mod table;
mod view;
mod wire;

pub use cluster::{KubeCluster, KubeOptions};
pub use connect::{Access, ConnectError, connect};
pub use election::{Election, ElectionOptions, Leader};
pub use error::InvalidObject;
pub use marks::{NodeMarkOptions, NodeMarks};
pub use node::node;
pub use pod::pod;
