//! The cluster: typed object stores, read-only views of pods and nodes, and events.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::model::{AddressRecord, Claim, ClaimDefaults, EniRecord, Node, NodeConfig, NodeName, Pod, PodKey};

/// An object that a cluster keeps.
pub trait Object: Clone + fmt::Debug + Send + Sync + 'static {
    /// The kind, for messages.
    const KIND: &'static str;

    /// The key within its kind: `name`, or `namespace/name`.
    fn key(&self) -> String;

    /// The node it concerns, by which an agent reads only what is its own.
    fn node(&self) -> Option<&NodeName>;
}

impl Object for NodeConfig {
    const KIND: &'static str = "NodeENIConfig";

    fn key(&self) -> String {
        self.name.to_string()
    }

    fn node(&self) -> Option<&NodeName> {
        Some(&self.name)
    }
}

impl Object for EniRecord {
    const KIND: &'static str = "VpcENI";

    fn key(&self) -> String {
        self.name.clone()
    }

    fn node(&self) -> Option<&NodeName> {
        Some(&self.node)
    }
}

impl Object for Claim {
    const KIND: &'static str = "VpcIPClaim";

    fn key(&self) -> String {
        self.key.to_string()
    }

    fn node(&self) -> Option<&NodeName> {
        self.node.as_ref()
    }
}

impl Object for AddressRecord {
    const KIND: &'static str = "VpcIP";

    fn key(&self) -> String {
        Self::name(self.ip)
    }

    fn node(&self) -> Option<&NodeName> {
        self.node.as_ref()
    }
}

impl Object for ClaimDefaults {
    const KIND: &'static str = "StaticIPConfig";

    fn key(&self) -> String {
        self.name.to_string()
    }

    fn node(&self) -> Option<&NodeName> {
        None
    }
}

impl Object for Pod {
    const KIND: &'static str = "Pod";

    fn key(&self) -> String {
        self.key.to_string()
    }

    fn node(&self) -> Option<&NodeName> {
        self.node.as_ref()
    }
}

impl Object for Node {
    const KIND: &'static str = "Node";

    fn key(&self) -> String {
        self.name.to_string()
    }

    fn node(&self) -> Option<&NodeName> {
        Some(&self.name)
    }
}

/// The state of an object when it was read. Opaque: only equality means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub Arc<str>);

/// An object with the version it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The object.
    pub object: T,
    /// The version.
    pub version: Version,
}

/// Which objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them; ipamd's view.
    All,
    /// Those that concern one node; an agent's view.
    Node(NodeName),
}

/// One step of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent<T> {
    /// The whole state: first of all, and again after the stream was interrupted.
    Reset(Vec<Versioned<T>>),
    /// An object was created or changed.
    Applied(Versioned<T>),
    /// An object was deleted, or left the scope.
    Deleted(T),
}

/// A failed cluster call, named by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The object does not exist.
    #[error("{kind} {key} does not exist")]
    NotFound {
        /// Its kind.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// It was changed, created or deleted meanwhile: read it again.
    #[error("{kind} {key} was changed by another writer; it is read again")]
    Conflict {
        /// Its kind.
        kind: &'static str,
        /// Its key.
        key: String,
    },
    /// The cluster refuses: an operator must grant the right, or the object is not valid.
    #[error("{kind} {key} was refused: {message}")]
    Refused {
        /// Its kind.
        kind: &'static str,
        /// Its key.
        key: String,
        /// The cluster's words.
        message: String,
    },
    /// No answer: the outcome of a write is unknown.
    #[error("the cluster does not answer: {message}; it is asked again")]
    Unavailable {
        /// What happened.
        message: String,
    },
}

/// The result of a cluster call.
pub type ClusterResult<T> = Result<T, ClusterError>;

/// Reads the objects of one kind.
///
/// # Contract
///
/// * `get` and `list` see every write that was acknowledged to the same process before the call.
/// * `watch` begins with one [`WatchEvent::Reset`]. It never ends and never reports an error: the
///   implementation reconnects with growing pauses and sends a new `Reset`. Steps may be merged
///   (level-triggered): the last state of every object arrives, each state in between may not.
#[async_trait]
pub trait Reader<T: Object>: Send + Sync {
    /// The object of a key.
    async fn get(&self, key: &str) -> ClusterResult<Versioned<T>>;
    /// All objects in a scope, complete or an error.
    async fn list(&self, scope: &Scope) -> ClusterResult<Vec<Versioned<T>>>;
    /// The objects in a scope, from now on.
    fn watch(&self, scope: Scope) -> BoxStream<'static, WatchEvent<T>>;
}

/// Reads and writes the objects of one kind.
///
/// # Contract
///
/// * `create` of a key that exists, and `update` of a version that is not the latest, are a
///   [`ClusterError::Conflict`] and change nothing.
/// * `update` keeps what the cluster knows of the object beyond `T`.
/// * `delete` of an object that is gone succeeds. With a version it deletes only that.
#[async_trait]
pub trait Store<T: Object>: Reader<T> {
    /// Creates an object.
    async fn create(&self, object: T) -> ClusterResult<Versioned<T>>;
    /// Replaces the object that was read at `object.version`.
    async fn update(&self, object: Versioned<T>) -> ClusterResult<Versioned<T>>;
    /// Deletes an object.
    async fn delete(&self, key: &str, version: Option<&Version>) -> ClusterResult<()>;
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A node.
    Node(NodeName),
    /// A pod.
    Pod(PodKey),
}

/// A message for the people who look at an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The object.
    pub subject: Subject,
    /// Something is wrong.
    pub warning: bool,
    /// A short constant in CamelCase, such as `ENILimit`.
    pub reason: &'static str,
    /// What happened and what to do, with the ids.
    pub message: String,
}

/// A cluster's objects. The accessors return views of one connection.
pub trait Cluster: Send + Sync {
    /// NodeENIConfig objects.
    fn node_configs(&self) -> Arc<dyn Store<NodeConfig>>;
    /// VpcENI objects.
    fn eni_records(&self) -> Arc<dyn Store<EniRecord>>;
    /// VpcIPClaim objects.
    fn claims(&self) -> Arc<dyn Store<Claim>>;
    /// VpcIP objects.
    fn address_records(&self) -> Arc<dyn Store<AddressRecord>>;
    /// StaticIPConfig objects.
    fn claim_defaults(&self) -> Arc<dyn Reader<ClaimDefaults>>;
    /// Pods.
    fn pods(&self) -> Arc<dyn Reader<Pod>>;
    /// Nodes.
    fn nodes(&self) -> Arc<dyn Reader<Node>>;
    /// Reports an event. It never blocks and may merge or drop repetitions.
    fn report(&self, event: Event);
}

/// Reads, changes and writes an object until no other writer interferes.
///
/// `change` returns whether it changed anything; if not, nothing is written. Returns the object as it
/// now is.
pub async fn modify<T: Object>(
    store: &dyn Store<T>,
    key: &str,
    mut change: impl FnMut(&mut T) -> bool + Send,
) -> ClusterResult<Versioned<T>> {
    loop {
        let mut read = store.get(key).await?;
        if !change(&mut read.object) {
            return Ok(read);
        }
        match store.update(read).await {
            Err(ClusterError::Conflict { .. }) => {}
            result => return result,
        }
    }
}
