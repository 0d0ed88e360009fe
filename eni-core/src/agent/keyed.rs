//! One asynchronous lock per key, kept only while somebody holds it or waits for it.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

type Locks<K> = Arc<Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>>;

/// Locks by key; waiters are served in order.
#[derive(Debug)]
pub(super) struct KeyedLocks<K: Eq + Hash + Clone> {
    locks: Locks<K>,
}

/// A held lock.
#[derive(Debug)]
pub(super) struct KeyedGuard<K: Eq + Hash + Clone> {
    locks: Locks<K>,
    key: K,
    held: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash + Clone> KeyedLocks<K> {
    pub(super) fn new() -> Self {
        Self {
            locks: Locks::default(),
        }
    }

    /// Waits for the lock of a key. Dropping the future gives up the place.
    pub(super) async fn lock(&self, key: K) -> KeyedGuard<K> {
        // The guard exists before the wait, so that giving up cleans the map like letting go does.
        let mut guard = KeyedGuard {
            locks: self.locks.clone(),
            key,
            held: None,
        };
        let lock = self.locks.lock().entry(guard.key.clone()).or_default().clone();
        guard.held = Some(lock.lock_owned().await);
        guard
    }

    /// The lock of a key, if nobody holds it or waits for it.
    pub(super) fn try_lock(&self, key: K) -> Option<KeyedGuard<K>> {
        let mut locks = self.locks.lock();
        if locks.contains_key(&key) {
            return None;
        }
        let lock: Arc<tokio::sync::Mutex<()>> = Arc::default();
        let held = Arc::clone(&lock).try_lock_owned().ok();
        locks.insert(key.clone(), lock);
        drop(locks);
        Some(KeyedGuard {
            locks: self.locks.clone(),
            key,
            held,
        })
    }

    /// Whether somebody holds the lock of a key or waits for it.
    pub(super) fn is_busy(&self, key: &K) -> bool {
        self.locks.lock().contains_key(key)
    }
}

impl<K: Eq + Hash + Clone> KeyedGuard<K> {
    /// Whose lock it is.
    pub(super) fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Eq + Hash + Clone> Drop for KeyedGuard<K> {
    fn drop(&mut self) {
        let mut locks = self.locks.lock();
        self.held = None;
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_exclude_themselves_alone_and_leave_nothing_behind() {
        let locks = KeyedLocks::new();
        let first = locks.lock(1).await;
        assert!(locks.try_lock(1).is_none() && locks.is_busy(&1));
        drop(locks.try_lock(3).expect("a free lock"));
        let _other = locks.lock(2).await;
        let mut second = Box::pin(locks.lock(1));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await;
        let abandoned = Box::pin(locks.lock(1));
        drop(abandoned);
        drop(second);
        drop(_other);
        assert!(locks.locks.lock().is_empty());
    }
}
