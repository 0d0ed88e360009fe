//! The objects of one kind, their versions and their watchers. Synchronous.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::by_node::ByNode;
use crate::cluster::{ClusterError, ClusterResult, Object, Scope, Version, Versioned, WatchEvent};

/// A watcher that is more steps behind than this gets the whole state instead.
const MAX_STEPS: usize = 1024;

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Table<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    objects: BTreeMap<String, Versioned<T>>,
    /// The keys of those that are on a node.
    placed: ByNode<String>,
    revision: u64,
    watchers: BTreeMap<u64, Watcher<T>>,
    /// The watchers of everything, and those of one node.
    everywhere: BTreeSet<u64>,
    on_nodes: ByNode<u64>,
}

/// What one watcher has not yet been told: the last step of each object.
#[derive(Debug)]
struct Watcher<T> {
    scope: Scope,
    reset: bool,
    steps: BTreeMap<String, WatchEvent<T>>,
    /// Every step of a watcher that is told late, each with the time from which it may know.
    late: VecDeque<(Instant, WatchEvent<T>)>,
    delay: Arc<Mutex<Duration>>,
    wake: Arc<Notify>,
}

impl<T: Object> Table<T> {
    pub(super) fn get(&self, key: &str) -> ClusterResult<Versioned<T>> {
        let inner = self.inner.lock();
        inner
            .objects
            .get(key)
            .cloned()
            .ok_or_else(|| ClusterError::NotFound {
                kind: T::KIND,
                key: key.to_owned(),
            })
    }

    pub(super) fn list(&self, scope: &Scope) -> Vec<Versioned<T>> {
        self.inner.lock().list(scope)
    }

    pub(super) fn create(&self, object: T) -> ClusterResult<Versioned<T>> {
        let mut inner = self.inner.lock();
        let key = object.key();
        if inner.objects.contains_key(&key) {
            return Err(conflict::<T>(key));
        }
        Ok(inner.put(key, object))
    }

    pub(super) fn update(&self, object: Versioned<T>) -> ClusterResult<Versioned<T>> {
        let mut inner = self.inner.lock();
        let key = object.object.key();
        if inner.objects.get(&key).map(|current| &current.version) != Some(&object.version) {
            return Err(conflict::<T>(key));
        }
        Ok(inner.put(key, object.object))
    }

    pub(super) fn delete(&self, key: &str, version: Option<&Version>) -> ClusterResult<()> {
        let mut inner = self.inner.lock();
        let current = inner.objects.get(key).map(|current| &current.version);
        if current.is_some() && version.is_some() && current != version {
            return Err(conflict::<T>(key.to_owned()));
        }
        inner.remove(key);
        Ok(())
    }

    /// Creates or replaces, whatever the version.
    pub(super) fn put(&self, object: T) -> Versioned<T> {
        self.inner.lock().put(object.key(), object)
    }

    /// Deletes, whatever the version.
    pub(super) fn remove(&self, key: &str) {
        self.inner.lock().remove(key);
    }

    /// Adds a watcher, which begins with a reset and is told `delay` late.
    pub(super) fn subscribe(self: &Arc<Self>, scope: Scope, delay: Arc<Mutex<Duration>>) -> Subscription<T> {
        let wake = Arc::new(Notify::new());
        let watcher = Watcher {
            scope,
            reset: true,
            steps: BTreeMap::new(),
            late: VecDeque::new(),
            delay,
            wake: wake.clone(),
        };
        let mut inner = self.inner.lock();
        inner.revision += 1;
        let id = inner.revision;
        match &watcher.scope {
            Scope::All => {
                inner.everywhere.insert(id);
            }
            Scope::Node(node) => inner.on_nodes.insert(node, id),
        }
        inner.watchers.insert(id, watcher);
        Subscription {
            table: self.clone(),
            id,
            wake,
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            placed: ByNode::default(),
            revision: 0,
            watchers: BTreeMap::new(),
            everywhere: BTreeSet::new(),
            on_nodes: ByNode::default(),
        };
        Self {
            inner: Mutex::new(inner),
        }
    }
}

impl<T: Object> Inner<T> {
    fn list(&self, scope: &Scope) -> Vec<Versioned<T>> {
        match scope {
            Scope::All => self.objects.values().cloned().collect(),
            Scope::Node(node) => {
                let found = self.placed.on(node).filter_map(|key| self.objects.get(key));
                found.cloned().collect()
            }
        }
    }

