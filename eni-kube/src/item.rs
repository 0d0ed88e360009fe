//! One object as the API server sends it, read on the way: of a list of 150,000 pods none is kept whole.

use eni_core::cluster::{Version, Versioned};
use k8s_openapi::{
    Metadata,
    api::core::v1,
    apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta},
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::kind::Kind;

/// An object that was read, or could not be.
#[derive(Clone, Debug)]
pub(crate) struct Item<T> {
    pub(crate) key: String,
    pub(crate) uid: String,
    pub(crate) version: Version,
    /// The object, or why it is none.
    pub(crate) object: Result<T, String>,
}

impl<T: Kind> Item<T> {
    pub(crate) fn new(wire: &T::Wire) -> Self {
        let identity = wire.identity();
        Self {
            key: match identity.namespace {
                Some(namespace) => format!("{namespace}/{}", identity.name),
                None => identity.name,
            },
            uid: identity.uid,
            version: Version(identity.version.into()),
            object: T::read(wire),
        }
    }
}

impl<T> Item<T> {
    /// The object with its version.
    pub(crate) fn versioned(self) -> Result<Versioned<T>, String> {
        Ok(Versioned {
            object: self.object?,
            version: self.version,
        })
    }
}

impl<'de, T: Kind> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&T::Wire::deserialize(deserializer)?))
    }
}

/// A list of objects, and the state of the cluster that it is of.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Kind")]
pub(crate) struct Listing<T> {
    pub(crate) metadata: ListMeta,
    #[serde(default = "Vec::new")]
    pub(crate) items: Vec<Item<T>>,
}

/// What tells an object from others.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    namespace: Option<String>,
    name: String,
    uid: String,
    version: String,
}

/// JSON that bears an identity.
pub(crate) trait Identified {
    fn identity(&self) -> Identity;
}

impl Identified for Value {
    fn identity(&self) -> Identity {
        let field = |name: &str| self["metadata"][name].as_str().map(str::to_owned);
        Identity {
            namespace: field("namespace"),
            name: field("name").unwrap_or_default(),
            uid: field("uid").unwrap_or_default(),
            version: field("resourceVersion").unwrap_or_default(),
        }
    }
}

impl Identified for v1::Pod {
    fn identity(&self) -> Identity {
        of_metadata(self.metadata())
    }
}

impl Identified for v1::Node {
    fn identity(&self) -> Identity {
        of_metadata(self.metadata())
    }
}

fn of_metadata(metadata: &ObjectMeta) -> Identity {
    Identity {
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        version: metadata.resource_version.clone().unwrap_or_default(),
    }
}
