//! Objects of one kind as a watch tells of them, and as we wrote them. Synchronous: no I/O.
//!
//! A watch may lag behind our own writes, and versions are opaque. So an event is not believed over what
//! we wrote until it shows one of our versions; an event that shows neither is either older or another
//! writer's, and one reading of the object decides.

use std::collections::BTreeMap;

use crate::{
    cluster::{Object, Version, Versioned, WatchEvent},
    model::NodeName,
};

/// Objects of one kind.
#[derive(Debug)]
pub(super) struct Mirror<T> {
    objects: BTreeMap<String, Versioned<T>>,
    /// Our own writes that the watch did not show yet.
    own: BTreeMap<String, Own>,
    /// Objects to be read before anything is concluded from them.
    doubts: BTreeMap<String, Doubt>,
}

/// Our writes to one object, oldest first.
#[derive(Debug, Default)]
struct Own {
    versions: Vec<Version>,
    deleted: bool,
}

/// Why an object is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// The node that it concerns.
    pub(super) node: Option<NodeName>,
    /// What the watch showed last; `None` if that was a deletion, or nothing.
    shown: Option<Version>,
    /// The watch showed it; else a write of ours was not answered.
    watched: bool,
}

/// An object that changed, or is in doubt, as it was before.
#[derive(Debug)]
pub(super) struct Change<T> {
    pub(super) key: String,
    pub(super) before: Option<T>,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            own: BTreeMap::new(),
            doubts: BTreeMap::new(),
        }
    }
}

