//! The agent's side of the dialogue with ipamd over the NodeENIConfig: put published ENIs into
//! service, offer back what is idle, report what ipamd cannot see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::NodeService;
use crate::{
    cluster::{Cluster, Event, Scope, Subject, WatchEvent, modify},
    model::{AgentReport, InstanceId, Mac, NodeConfig, NodeName, NodePool, Pod, PodKey, PoolAddress, Uid},
    network::{EniSetup, NodeNetwork},
    policy,
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
}

impl Default for DialogueConfig {
    fn default() -> Self {
        Self {
            release: Release::Slow,
            release_interval: Duration::from_secs(120),
            report_interval: Duration::from_secs(30),
            retry_interval: Duration::from_secs(1),
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
    pods: Option<BTreeMap<PodKey, (Uid, bool)>>,
    /// ENIs that ipamd took away and whose routes still stand.
    leaving: BTreeSet<Mac>,
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
            pods: None,
            leaving: BTreeSet::new(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        // What was accepted in an earlier life serves before the cluster answers.
        let mut settled = self.put_into_service(&self.service.published()).await;
        let scope = Scope::Node(self.node.clone());
        let mut configs = self.cluster.node_configs().watch(scope.clone());
        let mut pods = self.cluster.pods().watch(scope);
        let mut waiting = self.service.waiting();
        let mut release = interval(self.config.release_interval);
        release.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report = interval(self.config.report_interval);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = Instant::now() + self.config.retry_interval;
        loop {
            let (mut changed, mut due) = (false, false);
            tokio::select! {
                biased;
                Some(event) = configs.next() => {
                    self.learn_config(event);
                    changed = true;
                }
                Some(event) = pods.next() => self.learn_pods(event),
                Ok(()) = waiting.changed() => {}
                _ = release.tick() => self.offer_back().await,
                _ = report.tick() => due = true,
                () = sleep_until(retry), if !settled => {
                    changed = true;
                    retry = Instant::now() + self.config.retry_interval;
                }
            }
            if changed {
                let published = self.published.as_ref().map(|config| config.pool.clone());
                let pool = published.unwrap_or_else(|| self.service.published());
                settled = self.put_into_service(&pool).await;
            }
            settled &= self.report(due).await;
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

    fn learn_pods(&mut self, event: WatchEvent<Pod>) {
        match event {
            WatchEvent::Reset(all) => {
                let live = |pod: Pod| (pod.key.clone(), (pod.uid.clone(), pod.needs_address()));
                self.pods = Some(all.into_iter().map(|read| live(read.object)).collect());
            }
            WatchEvent::Applied(read) => {
                let (pod, needs) = (&read.object, read.object.needs_address());
                let pods = self.pods.get_or_insert_default();
                pods.insert(pod.key.clone(), (pod.uid.clone(), needs));
            }
            WatchEvent::Deleted(pod) => {
                self.pods.get_or_insert_default().remove(&pod.key);
            }
        }
    }

    /// Sets up the ENIs of a pool, accepts it, and takes down what left it; whether all of that worked.
    async fn put_into_service(&mut self, pool: &NodePool) -> bool {
        let mut settled = true;
        let mut links = BTreeMap::new();
        for eni in &pool.enis {
            let setup = EniSetup {
                mac: eni.mac,
                primary: eni.primary,
                cidr: eni.cidr,
                gateway: eni.gateway,
            };
            match self.network.ensure_eni(&setup).await {
                Ok(link) => {
                    links.insert(eni.id.clone(), link);
                }
                Err(error) => {
                    tracing::info!(node = %self.node, eni = %eni.id, %error, "ENI is not in service yet");
                    settled = false;
                }
            }
        }
        // By the pools, not by the devices: a device may have gone while no agent ran.
        self.leaving
            .extend(self.service.published().enis.iter().map(|eni| eni.mac));
        pool.enis.iter().for_each(|eni| {
            self.leaving.remove(&eni.mac);
        });
        match self.service.accept(pool.clone(), &links).await {
            Ok(accepted) => {
                for (key, ip) in accepted.lost {
                    self.report_loss(&key, ip);
                }
            }
            Err(error) => {
                tracing::error!(node = %self.node, %error, "the published pool is not in force");
                return false;
            }
        }
        for mac in self.leaving.clone() {
            match self.network.remove_eni(mac).await {
                Ok(()) => {
                    self.leaving.remove(&mac);
                }
                Err(error) => {
                    tracing::warn!(node = %self.node, %mac, %error, "routes of a former ENI remain");
                    settled = false;
                }
            }
        }
        settled
    }

    fn report_loss(&self, key: &crate::model::SandboxKey, ip: std::net::IpAddr) {
        let owner = self.service.owners().into_iter().find(|(owner, _)| owner == key);
        if let Some(pod) = owner.and_then(|(_, allocation)| allocation.pod) {
            self.cluster.report(Event {
                subject: Subject::Pod(pod),
                warning: true,
                reason: "AddressLost",
                message: format!(
                    "address {ip} was removed from its ENI outside this system; delete the pod to get another"
                ),
            });
        }
    }

    /// Owned addresses whose pods are gone; none while the pods are not known.
    fn orphans(&self) -> usize {
        let Some(pods) = &self.pods else { return 0 };
        let live = |pod: &Option<PodKey>, uid: &Option<Uid>| match (pod, uid) {
            (Some(pod), Some(uid)) => pods.get(pod).is_some_and(|(known, needs)| known == uid && *needs),
            _ => true,
        };
        self.service
            .owners()
            .iter()
            .filter(|(_, owned)| !live(&owned.pod, &owned.pod_uid))
            .count()
    }

    /// Fences idle addresses above the published maximum.
    async fn offer_back(&mut self) {
        if self.published.is_none() {
            return;
        }
        // Nothing new is fenced unless the cluster answers: a fence that cannot be published only
        // makes the node poorer.
        let config = match self.cluster.node_configs().get(self.node.as_str()).await {
            Ok(read) if read.object.pool.capacity == 0 || read.object.spec.instance != self.instance => {
                return;
            }
            Ok(read) => read.object,
            Err(error) => {
                tracing::info!(node = %self.node, %error, "nothing is offered back now");
                return;
            }
        };
        let count = policy::offer(
            self.service.counts(),
            self.orphans(),
            &config.pool,
            self.config.release,
        );
        if count == 0 {
            return;
        }
        match self.service.withdraw(count).await {
            Ok(offered) => tracing::info!(node = %self.node, ?offered, "idle addresses offered back"),
            Err(error) => tracing::error!(node = %self.node, %error, "nothing is offered back now"),
        }
    }

    /// Publishes what ipamd cannot see; whether it is published.
    async fn report(&mut self, due: bool) -> bool {
        let Some(published) = &self.published else {
            return true;
        };
        let attached =
            |entry: &PoolAddress| published.pool.enis.iter().any(|eni| eni.attached.contains(entry));
        let report = AgentReport {
            withdrawn: self.service.withdrawn().into_iter().filter(attached).collect(),
            held: u32::try_from(self.service.counts().cooling + self.orphans()).unwrap_or(u32::MAX),
            short: u32::try_from(*self.service.waiting().borrow()).unwrap_or(u32::MAX),
            advertised: published.agent.advertised,
        };
        let before = &published.agent;
        let urgent = report.withdrawn != before.withdrawn || (report.short > 0) != (before.short > 0);
        if report == *before || !(urgent || due) {
            return true;
        }
        let store = self.cluster.node_configs();
        let written = modify(&*store, self.node.as_str(), |config| {
            let changed = config.agent != report && config.spec.instance == self.instance;
            if changed {
                config.agent.clone_from(&report);
            }
            changed
        });
        match written.await {
            Ok(read) => {
                // Only the report: pools come by the watch, in order.
                if let Some(published) = &mut self.published {
                    published.agent = read.object.agent;
                }
                true
            }
            Err(error) => {
                tracing::info!(node = %self.node, %error, "the report is not published yet");
                false
            }
        }
    }
}

impl std::fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialogue")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
