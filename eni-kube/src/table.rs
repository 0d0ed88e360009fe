//! The objects of one kind and scope as the API server last told of them, and who watches them. Synchronous.
//!
//! An object that cannot be read is neither gone nor what it was: its last readable state is kept. One that was
//! never readable keeps the whole state from being told, because a list without it would say that it does not
//! exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eni_core::cluster::{Object, Versioned, WatchEvent};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::item::Item;

/// A watcher that is more steps behind than this, and than there are objects, gets the whole state instead.
const MAX_STEPS: usize = 1024;

/// An object that cannot be read, for the people who can put it right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) key: String,
    pub(crate) uid: String,
    pub(crate) reason: String,
}

/// The objects of one kind and scope.
#[derive(Debug)]
pub(crate) struct Table<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    objects: BTreeMap<String, Versioned<T>>,
    /// Objects that were never readable.
    hidden: BTreeSet<String>,
    /// The whole state was read once.
    read: bool,
    watchers: BTreeMap<u64, Watcher<T>>,
    next_watcher: u64,
}

/// What one watcher has not yet been told: the last step of each object.
#[derive(Debug)]
struct Watcher<T> {
    reset: bool,
    steps: BTreeMap<String, WatchEvent<T>>,
    wake: Arc<Notify>,
}

impl<T: Object> Table<T> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                objects: BTreeMap::new(),
                hidden: BTreeSet::new(),
                read: false,
                watchers: BTreeMap::new(),
                next_watcher: 0,
            }),
        }
    }

    /// Takes over the whole state; what of it cannot be read.
    ///
    /// Watchers are told the whole state anew; or what changed in it, if there are objects in it that were never
    /// readable: an object that somebody got wrong must not stop everything else.
    pub(crate) fn reset(&self, items: Vec<Item<T>>) -> Vec<Unreadable> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut before = std::mem::take(&mut inner.objects);
        inner.hidden.clear();
        let (mut unreadable, mut changed) = (Vec::new(), Vec::new());
        for item in items {
            let (key, last) = (item.key.clone(), before.remove(&item.key));
            let version = last.as_ref().map(|last| last.version.clone());
            unreadable.extend(inner.keep(item, last));
            let now = inner.objects.get(&key);
            changed.extend(now.filter(|now| Some(&now.version) != version.as_ref()).cloned());
        }
        inner.read = true;
        let (whole, most) = (inner.whole(), inner.objects.len());
        for watcher in inner.watchers.values_mut() {
            if whole {
                watcher.restart();
                continue;
            }
            for now in &changed {
                watcher.tell(&now.object.key(), WatchEvent::Applied(now.clone()), most);
            }
            for (key, gone) in &before {
                watcher.tell(key, WatchEvent::Deleted(gone.object.clone()), most);
            }
        }
        unreadable
    }

    /// Takes over one object that was created or changed; whether it cannot be read.
    pub(crate) fn apply(&self, item: Item<T>) -> Option<Unreadable> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let key = item.key.clone();
        let last = inner.objects.remove(&key);
        let was_whole = inner.hidden.is_empty();
        inner.hidden.remove(&key);
        let unreadable = inner.keep(item, last);
        if unreadable.is_none()
            && let Some(found) = inner.objects.get(&key)
        {
            let most = inner.objects.len();
            for watcher in inner.watchers.values_mut() {
                watcher.tell(&key, WatchEvent::Applied(found.clone()), most);
            }
        }
        if !was_whole {
            inner.wake();
        }
        unreadable
    }

    /// An object is gone, or left the scope.
    pub(crate) fn remove(&self, key: &str) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        if inner.hidden.remove(key) {
            inner.wake();
        }
        let Some(before) = inner.objects.remove(key) else {
            return;
        };
        let most = inner.objects.len();
        for watcher in inner.watchers.values_mut() {
            watcher.tell(key, WatchEvent::Deleted(before.object.clone()), most);
        }
    }

    /// Adds a watcher, which begins with the whole state.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Subscription<T> {
        let wake = Arc::new(Notify::new());
        let mut inner = self.inner.lock();
        inner.next_watcher += 1;
        let id = inner.next_watcher;
        let watcher = Watcher {
            reset: true,
            steps: BTreeMap::new(),
            wake: wake.clone(),
        };
        inner.watchers.insert(id, watcher);
        Subscription {
            table: self.clone(),
            id,
            wake,
        }
    }
}

impl<T: Object> Inner<T> {
    /// Keeps an object, or its last readable state.
    fn keep(&mut self, item: Item<T>, last: Option<Versioned<T>>) -> Option<Unreadable> {
        let (key, uid) = (item.key.clone(), item.uid.clone());
        match (item.versioned(), last) {
            (Ok(found), _) => {
                self.objects.insert(key, found);
                None
            }
            (Err(reason), last) => {
                match last {
                    Some(last) => {
                        self.objects.insert(key.clone(), last);
                    }
                    None => {
                        self.hidden.insert(key.clone());
                    }
                }
                Some(Unreadable { key, uid, reason })
            }
        }
    }

    fn whole(&self) -> bool {
        self.read && self.hidden.is_empty()
    }

    fn wake(&self) {
        self.watchers
            .values()
            .for_each(|watcher| watcher.wake.notify_one());
    }
}

impl<T> Watcher<T> {
    fn tell(&mut self, key: &str, step: WatchEvent<T>, objects: usize) {
        // Before the whole state is told, each step is part of it.
        if !self.reset {
            self.steps.insert(key.to_owned(), step);
            if self.steps.len() > MAX_STEPS.max(objects) {
                self.restart();
            }
        }
        self.wake.notify_one();
    }

    fn restart(&mut self) {
        self.steps.clear();
        self.reset = true;
        self.wake.notify_one();
    }
}

/// One watcher's place at a table.
#[derive(Debug)]
pub(crate) struct Subscription<T: Object> {
    table: Arc<Table<T>>,
    id: u64,
    wake: Arc<Notify>,
}

impl<T: Object> Subscription<T> {
    /// Waits for the next step.
    pub(crate) async fn next(&self) -> WatchEvent<T> {
        loop {
            if let Some(step) = self.ready() {
                return step;
            }
            self.wake.notified().await;
        }
    }

    fn ready(&self) -> Option<WatchEvent<T>> {
        let mut inner = self.table.inner.lock();
        let inner = &mut *inner;
        let whole = inner.whole();
        let watcher = inner.watchers.get_mut(&self.id)?;
        if !watcher.reset {
            return watcher.steps.pop_first().map(|(_, step)| step);
        }
        if !whole {
            return None;
        }
        watcher.reset = false;
        Some(WatchEvent::Reset(inner.objects.values().cloned().collect()))
    }
}

impl<T: Object> Drop for Subscription<T> {
    fn drop(&mut self) {
        self.table.inner.lock().watchers.remove(&self.id);
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