impl<T: Object> Mirror<T> {
    pub(super) fn get(&self, key: &str) -> Option<&Versioned<T>> {
        self.objects.get(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.objects.values().map(|read| &read.object)
    }

    /// The objects of a node that are to be read first.
    pub(super) fn doubts(&self, node: &NodeName) -> Vec<(String, Doubt)> {
        let of_node = self
            .doubts
            .iter()
            .filter(|(_, doubt)| doubt.node.as_ref() == Some(node));
        of_node.map(|(key, doubt)| (key.clone(), doubt.clone())).collect()
    }

    /// Why an object is to be read first, if it is.
    pub(super) fn doubt_of(&self, key: &str) -> Option<Doubt> {
        self.doubts.get(key).cloned()
    }

    /// Takes over what the watch says.
    pub(super) fn apply(&mut self, event: WatchEvent<T>) -> Vec<Change<T>> {
        match event {
            WatchEvent::Applied(read) => self.shown(read.object.key(), read).into_iter().collect(),
            WatchEvent::Deleted(object) => self.shown_deleted(object).into_iter().collect(),
            WatchEvent::Reset(all) => {
                let all: BTreeMap<_, _> = all.into_iter().map(|read| (read.object.key(), read)).collect();
                let gone = self.objects.iter().filter(|(key, _)| !all.contains_key(*key));
                let gone: Vec<_> = gone.map(|(_, read)| read.object.clone()).collect();
                // A deletion of ours that the list shows is not told again.
                self.own.retain(|key, own| !own.deleted || all.contains_key(key));
                let mut changes: Vec<_> = gone
                    .into_iter()
                    .filter_map(|object| self.shown_deleted(object))
                    .collect();
                changes.extend(all.into_iter().filter_map(|(key, read)| self.shown(key, read)));
                changes
            }
        }
    }

    fn shown(&mut self, key: String, read: Versioned<T>) -> Option<Change<T>> {
        let Some(own) = self.own.get_mut(&key) else {
            self.clear(&key);
            let before = self.objects.insert(key.clone(), read).map(|before| before.object);
            return Some(Change { key, before });
        };
        let Some(place) = own.versions.iter().position(|version| *version == read.version) else {
            return Some(self.doubt(key, read.object.node().cloned(), Some(read.version), true));
        };
        own.versions.drain(..=place);
        if own.versions.is_empty() && !own.deleted {
            self.own.remove(&key);
            self.clear(&key);
        }
        None
    }

    fn shown_deleted(&mut self, object: T) -> Option<Change<T>> {
        let key = object.key();
        match self.own.get(&key) {
            Some(own) if !own.deleted => Some(self.doubt(key, object.node().cloned(), None, true)),
            _ => {
                self.own.remove(&key);
                self.clear(&key);
                let before = self.objects.remove(&key).map(|before| before.object);
                Some(Change { key, before })
            }
        }
    }

    /// The watch has caught up, which leaves only writes of ours that were not answered in doubt.
    fn clear(&mut self, key: &str) {
        if self.doubts.get(key).is_some_and(|doubt| doubt.watched) {
            self.doubts.remove(key);
        }
    }

    fn doubt(
        &mut self,
        key: String,
        node: Option<NodeName>,
        shown: Option<Version>,
        watched: bool,
    ) -> Change<T> {
        let doubt = Doubt { node, shown, watched };
        self.doubts.insert(key.clone(), doubt);
        let before = self.objects.get(&key).map(|read| read.object.clone());
        Change { key, before }
    }

    /// A write of ours was not answered.
    pub(super) fn unanswered(&mut self, key: String, node: &NodeName) -> Change<T> {
        self.doubt(key, Some(node.clone()), None, false)
    }

    /// Takes over what we wrote over `base`; `None` if we created it.
    pub(super) fn wrote(&mut self, base: Option<&Version>, read: Versioned<T>) -> Change<T> {
        let key = read.object.key();
        let shown = self.objects.get(&key).map(|held| &held.version);
        if shown == Some(&read.version) {
            // The watch was faster than the answer.
            let before = Some(read.object);
            return Change { key, before };
        }
        if let Some(shown) = shown.filter(|shown| Some(*shown) != base).cloned() {
            // The watch may be ahead of what we wrote already, and will not show it then.
            return self.doubt(key, read.object.node().cloned(), Some(shown), true);
        }
        let own = self.own.entry(key.clone()).or_default();
        own.versions.push(read.version.clone());
        own.deleted = false;
        let before = self.objects.insert(key.clone(), read).map(|before| before.object);
        Change { key, before }
    }

    /// Takes over that we deleted an object.
    pub(super) fn deleted(&mut self, key: &str) -> Change<T> {
        self.own.entry(key.to_owned()).or_default().deleted = true;
        let before = self.objects.remove(key).map(|before| before.object);
        Change {
            key: key.to_owned(),
            before,
        }
    }

    /// Takes over what reading an object in doubt has given.
    pub(super) fn settle(&mut self, key: &str, doubt: &Doubt, read: Option<Versioned<T>>) -> Change<T> {
        let version = read.as_ref().map(|read| read.version.clone());
        let caught_up = doubt.watched && doubt.shown == version;
        if caught_up {
            self.own.remove(key);
        } else {
            // The watch is behind this, or never told of it.
            let own = self.own.entry(key.to_owned()).or_default();
            own.deleted = version.is_none();
            own.versions
                .extend(version.filter(|version| !own.versions.contains(version)));
        }
        // What the watch showed meanwhile is another doubt.
        if self.doubts.get(key) == Some(doubt) {
            self.doubts.remove(key);
        }
        let before = match read {
            Some(read) => self.objects.insert(key.to_owned(), read),
            None => self.objects.remove(key),
        };
        Change {
            key: key.to_owned(),
            before: before.map(|before| before.object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EniRecord, Intent};

    fn object(version: &str, secondary: u32) -> Versioned<EniRecord> {
        let object = EniRecord {
            name: "a".into(),
            token: String::new(),
            node: "node-1".into(),
            instance: "ins-1".into(),
            subnet: "subnet-a".into(),
            secondary,
            intent: Intent::Attached,
            id: None,
        };
        let version = Version(version.into());
        Versioned { object, version }
    }

    fn held(mirror: &Mirror<EniRecord>) -> Option<u32> {
        mirror.get("a").map(|read| read.object.secondary)
    }

    fn doubt(mirror: &Mirror<EniRecord>) -> Option<Doubt> {
        mirror.doubts(&"node-1".into()).pop().map(|(_, doubt)| doubt)
    }

    #[test]
    fn an_older_version_of_ours_does_not_replace_a_newer_one() {
        let mut mirror = Mirror::default();
        mirror.wrote(None, object("1", 1));
        mirror.wrote(Some(&Version("1".into())), object("2", 2));
        mirror.apply(WatchEvent::Applied(object("1", 1)));
        assert_eq!((held(&mirror), doubt(&mirror)), (Some(2), None));
        mirror.apply(WatchEvent::Applied(object("2", 2)));
        mirror.apply(WatchEvent::Applied(object("3", 3)));
        assert_eq!(
            (held(&mirror), doubt(&mirror)),
            (Some(3), None),
            "the watch has caught up"
        );
    }

    #[test]
    fn a_deleted_object_does_not_come_back_by_a_late_event() {
        let mut mirror = Mirror::default();
        mirror.wrote(None, object("1", 1));
        mirror.deleted("a");
        mirror.apply(WatchEvent::Applied(object("1", 1)));
        assert_eq!((held(&mirror), doubt(&mirror)), (None, None));
        mirror.apply(WatchEvent::Deleted(object("1", 1).object));
        mirror.apply(WatchEvent::Applied(object("9", 9)));
        assert_eq!(held(&mirror), Some(9), "made anew by another");
    }

    #[test]
    fn an_event_that_shows_neither_is_read_before_it_is_believed() {
        let mut mirror = Mirror::default();
        mirror.wrote(None, object("2", 2));
        mirror.apply(WatchEvent::Applied(object("1", 1)));
        let stale = doubt(&mirror).expect("older, or another writer's");
        assert_eq!(held(&mirror), Some(2));
        mirror.settle("a", &stale, Some(object("2", 2)));
        assert_eq!(doubt(&mirror), None);

        mirror.apply(WatchEvent::Applied(object("3", 3)));
        let merged = doubt(&mirror).expect("our version was not shown");
        mirror.settle("a", &merged, Some(object("3", 3)));
        assert_eq!(held(&mirror), Some(3));
        mirror.apply(WatchEvent::Applied(object("4", 4)));
        assert_eq!(
            (held(&mirror), doubt(&mirror)),
            (Some(4), None),
            "the watch has caught up"
        );
    }

    #[test]
    fn a_watch_that_is_ahead_of_the_answer_to_a_write_is_not_forgotten() {
        let base = Version("1".into());
        let mut mirror = Mirror::default();
        mirror.apply(WatchEvent::Applied(object("1", 1)));
        mirror.apply(WatchEvent::Applied(object("2", 2)));
        mirror.wrote(Some(&base), object("2", 2));
        assert_eq!((held(&mirror), doubt(&mirror)), (Some(2), None));

        mirror.apply(WatchEvent::Applied(object("4", 4)));
        mirror.wrote(Some(&Version("2".into())), object("3", 3));
        let ahead = doubt(&mirror).expect("the fourth was shown, and the third never will be");
        mirror.settle("a", &ahead, Some(object("4", 4)));
        mirror.apply(WatchEvent::Applied(object("5", 5)));
        assert_eq!((held(&mirror), doubt(&mirror)), (Some(5), None));
    }

    #[test]
    fn what_the_watch_shows_while_an_object_is_read_stays_in_doubt() {
        let mut mirror = Mirror::default();
        mirror.wrote(None, object("2", 2));
        mirror.apply(WatchEvent::Applied(object("3", 3)));
        let first = doubt(&mirror).unwrap();
        mirror.apply(WatchEvent::Applied(object("4", 4)));
        mirror.settle("a", &first, Some(object("3", 3)));
        let second = doubt(&mirror).expect("the fourth was not read");
        mirror.settle("a", &second, Some(object("4", 4)));
        assert_eq!((held(&mirror), doubt(&mirror)), (Some(4), None));
    }

    #[test]
    fn a_list_that_lags_takes_nothing_of_ours_away() {
        let mut mirror = Mirror::default();
        mirror.wrote(None, object("1", 1));
        mirror.apply(WatchEvent::Reset(vec![]));
        assert_eq!(held(&mirror), Some(1));
        let late = doubt(&mirror).expect("not listed yet, or deleted by another");
        mirror.settle("a", &late, None);
        assert_eq!(held(&mirror), None);
    }
}
