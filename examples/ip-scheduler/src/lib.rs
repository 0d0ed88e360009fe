//! The parts of `tke-eni-ip-scheduler`, an extender of `kube-scheduler`: it keeps pods away from nodes that have no
//! address for them, and binds them itself, so that two pods are never promised one address.
//!
//! What is decided is in [`eni_core::predicate`], the protocol in [`eni_kube::extender`].
#![deny(missing_docs)]

mod binding;
mod figures;
pub mod ledger;
pub mod options;
pub mod program;
pub mod server;
