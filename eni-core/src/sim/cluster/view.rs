//! One kind of a memory cluster's objects, seen through one connection.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::sleep_until;

use super::{
    connection::Connection,
    table::{Subscription, Table},
};
use crate::cluster::{ClusterResult, Object, Reader, Scope, Store, Version, Versioned, WatchEvent};

/// A reader and writer of one kind.
#[derive(Debug)]
pub(super) struct View<T> {
    pub(super) table: Arc<Table<T>>,
    pub(super) connection: Arc<Connection>,
}

impl<T: Object> View<T> {
    async fn call<R>(
        &self,
        action: &'static str,
        key: &str,
        execute: impl FnOnce(&Table<T>) -> ClusterResult<R>,
    ) -> ClusterResult<R> {
        let resource = format!("{} {key}", T::KIND);
        self.connection
            .call(action, resource, || execute(&self.table))
            .await
    }
}

#[async_trait]
impl<T: Object> Reader<T> for View<T> {
    async fn get(&self, key: &str) -> ClusterResult<Versioned<T>> {
        self.call("get", key, |table| table.get(key)).await
    }

    async fn list(&self, scope: &Scope) -> ClusterResult<Vec<Versioned<T>>> {
        self.call("list", "list", |table| Ok(table.list(scope))).await
    }

    fn watch(&self, scope: Scope) -> BoxStream<'static, WatchEvent<T>> {
        let subscription = self.table.subscribe(scope, self.connection.watch_delay.clone());
        self.connection.enroll(subscription.wake());
        let watch = Watch {
            subscription,
            interruptions: self.connection.link().interruptions,
            connection: self.connection.clone(),
        };
        stream::unfold(watch, |mut watch| async { Some((watch.next().await, watch)) }).boxed()
    }
}

#[async_trait]
impl<T: Object> Store<T> for View<T> {
    async fn create(&self, object: T) -> ClusterResult<Versioned<T>> {
        self.call("create", &object.key(), |table| table.create(object))
            .await
    }

    async fn update(&self, object: Versioned<T>) -> ClusterResult<Versioned<T>> {
        self.call("update", &object.object.key(), |table| table.update(object))
            .await
    }

    async fn delete(&self, key: &str, version: Option<&Version>) -> ClusterResult<()> {
        self.call("delete", key, |table| table.delete(key, version)).await
    }
}

/// A watch under way.
struct Watch<T: Object> {
    subscription: Subscription<T>,
    interruptions: u64,
    connection: Arc<Connection>,
}

impl<T: Object> Watch<T> {
    async fn next(&mut self) -> WatchEvent<T> {
        loop {
            let link = self.connection.link();
            if link.interruptions != self.interruptions {
                self.interruptions = link.interruptions;
                self.subscription.interrupt();
            }
            if link.up
                && let Some(step) = self.subscription.next()
            {
                return step;
            }
            let due = self.subscription.due().filter(|_| link.up);
            let late = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => futures::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.subscription.changed() => {}
                () = late => {}
            }
        }
    }
}
