//! The container runtime's sandboxes.

mod namespaces;

use std::sync::Arc;

use async_trait::async_trait;

pub use namespaces::NamespaceSandboxes;

use crate::model::{PodKey, Uid};

/// A sandbox that the runtime knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's id.
    pub container: Arc<str>,
    /// It runs; one that does not has no network any more.
    pub ready: bool,
    /// The pod and its uid, where the runtime tells.
    pub pod: Option<(PodKey, Uid)>,
}

/// The runtime could not be asked, or did not answer completely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the container runtime's sandboxes cannot be listed: {0}")]
pub struct SandboxError(pub String);

/// The runtime's complete list of sandboxes.
///
/// # Contract
///
/// * The list is complete, or it is an error. An error is never "none": nothing may be reclaimed on it.
/// * A sandbox that cannot be told to be dead is listed as ready.
/// * Each sandbox is listed once.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Sandboxes: Send + Sync {
    /// Every sandbox that the runtime knows, running or not.
    async fn list(&self) -> Result<Vec<Sandbox>, SandboxError>;
}
