//! The Linux kernel's side of eni-core: ENIs, policy routes and pod wiring over netlink.
//!
//! [`NetlinkNetwork`] is the [`eni_core::network::NodeNetwork`] of a Linux node. Below it, and usable
//! without it, are [`socket`] (a batched exchange with the kernel), [`namespace`] (network namespaces)
//! and [`kernel`] (the kernel's objects as values).
//!
//! # What a node looks like
//!
//! ```text
//! pod   eth0 10.0.1.7/32, default via 169.254.1.1 (permanent neighbour: the MAC of the node's end)
//!        |
//! node  eni07eaad73233          the other end; alias eni/<network>/<container>/<interface>
//!       main table              10.0.1.7 dev eni07eaad73233
//!       rule 512                to 10.0.1.7 lookup main
//!       rule 1536               from 10.0.1.7 lookup 4003
//!       table 4003              default via 10.0.1.1 dev eth1; unreachable default, of the worst metric
//!        |
//! ENI   eth1 (index 3)
//! ```
//!
//! Routes, rules and neighbours of ours carry the protocol number [`PROTOCOL`] (`ip rule show proto
//! 225`); nothing else is ever changed, but
//! rules of TKE's VPC-CNI before v3.8.0 that lead an address of ours by another table (priority 1536, tables
//! 2001 to 4000).

#![deny(missing_docs)]

mod audit;
mod earlier;
mod eni;
mod error;
mod identity;
pub mod kernel;
mod list;
pub mod namespace;
mod network;
mod node;
mod pod;
mod reaper;
mod settings;
pub mod socket;
mod sysctl;
#[cfg(feature = "test-support")]
pub mod testing;

pub use self::identity::{
    DEAD_GROUP, FROM_POD, LINK_GROUP, PROTOCOL, TABLE_BASE, TO_POD, alias, alias_owner, host_name, table_of,
};
pub use self::network::NetlinkNetwork;
pub use self::pod::{V4_ROUTER, V6_ROUTER};
pub use self::settings::Reset;
