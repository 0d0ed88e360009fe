//! Sandboxes told by their network namespaces, for nodes whose runtime cannot be asked.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, sync::Arc};

use async_trait::async_trait;

use super::{Sandbox, SandboxError, Sandboxes};
use crate::model::Netns;

type Known = dyn Fn() -> Vec<(Arc<str>, Option<Netns>)> + Send + Sync;

/// Lists those of the sandboxes it knows whose network namespace exists: something is mounted at its
/// path that has its device and inode.
///
/// It knows no other sandboxes, so it serves only to say which of the known ones are dead. One whose
/// namespace is not known cannot be told to be dead, and is listed as ready.
pub struct NamespaceSandboxes {
    known: Box<Known>,
}

impl NamespaceSandboxes {
    /// Over the sandboxes that `known` gives at each listing: the runtime's id and the namespace.
    pub fn new(known: impl Fn() -> Vec<(Arc<str>, Option<Netns>)> + Send + Sync + 'static) -> Self {
        Self {
            known: Box::new(known),
        }
    }
}

#[async_trait]
impl Sandboxes for NamespaceSandboxes {
    async fn list(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let known = (self.known)();
        // Reading a path may block: on a hung mount for long.
        let read = tokio::task::spawn_blocking(move || alive(known)).await;
        read.map_err(|error| SandboxError(format!("the look at their namespaces ended early ({error})")))?
    }
}

fn alive(known: Vec<(Arc<str>, Option<Netns>)>) -> Result<Vec<Sandbox>, SandboxError> {
    let mut alive = BTreeMap::new();
    for (container, netns) in known {
        let exists = netns.as_ref().map_or(Ok(true), exists);
        let exists = exists.map_err(|error| {
            let path = netns.map(|netns| netns.path).unwrap_or_default();
            SandboxError(format!(
                "{path} cannot be read ({error}); the agent must see the node's namespaces"
            ))
        })?;
        *alive.entry(container).or_insert(false) |= exists;
    }
    let alive = alive.into_iter().filter(|(_, exists)| *exists);
    Ok(alive
        .map(|(container, ready)| Sandbox {
            container,
            ready,
            pod: None,
        })
        .collect())
}

fn exists(netns: &Netns) -> io::Result<bool> {
    match fs::metadata(&*netns.path) {
        Ok(found) => Ok(found.dev() == netns.device && found.ino() == netns.inode),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl std::fmt::Debug for NamespaceSandboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamespaceSandboxes").finish_non_exhaustive()
    }
}
