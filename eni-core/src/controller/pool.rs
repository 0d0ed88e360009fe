//! The non-static pool of every node: watches, wakes, and one worker per node that needs something.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep_until},
};

use super::{
    EniView, NodeView, Plan, PoolConfig, Remains, act::Actor, claims::Claims, depart, duties::Duties,
    index::Index, inventory::Inventory, plan,
};
use crate::{
    cloud::{Cloud, CloudResult},
    cluster::{Cluster, Scope, Version},
    env::Environment,
    model::{EniRecord, Node, NodeConfig, NodeName},
};

/// Keeps `pods + min <= bound <= pods + max` on every node.
///
/// One per cluster. It reads the cluster by watches, the cloud by two shared loops, and works on the
/// neediest nodes first, on each of them one plan at a time.
pub struct PoolController {
    actor: Arc<Actor>,
    duties: Duties,
    claims: Mutex<Claims>,
}

/// A node that was worked on, and whether everything worked.
type Outcome = (NodeName, bool);

impl PoolController {
    /// A controller of `cluster`'s nodes on `cloud`.
    pub fn new(
        cloud: Arc<dyn Cloud>,
        cluster: Arc<dyn Cluster>,
        environment: Arc<dyn Environment>,
        config: PoolConfig,
    ) -> Self {
        let inventory = Arc::new(Inventory::new(cloud.clone(), &config));
        let actor = Arc::new(Actor {
            cluster,
            inventory,
            environment,
            index: Arc::default(),
            config,
        });
        Self {
            duties: Duties::new(cloud, actor.clone()),
            claims: Mutex::default(),
            actor,
        }
    }

    /// Runs until it is dropped. Nothing is ordered before the cloud was read whole once.
    pub async fn run(self) {
        let (actor, config) = (&self.actor, &self.actor.config);
        while let Err(error) = actor.inventory.audit().await {
            tracing::warn!(%error, "the cloud's ENIs cannot be read yet");
            tokio::time::sleep(config.backoff).await;
        }
        let mut nodes = actor.cluster.nodes().watch(Scope::All);
        let mut pods = actor.cluster.pods().watch(Scope::All);
        let mut configs = actor.cluster.node_configs().watch(Scope::All);
        let mut records = actor.cluster.eni_records().watch(Scope::All);
        let mut poll = interval(config.poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut audit = interval_at(Instant::now() + config.audit_interval, config.audit_interval);
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut schedule = Schedule::new(config);
        let mut work: FuturesUnordered<BoxFuture<'_, Outcome>> = FuturesUnordered::new();
        let (mark, mut marked) = mpsc::unbounded_channel();
        let mut duties = pin!(self.duties.run(mark));
        // Until every watch has told its whole state once, a plan would see too little.
        let mut told = BTreeSet::new();
        loop {
            let ready = told.len() == 4;
            while ready && work.len() < config.concurrency {
                let Some(name) = schedule.next(&actor.index.lock()) else {
                    break;
                };
                work.push(self.reconcile(name).boxed());
            }
            // With every worker busy, the next thing to wait for is one of them.
            let retry = match work.len() < config.concurrency {
                true => schedule.next_retry(),
                false => Instant::now() + PoolConfig::MAXIMUM_BACKOFF,
            };
            let touched = tokio::select! {
                biased;
                Some((name, worked)) = work.next() => { schedule.finish(name, worked); Vec::new() }
                Some(event) = nodes.next() => { told.insert(0); actor.index.lock().apply_node(event) }
                Some(event) = records.next() => { told.insert(1); actor.index.lock().apply_record(event) }
                Some(event) = configs.next() => { told.insert(2); actor.index.lock().apply_config(event) }
                Some(event) = pods.next() => { told.insert(3); actor.index.lock().apply_pod(event) }
                _ = poll.tick() => self.poll().await,
                _ = audit.tick() => self.audit().await,
                Some(name) = marked.recv() => vec![name],
                () = sleep_until(retry) => Vec::new(),
                // Begun once there is something to judge from; it never ends.
                () = &mut duties, if ready => Vec::new(),
            };
            touched.into_iter().for_each(|name| schedule.mark(name));
        }
    }

    async fn poll(&self) -> Vec<NodeName> {
        match self.actor.inventory.poll().await {
            Ok(changed) => {
                let index = self.actor.index.lock();
                changed.iter().filter_map(|record| index.owner(record)).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "orders under way could not be read");
                Vec::new()
            }
        }
    }

    async fn audit(&self) -> Vec<NodeName> {
        match self.actor.inventory.audit().await {
            Ok(()) => self.actor.index.lock().owners(),
            Err(error) => {
                tracing::warn!(%error, "the audit could not read all ENIs; nothing is concluded");
                Vec::new()
            }
        }
    }

    /// One round for one node; whether everything worked.
    async fn reconcile(&self, name: NodeName) -> Outcome {
        let worked = match self.decide(&name).await {
            Ok(None) => true,
            Ok(Some((node, version, plan))) => {
                self.claims.lock().note(&name, &plan.actions);
                for notice in &plan.notices {
                    self.actor.cluster.report(notice.event(&name));
                }
                let worked = self.actor.act(&node, version, plan.actions).await;
                self.claims.lock().settle(&name);
                worked && !plan.starved
            }
            Err(error) => {
                tracing::warn!(node = %name, %error, "the node cannot be planned yet");
                false
            }
        };
        (name, worked)
    }

