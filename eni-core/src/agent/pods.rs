//! The node's pods, as their watch told them last.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{
    cluster::WatchEvent,
    model::{Allocation, Pod, PodKey},
};

/// The node's pods, shared by those who decide by them. Nothing is known until the watch has told the
/// whole state once.
#[derive(Debug, Default)]
pub struct NodePods {
    known: Mutex<Option<BTreeMap<PodKey, Pod>>>,
}

impl NodePods {
    /// Takes over what the watch told.
    pub fn learn(&self, event: WatchEvent<Pod>) {
        let mut known = self.known.lock();
        match event {
            WatchEvent::Reset(all) => {
                let pods = all.into_iter().map(|read| read.object);
                *known = Some(pods.map(|pod| (pod.key.clone(), pod)).collect());
            }
            // A change before the first whole state says nothing about the others.
            WatchEvent::Applied(read) => {
                if let Some(pods) = &mut *known {
                    pods.insert(read.object.key.clone(), read.object);
                }
            }
            WatchEvent::Deleted(pod) => {
                if let Some(pods) = &mut *known {
                    pods.remove(&pod.key);
                }
            }
        }
    }

    /// Every pod of the node; `None` while that is not known.
    pub fn all(&self) -> Option<BTreeMap<PodKey, Pod>> {
        self.known.lock().clone()
    }

    /// How many of these owners belong to pods that are gone or need no address any more; none while the
    /// pods are not known.
    pub(super) fn orphans<'a>(&self, owners: impl IntoIterator<Item = &'a Allocation>) -> usize {
        let known = self.known.lock();
        let Some(pods) = &*known else { return 0 };
        let orphan = |owned: &&Allocation| match (&owned.pod, &owned.pod_uid) {
            (Some(key), Some(uid)) => {
                let pod = pods.get(key).filter(|pod| pod.uid == *uid);
                !pod.is_some_and(Pod::needs_address)
            }
            _ => false,
        };
        owners.into_iter().filter(orphan).count()
    }
}
