//! Tencent Cloud for [`eni_core`].
//!
//! What is here: the signature of a request ([`tc3`]), the keys it is made with ([`Credentials`]), and
//! what the API's error codes mean to the core ([`error`]). What is not here yet: the HTTP client, and
//! with it the implementation of [`eni_core::cloud::Cloud`]; this crate cannot drive a cloud today.
#![deny(missing_docs)]

mod credentials;
pub mod error;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod tc3;

pub use credentials::Credentials;
