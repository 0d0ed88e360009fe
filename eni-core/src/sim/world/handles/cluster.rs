//! A process's handle of the cluster.

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use tokio::time::sleep;

use super::{Backend, Call, Handle, Trouble, at_once};
use crate::{
    cluster::{
        Cluster, ClusterError, ClusterResult, Event as Report, Object, Reader, Scope, Store, Subject,
        Version, Versioned, WatchEvent,
    },
    model::{AddressRecord, Claim, ClaimDefaults, EniRecord, Node, NodeConfig, Pod, PoolAddress},
    sim::{
        MemoryCluster,
        world::{Bug, core::World, event::Event, process::Who},
    },
};

/// A process's handle of the cluster, by a connection of its own.
pub(in crate::sim::world) struct SimCluster {
    pub(in crate::sim::world) handle: Handle,
    pub(in crate::sim::world) connection: MemoryCluster,
}

impl Cluster for SimCluster {
    fn node_configs(&self) -> Arc<dyn Store<NodeConfig>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.node_configs(),
        })
    }

    fn eni_records(&self) -> Arc<dyn Store<EniRecord>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.eni_records(),
        })
    }

    fn claims(&self) -> Arc<dyn Store<Claim>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.claims(),
        })
    }

    fn address_records(&self) -> Arc<dyn Store<AddressRecord>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.address_records(),
        })
    }

    fn claim_defaults(&self) -> Arc<dyn Reader<ClaimDefaults>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.claim_defaults(),
        })
    }

    fn pods(&self) -> Arc<dyn Reader<Pod>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.pods(),
        })
    }

    fn nodes(&self) -> Arc<dyn Reader<Node>> {
        Arc::new(View {
            handle: self.handle.clone(),
            inner: self.connection.nodes(),
        })
    }

    fn report(&self, event: Report) {
        if self.handle.process.is_cut() {
            return;
        }
        let (world, who) = (&self.handle.world, &self.handle.process.who);
        world.step(who, "report", format!("{:?}", event.subject), event.reason);
        if let (Subject::Pod(pod), "AddressLost") = (&event.subject, event.reason) {
            world.observe(&Event::Bereaved { pod });
        }
        self.connection.report(event);
    }
}

struct View<S: ?Sized> {
    handle: Handle,
    inner: Arc<S>,
}

impl<S: ?Sized + Send + Sync + 'static> View<S> {
    async fn ask<T: Object, R: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        writes: bool,
        execute: impl FnOnce(&S, &World, &Who) -> ClusterResult<R> + Send + 'static,
    ) -> ClusterResult<R> {
        let key = key.to_owned();
        let call = Call {
            backend: Backend::Cluster,
            action,
            resource: format!("{} {key}", T::KIND),
            writes,
        };
        let fail = |trouble| match trouble {
            Trouble::Conflict => ClusterError::Conflict { kind: T::KIND, key },
            Trouble::Unavailable | Trouble::Throttled => ClusterError::Unavailable {
                message: "the simulation wants it so".to_owned(),
            },
        };
        let inner = self.inner.clone();
        let run = move |world: &World, who: &Who| execute(&inner, world, who);
        self.handle.call(call, fail, run).await
    }
}

#[async_trait]
impl<T: Object, S: Reader<T> + ?Sized + 'static> Reader<T> for View<S> {
    async fn get(&self, key: &str) -> ClusterResult<Versioned<T>> {
        let wanted = key.to_owned();
        self.ask::<T, _>("get", key, false, move |inner, world, who| {
            at_once(inner.get(&wanted)).map(|read| misread(world, who, read))
        })
        .await
    }

    async fn list(&self, scope: &Scope) -> ClusterResult<Vec<Versioned<T>>> {
        let scope = scope.clone();
        self.ask::<T, _>("list", "list", false, move |inner, _, _| {
            at_once(inner.list(&scope))
        })
        .await
    }

    fn watch(&self, scope: Scope) -> BoxStream<'static, WatchEvent<T>> {
        let (handle, world) = (self.handle.clone(), &self.handle.world);
        let steps = self.inner.watch(scope);
        let told = steps.map(move |step| {
            let (world, who) = (&handle.world, &handle.process.who);
            match step {
                WatchEvent::Applied(read) => WatchEvent::Applied(misread(world, who, read)),
                WatchEvent::Reset(all) => {
                    WatchEvent::Reset(all.into_iter().map(|read| misread(world, who, read)).collect())
                }
                deleted @ WatchEvent::Deleted(_) => deleted,
            }
        });
        // A busy server takes its time for the whole state.
        let most = match world.is_calm() {
            true => 0,
            false => 10 * world.setting.way,
        };
        let late = world.dice.millis(0, most);
        let begin = async move {
            sleep(late).await;
            told
        };
        begin.flatten_stream().boxed()
    }
}

