//! The agent's side of the dialogue with ipamd over the NodeENIConfig: put published ENIs into
//! service, offer back what is idle, report what ipamd cannot see.

mod advertising;
mod give_back;
mod losses;
mod pool;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{Advertisement, NodePods, NodeService, Witnesses};
use crate::{
    cluster::{Cluster, Scope, WatchEvent},
    model::{InstanceId, Mac, NodeConfig, NodeName, SandboxKey},
    network::NodeNetwork,
    policy::Advertise,
};

/// How the agent gives back what is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Release {
    /// One address at a time; TKE's default.
    #[default]
    Slow,
    /// All of them at once; TKE's `--enable-quick-release`.
    Quick,
}

/// How the agent talks with ipamd.
#[derive(Clone, Copy, Debug)]
pub struct DialogueConfig {
    /// How it gives back.
    pub release: Release,
    /// How often it does. Two minutes by default, as TKE documents.
    pub release_interval: Duration,
    /// The count of held addresses is published at most this often, 30 s by default; a shortage at
    /// once.
    pub report_interval: Duration,
    /// How long after a failure it tries again, 1 s by default.
    pub retry_interval: Duration,
    /// What the node advertises.
    pub advertise: Advertise,
    /// How often everything in the kernel is put right that others may have taken away, 10 s by default.
    pub repair_interval: Duration,
}

impl Default for DialogueConfig {
    fn default() -> Self {
        Self {
            release: Release::Slow,
            release_interval: Duration::from_secs(120),
            report_interval: Duration::from_secs(30),
            retry_interval: Duration::from_secs(1),
            advertise: Advertise::Attainable,
            repair_interval: Duration::from_secs(10),
        }
    }
}

/// The dialogue of one node.
pub struct Dialogue {
    node: NodeName,
    instance: InstanceId,
    service: Arc<NodeService>,
    cluster: Arc<dyn Cluster>,
    network: Arc<dyn NodeNetwork>,
    config: DialogueConfig,
    published: Option<NodeConfig>,
    pods: Arc<NodePods>,
    /// What the runtime knows of earlier ADDs.
    witnesses: Witnesses,
    /// How the kubelet is told, if it is.
    advertisement: Option<Arc<Advertisement>>,
    /// ENIs that ipamd took away and whose routes still stand.
    leaving: BTreeSet<Mac>,
    /// When the loss of an owner's address was told last.
    told: BTreeMap<SandboxKey, Instant>,
}

impl Dialogue {
    /// The dialogue about `node`, which runs on `instance`.
    pub fn new(
        node: NodeName,
        instance: InstanceId,
        service: Arc<NodeService>,
        cluster: Arc<dyn Cluster>,
        network: Arc<dyn NodeNetwork>,
        config: DialogueConfig,
    ) -> Self {
        Self {
            node,
            instance,
            service,
            cluster,
            network,
            config,
            published: None,
            pods: Arc::default(),
            witnesses: Witnesses::default(),
            advertisement: None,
            leaving: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// With what the runtime knows of earlier ADDs, for the case that the journal was lost; what the kernel
    /// knows is added when it is needed.
    pub fn with_witnesses(mut self, witnesses: Witnesses) -> Self {
        self.witnesses = witnesses;
        self
    }

    /// With somebody who tells the kubelet. Without, what may be advertised counts as advertised.
    pub fn with_advertisement(mut self, advertisement: Arc<Advertisement>) -> Self {
        self.advertisement = Some(advertisement);
        self
    }

    /// The node's pods, which it keeps up to date while it runs; for a collector beside it.
    pub fn pods(&self) -> Arc<NodePods> {
        self.pods.clone()
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        // What was accepted in an earlier life serves before the cluster answers.
        let mut settled = self.put_into_service(&self.service.published()).await;
        let scope = Scope::Node(self.node.clone());
        let mut configs = self.cluster.node_configs().watch(scope.clone());
        let mut pods = self.cluster.pods().watch(scope);
        let mut waiting = self.service.waiting();
        // Where nobody tells the kubelet this is closed, which switches its branch off.
        let mut told = self.advertisement.clone().unwrap_or_default().told();
        let mut release = interval(self.config.release_interval);
        release.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(self.config.report_interval);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut repair = interval(self.config.repair_interval);
        repair.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = Instant::now() + self.config.retry_interval;
        loop {
            let (mut changed, mut due) = (false, false);
            tokio::select! {
                biased;
                Some(event) = configs.next() => {
                    self.learn_config(event);
                    changed = true;
                }
                Some(event) = pods.next() => self.pods.learn(event),
                Ok(()) = waiting.changed() => {}
                Ok(()) = told.changed() => {}
                () = self.service.offered.notified() => {}
                _ = release.tick() => self.offer_back().await,
                _ = report.tick() => {
                    self.report_losses().await;
                    due = true;
                }
                _ = repair.tick() => {
                    self.repair().await;
                    changed = true;
                }
                () = sleep_until(retry), if !settled => {
                    changed = true;
                    retry = Instant::now() + self.config.retry_interval;
                }
            }
            if changed {
                let published = self.published.as_ref().map(|config| config.pool.clone());
                let pool = published.unwrap_or_else(|| self.service.published());
                settled = self.put_into_service(&pool).await;
                settled &= self.recover().await;
                if pool.by_claim && self.service.counts().free > 0 {
                    self.offer_back().await;
                }
            }
            settled &= self.take_back().await;
            settled &= self.report(due).await;
            self.advertise();
        }
    }

    fn learn_config(&mut self, event: WatchEvent<NodeConfig>) {
        let latest = match event {
            WatchEvent::Reset(all) => all.into_iter().next().map(|read| read.object),
            WatchEvent::Applied(read) => Some(read.object),
            WatchEvent::Deleted(_) => None,
        };
        // An object without a capacity is one that ipamd has not planned.
        self.published = latest.filter(|config| config.pool.capacity > 0).filter(|config| {
            let ours = config.spec.instance == self.instance;
            if !ours {
                tracing::warn!(node = %self.node, theirs = %config.spec.instance, ours = %self.instance,
                    "the NodeENIConfig is for another instance and is ignored; ipamd will replace it");
            }
            ours
        });
    }
}

impl std::fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialogue")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