    fn put(&mut self, key: String, object: T) -> Versioned<T> {
        self.revision += 1;
        let after = Versioned {
            object,
            version: Version(self.revision.to_string().into()),
        };
        let before = self.objects.insert(key.clone(), after.clone());
        let before = before.map(|before| before.object);
        if let Some(node) = before.as_ref().and_then(T::node) {
            self.placed.remove(node, &key);
        }
        if let Some(node) = after.object.node() {
            self.placed.insert(node, key.clone());
        }
        for id in self.concerned(before.as_ref(), Some(&after.object)) {
            let Some(watcher) = self.watchers.get_mut(&id) else {
                continue;
            };
            if covers(&watcher.scope, &after.object) {
                watcher.tell(&key, WatchEvent::Applied(after.clone()));
            } else if let Some(before) = &before {
                watcher.tell(&key, WatchEvent::Deleted(before.clone()));
            }
        }
        after
    }

    fn remove(&mut self, key: &str) {
        let Some(Versioned { object: before, .. }) = self.objects.remove(key) else {
            return;
        };
        if let Some(node) = before.node() {
            self.placed.remove(node, key);
        }
        self.revision += 1;
        for id in self.concerned(Some(&before), None) {
            if let Some(watcher) = self.watchers.get_mut(&id) {
                watcher.tell(key, WatchEvent::Deleted(before.clone()));
            }
        }
    }

    /// The watchers whose scope covers an object as it was or as it is, in the order in which they came.
    fn concerned(&self, before: Option<&T>, after: Option<&T>) -> BTreeSet<u64> {
        let nodes = [before, after].into_iter().flatten().filter_map(T::node);
        let on_nodes = nodes.flat_map(|node| self.on_nodes.on(node));
        self.everywhere.iter().chain(on_nodes).copied().collect()
    }

    fn leave(&mut self, id: u64) {
        self.everywhere.remove(&id);
        if let Some(Watcher {
            scope: Scope::Node(node),
            ..
        }) = self.watchers.remove(&id)
        {
            self.on_nodes.remove(&node, &id);
        }
    }
}

impl<T> Watcher<T> {
    fn tell(&mut self, key: &str, step: WatchEvent<T>) {
        let delay = *self.delay.lock();
        if self.reset {
            // The whole state is told anyway.
        } else if delay.is_zero() && self.late.is_empty() {
            self.steps.insert(key.to_owned(), step);
        } else {
            let due = Instant::now() + delay;
            let due = self.late.back().map_or(due, |(last, _)| due.max(*last));
            self.late.push_back((due, step));
        }
        if self.steps.len().max(self.late.len()) > MAX_STEPS {
            self.restart();
        }
        self.wake.notify_one();
    }

    fn restart(&mut self) {
        self.steps.clear();
        self.late.clear();
        self.reset = true;
    }
}

/// One watcher's place at a table.
#[derive(Debug)]
pub(super) struct Subscription<T: Object> {
    table: Arc<Table<T>>,
    id: u64,
    wake: Arc<Notify>,
}

impl<T: Object> Subscription<T> {
    /// The next step, if there is one.
    pub(super) fn next(&self) -> Option<WatchEvent<T>> {
        let mut inner = self.table.inner.lock();
        let watcher = inner.watchers.get_mut(&self.id)?;
        if !watcher.reset {
            let merged = watcher.steps.pop_first().map(|(_, step)| step);
            let due = |(due, _): &&(Instant, _)| *due <= Instant::now();
            return merged.or_else(|| {
                watcher.late.front().filter(due)?;
                watcher.late.pop_front().map(|(_, step)| step)
            });
        }
        watcher.reset = false;
        let scope = watcher.scope.clone();
        Some(WatchEvent::Reset(inner.list(&scope)))
    }

    /// Forgets every step that was not taken: the next one is a reset.
    pub(super) fn interrupt(&self) {
        if let Some(watcher) = self.table.inner.lock().watchers.get_mut(&self.id) {
            watcher.restart();
        }
    }

    /// When the next step that is told late may be known.
    pub(super) fn due(&self) -> Option<Instant> {
        let inner = self.table.inner.lock();
        let (due, _) = inner.watchers.get(&self.id)?.late.front()?;
        Some(*due)
    }

    /// What wakes the watcher.
    pub(super) fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }

    /// Until there may be a next step.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl<T: Object> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.table.inner.lock().leave(self.id);
    }
}

fn covers<T: Object>(scope: &Scope, object: &T) -> bool {
    match scope {
        Scope::All => true,
        Scope::Node(node) => object.node() == Some(node),
    }
}

fn conflict<T: Object>(key: String) -> ClusterError {
    ClusterError::Conflict { kind: T::KIND, key }
}
