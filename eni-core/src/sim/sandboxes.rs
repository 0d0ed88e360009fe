//! A container runtime that remembers what a test tells it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::sandbox::{Sandbox, SandboxError, Sandboxes};

/// A runtime's sandboxes, set by hand.
#[derive(Debug, Default)]
pub struct MemorySandboxes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sandboxes: BTreeMap<Arc<str>, bool>,
    error: Option<String>,
}

impl MemorySandboxes {
    /// A runtime without sandboxes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sandbox, or changes whether it runs.
    pub fn put(&self, container: impl AsRef<str>, ready: bool) {
        self.state
            .lock()
            .sandboxes
            .insert(Arc::from(container.as_ref()), ready);
    }

    /// Forgets a sandbox.
    pub fn remove(&self, container: &str) {
        self.state.lock().sandboxes.remove(container);
    }

    /// While set, every listing fails with this message.
    pub fn set_error(&self, message: Option<&str>) {
        self.state.lock().error = message.map(str::to_owned);
    }
}

#[async_trait]
impl Sandboxes for MemorySandboxes {
    async fn list(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let state = self.state.lock();
        if let Some(message) = &state.error {
            return Err(SandboxError(message.clone()));
        }
        let sandbox = |(container, ready): (&Arc<str>, &bool)| Sandbox {
            container: container.clone(),
            ready: *ready,
            pod: None,
        };
        Ok(state.sandboxes.iter().map(sandbox).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_is_never_an_empty_list() {
        let runtime = MemorySandboxes::new();
        runtime.put("b", false);
        runtime.put("a", true);
        runtime.set_error(Some("the socket is closed"));
        assert!(runtime.list().await.is_err());

        runtime.set_error(None);
        runtime.remove("b");
        let listed = runtime.list().await.unwrap();
        assert_eq!(
            listed,
            [Sandbox {
                container: "a".into(),
                ready: true,
                pod: None,
            }]
        );
    }
}
