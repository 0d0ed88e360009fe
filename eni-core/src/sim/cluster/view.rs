//! One kind of a memory cluster's objects, seen through one connection.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{sync::watch, time::sleep};

use super::{
    connection::{Connection, Link},
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
        let subscription = self.table.subscribe(scope);
        let watch = Watch {
            subscription,
            interruptions: 0,
            link: self.connection.link(),
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
    link: watch::Receiver<Link>,
    connection: Arc<Connection>,
}

impl<T: Object> Watch<T> {
    async fn next(&mut self) -> WatchEvent<T> {
        loop {
            let link = *self.link.borrow_and_update();
            if link.interruptions != self.interruptions {
                self.interruptions = link.interruptions;
                self.subscription.interrupt();
            }
            if link.up
                && let Some(step) = self.subscription.next()
            {
                let delay = *self.connection.watch_delay.lock();
                if !delay.is_zero() {
                    sleep(delay).await;
                }
                return step;
            }
            tokio::select! {
                biased;
                // The sender lives in the connection; without it the watch just goes on.
                Ok(()) = self.link.changed() => {}
                () = self.subscription.changed() => {}
            }
        }
    }
}
