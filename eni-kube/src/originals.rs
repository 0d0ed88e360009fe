//! The whole JSON of objects that were read lately, so that an update of what was just read needs no second
//! reading. Bounded; what is not here is read again.

use std::collections::{BTreeMap, VecDeque};

use eni_core::cluster::Version;
use parking_lot::Mutex;
use serde_json::Value;

/// Objects kept: more than are under way at once.
const CAPACITY: usize = 256;

/// Objects by their key, each at one version.
#[derive(Debug, Default)]
pub(crate) struct Originals {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<String, (Version, Value)>,
    /// Keys in the order in which they came.
    order: VecDeque<String>,
}

impl Originals {
    /// Keeps an object.
    pub(crate) fn keep(&self, key: &str, version: Version, object: Value) {
        let mut inner = self.inner.lock();
        if inner.objects.insert(key.to_owned(), (version, object)).is_none() {
            inner.order.push_back(key.to_owned());
        }
        while inner.order.len() > CAPACITY {
            if let Some(oldest) = inner.order.pop_front() {
                inner.objects.remove(&oldest);
            }
        }
    }

    /// The object at exactly this version.
    pub(crate) fn at(&self, key: &str, version: &Version) -> Option<Value> {
        let inner = self.inner.lock();
        let (kept, object) = inner.objects.get(key)?;
        (kept == version).then(|| object.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_must_match_and_the_oldest_key_goes() {
        let originals = Originals::default();
        let version = |text: &str| Version(text.into());
        originals.keep("a", version("1"), Value::from(1));
        originals.keep("a", version("2"), Value::from(2));
        assert_eq!(originals.at("a", &version("1")), None);
        assert_eq!(originals.at("a", &version("2")), Some(Value::from(2)));
        for number in 0..CAPACITY {
            originals.keep(&number.to_string(), version("1"), Value::Null);
        }
        assert_eq!(originals.at("a", &version("2")), None);
        assert_eq!(originals.at("0", &version("1")), Some(Value::Null));
    }
}
