//! One kind of a cluster's objects: reads and writes go to the API server, watches share one connection a scope.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use eni_core::{
    cluster::{ClusterError, ClusterResult, Reader, Scope, Store, Version, Versioned, WatchEvent},
    model::NodeName,
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::core::params::{DeleteParams, ListParams, Preconditions};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    calls::{CallError, PATIENCE},
    informer::{Backing, Informer},
    item::{Item, Listing},
    kind::{Kind, Written, parts, requests, selectors},
    originals::Originals,
    wire::merge::merge,
};

/// A reader, and of our own kinds a writer.
pub(crate) struct View<T: Kind> {
    backing: Backing,
    informers: Mutex<BTreeMap<Option<NodeName>, Weak<Informer<T>>>>,
    originals: Originals,
}

impl<T: Kind> View<T> {
    pub(crate) fn new(backing: Backing) -> Self {
        Self {
            backing,
            informers: Mutex::default(),
            originals: Originals::default(),
        }
    }

    /// The one informer of a scope.
    fn informer(&self, scope: Scope) -> Arc<Informer<T>> {
        let node = match scope {
            Scope::All => None,
            Scope::Node(node) => Some(node),
        };
        let mut informers = self.informers.lock();
        if let Some(informer) = informers.get(&node).and_then(Weak::upgrade) {
            return informer;
        }
        informers.retain(|_, informer| informer.strong_count() > 0);
        let informer = Arc::new(Informer::start(self.backing.clone(), node.clone()));
        informers.insert(node, Arc::downgrade(&informer));
        informer
    }

    async fn fetch(&self, key: &str) -> ClusterResult<T::Wire> {
        let (namespace, name) = parts(key);
        let read = self.backing.calls.get(&requests::<T>(namespace), name).await;
        read.map_err(|error| failure::<T>(key, error))
    }
}

#[async_trait]
impl<T: Kind> Reader<T> for View<T> {
    async fn get(&self, key: &str) -> ClusterResult<Versioned<T>> {
        let wire = self.fetch(key).await?;
        let read = readable(Item::<T>::new(&wire))?;
        if let Some(whole) = T::original(wire) {
            self.originals.keep(key, read.version.clone(), whole);
        }
        Ok(read)
    }

    async fn list(&self, scope: &Scope) -> ClusterResult<Vec<Versioned<T>>> {
        let node = match scope {
            Scope::All => None,
            Scope::Node(node) => Some(node),
        };
        let (fields, labels) = selectors::<T>(node);
        // Without a version it is read from the store: a list from the server's cache may lack what we wrote.
        let parameters = ListParams {
            field_selector: fields,
            label_selector: labels,
            ..ListParams::default()
        };
        let request = requests::<T>(None).list(&parameters);
        let listed: Result<Listing<T>, _> = self.backing.calls.send(request, PATIENCE * 6).await;
        let listed = listed.map_err(|error| failure::<T>("(all)", error))?;
        listed.items.into_iter().map(readable).collect()
    }

    fn watch(&self, scope: Scope) -> BoxStream<'static, WatchEvent<T>> {
        let informer = self.informer(scope);
        let subscription = informer.subscribe();
        stream::unfold((informer, subscription), |(informer, subscription)| async {
            let step = subscription.next().await;
            Some((step, (informer, subscription)))
        })
        .boxed()
    }
}

#[async_trait]
impl<T: Written> Store<T> for View<T> {
    async fn create(&self, object: T) -> ClusterResult<Versioned<T>> {
        let key = object.key();
        let request = requests::<T>(parts(&key).0);
        let written = self.backing.calls.create(&request, &object.fresh()).await;
        self.written(&key, written)
    }