#[async_trait]
impl<T: Object> Store<T> for View<dyn Store<T>> {
    async fn create(&self, object: T) -> ClusterResult<Versioned<T>> {
        let key = describe(&object);
        self.ask::<T, _>("create", &key, true, move |inner, world, who| {
            let written = at_once(inner.create(object))?;
            learn(world, who, &written.object);
            Ok(written)
        })
        .await
    }

    async fn update(&self, object: Versioned<T>) -> ClusterResult<Versioned<T>> {
        let key = describe(&object.object);
        self.ask::<T, _>("update", &key, true, move |inner, world, who| {
            let written = at_once(inner.update(object))?;
            learn(world, who, &written.object);
            Ok(written)
        })
        .await
    }

    async fn delete(&self, key: &str, version: Option<&Version>) -> ClusterResult<()> {
        let (gone, version) = (key.to_owned(), version.cloned());
        self.ask::<T, _>("delete", key, true, move |inner, world, _| {
            at_once(inner.delete(&gone, version.as_ref()))?;
            if T::KIND == Claim::KIND {
                let mut claims = world.truth(|truth| truth.claims.clone()).into_values();
                if let Some(claim) = claims.find(|claim| claim.key.to_string() == gone) {
                    world.observe(&Event::Unclaimed { claim: &claim });
                }
            }
            world.truth(|truth| match T::KIND {
                EniRecord::KIND => drop(truth.records.remove(&gone)),
                NodeConfig::KIND => drop(truth.configs.remove(&gone.as_str().into())),
                _ => {}
            });
            Ok(())
        })
        .await
    }
}

/// The truth learns what was written.
fn learn<T: Object>(world: &World, who: &Who, written: &T) {
    let written = written as &dyn Any;
    if let Some(after) = written.downcast_ref::<NodeConfig>() {
        let before = world.truth(|truth| truth.configs.get(&after.name).cloned());
        let before = before.as_ref();
        world.observe(&Event::Configured { who, before, after });
    }
    if let Some(after) = written.downcast_ref::<Claim>() {
        let before = world.truth(|truth| truth.claims.get(&after.key).cloned());
        let before = before.as_ref();
        world.observe(&Event::Claimed { before, after });
    }
    if let Some(record) = written.downcast_ref::<EniRecord>() {
        world.truth(|truth| truth.records.insert(record.name.clone(), record.clone()));
    }
}

/// What an ipamd that looks at addresses alone would take the agent's word for.
fn misread<T: Object>(world: &World, who: &Who, mut read: Versioned<T>) -> Versioned<T> {
    if world.has(Bug::IgnoreGeneration)
        && matches!(who, Who::Ipamd(_))
        && let Some(config) = (&mut read.object as &mut dyn Any).downcast_mut::<NodeConfig>()
    {
        let now = config.pool.enis.iter().flat_map(|eni| &eni.attached);
        let now: Vec<_> = now.copied().collect();
        for entry in &mut config.agent.withdrawn {
            let same = now.iter().find(|other| other.ip == entry.ip);
            *entry = same.copied().unwrap_or(*entry);
        }
    }
    read
}

/// An object in short, for the trace.
fn describe<T: Object>(object: &T) -> String {
    let key = object.key();
    let object = object as &dyn Any;
    if let Some(config) = object.downcast_ref::<NodeConfig>() {
        let mut text = format!("{key} granted {}", config.pool.granted);
        for eni in &config.pool.enis {
            let ips = |list: &[PoolAddress]| {
                list.iter()
                    .map(|entry| entry.ip.to_string())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            text += &format!(", {}: {}", eni.id, ips(&eni.attached));
            if !eni.releasing.is_empty() {
                text += &format!(" releasing {}", ips(&eni.releasing));
            }
        }
        if !config.agent.withdrawn.is_empty() {
            let withdrawn = config.agent.withdrawn.iter().map(|entry| entry.ip.to_string());
            text += &format!(", withdrawn {}", withdrawn.collect::<Vec<_>>().join(" "));
        }
        return text;
    }
    if let Some(claim) = object.downcast_ref::<Claim>() {
        let (pod, phase, node) = (&claim.pod, claim.phase, &claim.node);
        return format!("{key} {phase:?} {} {pod} on {node:?}", claim.addresses);
    }
    match object.downcast_ref::<EniRecord>() {
        Some(record) => format!("{key} {:?} {:?}", record.intent, record.id),
        None => key,
    }
}