    /// What to do about a node; `None` if there is nothing to plan. Nothing is awaited after the view was
    /// taken, so that no other plan comes between this one and its claims.
    async fn decide(&self, name: &NodeName) -> CloudResult<Option<(Node, Option<Version>, Plan)>> {
        let node = self.actor.index.lock().node(name).cloned();
        let lives = |node: &Node| self.duties.instances.gone(&node.instance).is_empty();
        let Some(node) = node.filter(lives) else {
            return Ok(self
                .remains(name)
                .map(|(node, version, remains)| (node, version, depart(&remains))));
        };
        let (Some(instance), Some(zone)) = (&node.instance, &node.zone) else {
            tracing::debug!(node = %name, "the node has no instance or zone yet");
            return Ok(None);
        };
        let limits = self.actor.inventory.limits(instance).await?;
        let mut subnets = self.actor.inventory.subnets(zone).await?;
        let (config, demand) = {
            let (index, claims) = (self.actor.index.lock(), self.claims.lock());
            for subnet in &mut subnets {
                let taken = index.reserved(&subnet.id) + claims.on(&subnet.id);
                subnet.free = subnet.free.saturating_sub(taken);
            }
            (index.config(name).cloned(), index.demand(name))
        };
        let enis = self.enis(name);
        let version = config.as_ref().map(|read| read.version.clone());
        let view = NodeView {
            gone: self
                .duties
                .instances
                .gone(enis.iter().map(|(record, _)| &record.instance)),
            granted: self.duties.grants.of(name),
            node: node.clone(),
            config: config.map(|read| read.object),
            demand,
            enis,
            limits,
            subnets,
            warm: self.actor.config.warm,
        };
        let plan = plan(&view, &mut || self.actor.environment.random());
        Ok(Some((node, version, plan)))
    }

    /// What is left of a node that has no node object or no instance, if something is.
    fn remains(&self, name: &NodeName) -> Option<(Node, Option<Version>, Remains)> {
        let config = self.actor.index.lock().config(name).cloned();
        let enis = self.enis(name);
        let (version, config) = config.map(|read| (read.version, read.object)).unzip();
        let specs = config.iter().map(|config: &NodeConfig| &config.spec.instance);
        let instances = specs.chain(enis.iter().map(|(record, _)| &record.instance));
        let gone = self.duties.instances.gone(instances);
        let instance = gone.first()?.clone();
        let node = Node {
            name: name.clone(),
            uid: config
                .as_ref()
                .map_or_else(|| "".into(), |config| config.spec.node_uid.clone()),
            instance: Some(instance),
            zone: config.as_ref().map(|config| config.spec.zone.clone()),
            max_pods: None,
        };
        Some((node, version, Remains { config, enis, gone }))
    }

    /// Our records of a node with what is known of their ENIs.
    fn enis(&self, name: &NodeName) -> Vec<(EniRecord, EniView)> {
        let records = self.actor.index.lock().records(name).into_iter();
        let view = |record: &EniRecord| self.actor.inventory.view(record.id.as_ref(), &record.name);
        records
            .map(|read| (view(&read.object), read.object))
            .map(|(view, record)| (record, view))
            .collect()
    }
}

impl std::fmt::Debug for PoolController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolController")
            .field("config", &self.actor.config)
            .finish_non_exhaustive()
    }
}

/// Which nodes are to be worked on, and when.
struct Schedule {
    dirty: BTreeSet<NodeName>,
    busy: BTreeSet<NodeName>,
    retries: BTreeMap<NodeName, (Instant, Duration)>,
    first_backoff: Duration,
}

impl Schedule {
    fn new(config: &PoolConfig) -> Self {
        Self {
            dirty: BTreeSet::new(),
            busy: BTreeSet::new(),
            retries: BTreeMap::new(),
            first_backoff: config.backoff,
        }
    }

    fn mark(&mut self, name: NodeName) {
        self.dirty.insert(name);
    }

    /// The neediest node that is due and not being worked on.
    fn next(&mut self, index: &Index) -> Option<NodeName> {
        let now = Instant::now();
        let due: Vec<_> = self
            .retries
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(name, _)| name.clone())
            .collect();
        self.dirty.extend(due);
        let waits = |name: &&NodeName| {
            !self.busy.contains(*name) && self.retries.get(*name).is_none_or(|(at, _)| *at <= now)
        };
        let name = self
            .dirty
            .iter()
            .filter(waits)
            .max_by_key(|name| index.deficit(name))?
            .clone();
        self.dirty.remove(&name);
        self.busy.insert(name.clone());
        Some(name)
    }

    fn finish(&mut self, name: NodeName, worked: bool) {
        self.busy.remove(&name);
        if worked {
            self.retries.remove(&name);
        } else {
            let pause = self
                .retries
                .get(&name)
                .map_or(self.first_backoff, |(_, pause)| *pause * 2);
            let pause = pause.min(PoolConfig::MAXIMUM_BACKOFF);
            self.retries.insert(name, (Instant::now() + pause, pause));
        }
    }

    fn next_retry(&self) -> Instant {
        let far = Instant::now() + PoolConfig::MAXIMUM_BACKOFF;
        let waiting = self.retries.iter().filter(|(name, _)| !self.busy.contains(*name));
        waiting.map(|(_, (at, _))| *at).min().unwrap_or(far)
    }
}
