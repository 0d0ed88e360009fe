//! Tencent Cloud for [`eni_core`].
//!
//! [`TencentCloud`] is the cloud: requests of the VPC and CVM API, signed ([`tc3`]) with keys from a
//! [`CredentialSource`], over kept connections, and errors in the core's words ([`error`]). What paces and
//! repeats calls is the core's `Pacer`, which stands before it.
#![deny(missing_docs)]

mod api;
mod client;
mod cloud;
mod convert;
mod credentials;
mod endpoint;
pub mod error;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod tc3;

pub use client::{ActionCounts, ApiConfig, BuildError};
pub use cloud::TencentCloud;
pub use credentials::{
    CredentialSource, Credentials, CredentialsError, RenewedCredentials, Role, StaticCredentials, WebIdentity,
};
pub use endpoint::{Endpoint, Gateway, InvalidGateway, Site};
