//! ipamd, the one process of a cluster that talks to the cloud: assembled here, wired by the program
//! `tke-eni-ipamd`. What is decided about addresses is in `eni_core::controller`.
//!
//! | file | what |
//! | --- | --- |
//! | [`options`] | the flags, and what contradicts |
//! | [`program`] | from start to end: the kinds, the election, a controller per leadership |
//! | [`status`] | how this replica stands, for those who look |
//! | [`tencent`], [`memory_cloud`] | the clouds |
//! | [`http`] | `/healthz` and `/metrics` |
#![deny(missing_docs)]

pub mod http;
pub mod memory_cloud;
mod metrics;
pub mod options;
pub mod program;
pub mod status;
pub mod tencent;
mod unsupported;
