//! The lists of sandboxes keep their contract; files stand in for network namespaces.
#![cfg(feature = "contract")]

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, sync::Arc};

use async_trait::async_trait;
use eni_core::{
    contract::sandboxes::SandboxesHarness,
    model::Netns,
    sandbox::{NamespaceSandboxes, Sandbox, Sandboxes},
    sim::MemorySandboxes,
};
use parking_lot::Mutex;
use tempfile::TempDir;

struct InMemory(Arc<MemorySandboxes>);

#[async_trait]
impl SandboxesHarness for InMemory {
    fn sandboxes(&self) -> Arc<dyn Sandboxes> {
        self.0.clone()
    }

    async fn start(&self, name: &str) -> Arc<str> {
        self.0.put(name, true);
        name.into()
    }

    async fn stop(&self, container: &str) -> bool {
        self.0.put(container, false);
        true
    }

    async fn remove(&self, container: &str) {
        self.0.remove(container);
    }

    async fn break_down(&self) {
        self.0.set_error(Some("the socket is closed"));
    }
}

mod memory_sandboxes {
    eni_core::sandboxes_contract!(async || super::InMemory(std::sync::Arc::default()));
}

type Known = Arc<Mutex<BTreeMap<Arc<str>, Option<Netns>>>>;

/// Every sandbox that was ever started stays known, as an owner whose DEL was lost does.
struct Namespaces {
    directory: TempDir,
    known: Known,
    sandboxes: Arc<NamespaceSandboxes>,
}

impl Namespaces {
    fn new() -> Self {
        let known = Known::default();
        let listed = known.clone();
        let sandboxes = NamespaceSandboxes::new(move || {
            let known = listed.lock();
            known
                .iter()
                .map(|(container, netns)| (container.clone(), netns.clone()))
                .collect()
        });
        Self {
            directory: TempDir::new().unwrap(),
            known,
            sandboxes: Arc::new(sandboxes),
        }
    }

    fn file(&self, name: &str) -> Netns {
        let path = self.directory.path().join(name);
        fs::write(&path, name).unwrap();
        let found = fs::metadata(&path).unwrap();
        Netns {
            path: path.to_str().unwrap().into(),
            device: found.dev(),
            inode: found.ino(),
        }
    }

    async fn list(&self) -> Vec<Sandbox> {
        self.sandboxes.list().await.unwrap()
    }
}

#[async_trait]
impl SandboxesHarness for Namespaces {
    fn sandboxes(&self) -> Arc<dyn Sandboxes> {
        self.sandboxes.clone()
    }

    async fn start(&self, name: &str) -> Arc<str> {
        let netns = self.file(name);
        self.known.lock().insert(name.into(), Some(netns));
        name.into()
    }

    async fn stop(&self, _container: &str) -> bool {
        false
    }

    async fn remove(&self, container: &str) {
        fs::remove_file(self.directory.path().join(container)).unwrap();
    }

    async fn break_down(&self) {
        // A path that leads through a file cannot be read; that is not an absence.
        let mut known = self.known.lock();
        let netns = known.values_mut().next().unwrap().as_mut().unwrap();
        netns.path = format!("{}/net", netns.path).into();
    }
}

mod namespaces {
    eni_core::sandboxes_contract!(async || super::Namespaces::new());
}

#[tokio::test]
async fn another_namespace_at_the_path_is_not_the_sandboxs() {
    let harness = Namespaces::new();
    harness.start("one").await;
    let other = harness.file("other");
    fs::rename(&*other.path, harness.directory.path().join("one")).unwrap();
    assert_eq!(harness.list().await, []);
}

#[tokio::test]
async fn a_sandbox_whose_namespace_nobody_told_cannot_be_told_to_be_dead() {
    let harness = Namespaces::new();
    harness.known.lock().insert("one".into(), None);
    let ready = Sandbox {
        container: "one".into(),
        ready: true,
        pod: None,
    };
    assert_eq!(harness.list().await, [ready]);
}