    async fn update(&self, object: Versioned<T>) -> ClusterResult<Versioned<T>> {
        let Versioned { object, version } = object;
        let key = object.key();
        let mut whole = match self.originals.at(&key, &version) {
            Some(whole) => whole,
            None => self.fetch(&key).await?,
        };
        let known = readable(Item::<T>::new(&whole))?;
        if known.version != version {
            return Err(conflict::<T>(&key));
        }
        let mut before = known.object.write();
        // Our labels are put right with every write: without them an agent does not see its objects.
        if let Some(metadata) = before["metadata"].as_object_mut() {
            metadata.remove("labels");
        }
        merge(&mut whole, &before, &object.write());
        let (namespace, name) = parts(&key);
        let written = self
            .backing
            .calls
            .replace(&requests::<T>(namespace), name, &whole)
            .await;
        self.written(&key, written)
    }

    async fn delete(&self, key: &str, version: Option<&Version>) -> ClusterResult<()> {
        let version = match T::FINALIZER {
            Some(finalizer) => match self.unmarked(key, version, finalizer).await {
                Err(ClusterError::NotFound { .. }) => return Ok(()),
                version => Some(version?),
            },
            None => version.cloned(),
        };
        let how = DeleteParams {
            preconditions: version.map(|version| Preconditions {
                resource_version: Some(version.0.to_string()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        let (namespace, name) = parts(key);
        match self
            .backing
            .calls
            .delete(&requests::<T>(namespace), name, &how)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(failure::<T>(key, error)),
        }
    }
}

impl<T: Written> View<T> {
    /// Takes our finalizer off an object, with which one goes that somebody deleted; the version that it has then.
    async fn unmarked(
        &self,
        key: &str,
        version: Option<&Version>,
        finalizer: &str,
    ) -> ClusterResult<Version> {
        let known = version.and_then(|version| self.originals.at(key, version));
        let mut whole = match known {
            Some(whole) => whole,
            None => self.fetch(key).await?,
        };
        let now = Item::<T>::new(&whole).version;
        if version.is_some_and(|version| *version != now) {
            return Err(conflict::<T>(key));
        }
        let finalizers = whole
            .pointer_mut("/metadata/finalizers")
            .and_then(Value::as_array_mut);
        let Some(finalizers) = finalizers.filter(|marks| marks.iter().any(|mark| mark == finalizer)) else {
            return Ok(now);
        };
        finalizers.retain(|mark| mark != finalizer);
        let (namespace, name) = parts(key);
        let calls = &self.backing.calls;
        let written: Result<Value, _> = calls.replace(&requests::<T>(namespace), name, &whole).await;
        let written = written.map_err(|error| failure::<T>(key, error))?;
        Ok(Item::<T>::new(&written).version)
    }

    /// What the API server made of a write.
    fn written(&self, key: &str, written: Result<Value, CallError>) -> ClusterResult<Versioned<T>> {
        let whole = written.map_err(|error| failure::<T>(key, error))?;
        let read = readable(Item::<T>::new(&whole))?;
        self.originals.keep(key, read.version.clone(), whole);
        Ok(read)
    }
}

impl<T: Kind> std::fmt::Debug for View<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("kind", &T::KIND)
            .finish_non_exhaustive()
    }
}

fn readable<T: Kind>(item: Item<T>) -> ClusterResult<Versioned<T>> {
    let key = item.key.clone();
    item.versioned().map_err(|reason| ClusterError::Refused {
        kind: T::KIND,
        key,
        message: format!("it cannot be read ({reason}); put it right, or delete it if it is not needed"),
    })
}

fn conflict<T: Kind>(key: &str) -> ClusterError {
    ClusterError::Conflict {
        kind: T::KIND,
        key: key.to_owned(),
    }
}

/// A failed call, by what the caller can do.
fn failure<T: Kind>(key: &str, error: CallError) -> ClusterError {
    let (kind, key) = (T::KIND, key.to_owned());
    let message = match &error {
        CallError::Status(status) => status.message.clone(),
        CallError::NoAnswer(message) => message.clone(),
    };
    match error.code() {
        _ if error.is_transient() => ClusterError::Unavailable { message },
        Some(404) => ClusterError::NotFound { kind, key },
        Some(409) => ClusterError::Conflict { kind, key },
        _ => ClusterError::Refused { kind, key, message },
    }
}
