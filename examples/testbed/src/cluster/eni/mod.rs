//! The pod network of this project in a cluster: ipamd once, an agent on every node.
//!
//! Both reach the API server as the ServiceAccounts that their manifests describe, with the rights written there
//! and no others. ipamd works on the cloud whose data plane is the cluster's own VPC.

mod accounts;
mod ipamd;
mod programs;

pub(super) use accounts::{Account, write_kubeconfig};
pub(super) use ipamd::start as start_ipamd;
pub(super) use programs::{agent, build};
