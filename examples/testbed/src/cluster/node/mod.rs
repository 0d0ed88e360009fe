//! A node: kubelet, containerd and kube-proxy in namespaces and cgroups of their own, on an instance of the VPC.
//!
//! [`boundary`] takes a process into the node, [`init`] is the first one there; what they do is a [`spec`].

pub(crate) mod boundary;
pub(crate) mod init;

pub(super) mod cgroups;

mod config;
mod mounts;
mod plan;
mod spec;

pub(super) use plan::{Member, plan};
pub(super) use spec::NodeSpec;
