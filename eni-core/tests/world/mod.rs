//! A cluster of nodes over the memory backends, with the real controller, services and dialogues.

mod claims;
mod faults;
mod leading;
mod lifecycle;
mod neighbours;
mod refusals;
mod scale;
mod stale;
mod stuck;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use eni_core::{
    agent::{Add, AddError, Del, Dialogue, DialogueConfig, Grant, NodeService, Release, ServiceConfig},
    allocator::AddressRequest,
    cloud::Cloud,
    cluster::{Cluster, Scope},
    controller::{Backends, PoolConfig, PoolController, PoolMonitor},
    journal::MemoryJournal,
    leadership::{Leadership, Unrivalled},
    model::*,
    sim::{Latency, MemoryCloud, MemoryCloudBuilder, MemoryCluster, MemoryFabric, SimEnvironment},
};
use tokio::{task::JoinSet, time::Instant};

/// Nodes of one zone with two subnets, ipamd and agents.
pub struct World {
    pub cloud: MemoryCloud,
    pub cluster: MemoryCluster,
    /// ipamd's connection to the cluster.
    pub ipamd: MemoryCluster,
    pub monitor: PoolMonitor,
    pub environment: Arc<SimEnvironment>,
    pub nodes: BTreeMap<NodeName, SimNode>,
    /// The calls of earlier controllers.
    before: BTreeMap<&'static str, u64>,
    setup: Setup,
    fabric: Arc<MemoryFabric>,
    controller: JoinSet<()>,
}

/// Puts something before a cloud.
pub type Between = dyn Fn(Arc<dyn Cloud>) -> Arc<dyn Cloud> + Send + Sync;

/// What a world begins with.
#[derive(Clone)]
pub struct Setup {
    pub nodes: usize,
    pub warm: WarmRange,
    pub leadership: Arc<dyn Leadership>,
    /// Whether nodes have agents.
    pub agents: bool,
    pub latency: Latency,
    pub cloud: fn(MemoryCloudBuilder) -> MemoryCloudBuilder,
    pub config: fn(PoolConfig) -> PoolConfig,
    /// What stands between the controller and the cloud.
    pub between: Arc<Between>,
}

impl Setup {
    pub fn new(nodes: usize, warm: WarmRange) -> Self {
        Self {
            nodes,
            warm,
            leadership: Arc::new(Unrivalled),
            agents: true,
            latency: Latency::orders(Duration::from_millis(700)),
            cloud: |cloud| cloud,
            config: |config| config,
            between: Arc::new(|cloud| cloud),
        }
    }
}

pub struct SimNode {
    pub service: Arc<NodeService>,
    journal: Arc<MemoryJournal>,
    instance: InstanceId,
    agent: JoinSet<()>,
}

/// Secondary ENIs and addresses of every instance: 3 x 9.
pub const LIMITS: Limits = Limits {
    enis: 4,
    addresses_per_eni: 10,
};

impl World {
    /// `nodes` nodes in one zone with two subnets, whose pools keep `warm` addresses.
    pub async fn new(nodes: usize, warm: WarmRange) -> Self {
        Self::with(Setup::new(nodes, warm)).await
    }

    pub async fn with(setup: Setup) -> Self {
        // `RUST_LOG=debug cargo test ... -- --nocapture` shows every decision.
        let log =
            tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
        drop(log.with_test_writer().try_init());
        let fabric = Arc::new(MemoryFabric::new());
        let mut builder = MemoryCloud::builder()
            .subnet("subnet-nodes", "zone-1", "10.0.0.0/20".parse().unwrap())
            .subnet("subnet-a", "zone-1", "10.1.0.0/22".parse().unwrap())
            .subnet("subnet-b", "zone-1", "10.2.0.0/22".parse().unwrap())
            .latency(setup.latency)
            .fabric(fabric.clone());
        for n in 0..setup.nodes {
            builder = builder.instance(format!("ins-{n}"), "subnet-nodes", LIMITS);
        }
        let cloud = (setup.cloud)(builder).build();
        let (cluster, environment) = (MemoryCluster::new(), Arc::new(SimEnvironment::new(1)));
        let ipamd = cluster.connect();
        let controller = controller(&setup, &cloud, &ipamd, &environment);
        let mut world = Self {
            cloud,
            before: BTreeMap::new(),
            cluster,
            ipamd,
            monitor: controller.monitor(),
            environment,
            nodes: BTreeMap::new(),
            setup: setup.clone(),
            fabric,
            controller: JoinSet::new(),
        };
        world.controller.spawn(controller.run());
        for n in 0..setup.nodes {
            let (name, instance) = (
                NodeName::from(format!("node-{n}")),
                InstanceId::from(format!("ins-{n}")),
            );
            world.put_node(n);
            if setup.agents {
                let journal = Arc::new(MemoryJournal::new());
                let node = world.start(&name, &instance, journal).await;
                world.nodes.insert(name, node);
            }
        }
        world
    }

    /// Node `node-<n>` on instance `ins-<n>` joins the cluster.
    pub fn put_node(&self, n: usize) {
        self.cluster.put_node(Node {
            name: format!("node-{n}").into(),
            uid: format!("uid-node-{n}").into(),
            instance: Some(format!("ins-{n}").into()),
            zone: Some("zone-1".into()),
            max_pods: None,
            silent: None,
        });
    }

    /// Kills the controller and starts another, under the same leadership.
    pub async fn restart_controller(&mut self) {
        self.controller.shutdown().await;
        self.before = self.all_calls();
        self.ipamd = self.cluster.connect();
        let controller = controller(&self.setup, &self.cloud, &self.ipamd, &self.environment);
        self.monitor = controller.monitor();
        self.controller.spawn(controller.run());
    }

    /// Until the controller has ended by itself.
    pub async fn controller_ends(&mut self) {
        self.controller.join_next().await.unwrap().unwrap();
    }

    /// The controllers' calls to the cloud so far.
    pub fn all_calls(&self) -> BTreeMap<&'static str, u64> {
        let mut calls = self.before.clone();
        for (action, count) in self.monitor.stats().calls.by_call() {
            *calls.entry(action).or_default() += count;
        }
        calls
    }

    /// One call's count so far.
    pub fn calls(&self, action: &str) -> u64 {
        self.all_calls().get(action).copied().unwrap_or_default()
    }

    /// The reasons of the events so far.
    pub fn reasons(&self) -> BTreeSet<&'static str> {
        let events = self.cluster.events().into_iter();
        events.map(|event| event.reason).collect()
    }

    /// Our ENIs' records.
    pub async fn records(&self) -> Vec<EniRecord> {
        let records = self.cluster.eni_records().list(&Scope::All).await.unwrap();
        records.into_iter().map(|read| read.object).collect()
    }

    async fn start(&self, name: &NodeName, instance: &InstanceId, journal: Arc<MemoryJournal>) -> SimNode {
        let service = NodeService::open(
            journal.clone(),
            self.environment.clone(),
            ServiceConfig::default(),
        );
        let service = service.await.unwrap();
        let config = DialogueConfig {
            release: Release::Quick,
            release_interval: Duration::from_secs(5),
            report_interval: Duration::from_secs(2),
            ..DialogueConfig::default()
        };
        let network = self.fabric.network(instance);
        let cluster = Arc::new(self.cluster.clone());
        let dialogue = Dialogue::new(
            name.clone(),
            instance.clone(),
            service.clone(),
            cluster,
            network,
            config,
        );
        let mut agent = JoinSet::new();
        agent.spawn(dialogue.run());
        let waiters = service.clone();
        agent.spawn(async move { waiters.run().await });
        SimNode {
            service,
            journal,
            instance: instance.clone(),
            agent,
        }
    }

    /// Kills a node's agent and starts another on the same journal.
    pub async fn restart_agent(&mut self, name: &str) {
        let name = NodeName::from(name);
        let mut node = self.nodes.remove(&name).unwrap();
        node.agent.shutdown().await;
        let node = self.start(&name, &node.instance, node.journal).await;
        self.nodes.insert(name, node);
    }

    pub fn service(&self, node: &str) -> &Arc<NodeService> {
        &self.nodes[&NodeName::from(node)].service
    }

    /// Schedules a pod.
    pub fn schedule(&self, pod: &str, node: &str) {
        self.cluster.put_pod(Pod {
            key: PodKey::new("default", pod),
            uid: format!("uid-{pod}").into(),
            node: Some(node.into()),
            host_network: false,
            phase: PodPhase::Pending,
            claim: Ok(Default::default()),
            workload: None,
        });
    }

    /// Deletes a pod.
    pub fn unschedule(&self, pod: &str) {
        self.cluster.delete_pod(&PodKey::new("default", pod));
    }

    /// The runtime's ADD for a pod; its sandbox is called after it.
    pub async fn add(&self, node: &str, pod: &str, patience: Duration) -> Result<Grant, AddError> {
        add(self.service(node), pod, patience).await
    }

    /// The runtime's DEL.
    pub async fn del(&self, node: &str, pod: &str) {
        let (now, deadline) = (clock(), Instant::now() + Duration::from_secs(10));
        let del = Del {
            key: key(pod),
            deadline,
            started: now,
        };
        self.service(node).del(del).await.unwrap();
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, within: Duration, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + within;
        while !condition(self) {
            let state: Vec<_> = self.nodes.values().map(|node| node.service.counts()).collect();
            assert!(
                Instant::now() < deadline,
                "not within {within:?}: {what}; {state:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Addresses for pods that the cloud has assigned to our ENIs of a node.
    pub fn bound(&self, node: &str) -> usize {
        let instance = &self.nodes[&NodeName::from(node)].instance;
        let ours = self.cloud.all_enis().into_iter();
        let ours =
            ours.filter(|eni| eni.kind == EniKind::Secondary && eni.instance.as_ref() == Some(instance));
        ours.map(|eni| eni.secondary_addresses().count()).sum()
    }

    /// Our ENIs in the cloud.
    pub fn secondary_enis(&self) -> usize {
        self.cloud
            .all_enis()
            .iter()
            .filter(|eni| eni.kind == EniKind::Secondary)
            .count()
    }

    /// Sets a node's own warm range.
    pub async fn set_warm(&self, node: &str, warm: WarmRange) {
        let store = self.cluster.node_configs();
        let set = |config: &mut NodeConfig| config.spec.warm.replace(warm) != Some(warm);
        eni_core::cluster::modify(&*store, node, set).await.unwrap();
    }
}

fn controller(
    setup: &Setup,
    cloud: &MemoryCloud,
    ipamd: &MemoryCluster,
    environment: &Arc<SimEnvironment>,
) -> PoolController {
    let tags = BTreeMap::from([("cluster".to_owned(), "test".to_owned())]);
    let config = (setup.config)(PoolConfig {
        warm: setup.warm,
        ..PoolConfig::new(vec!["subnet-a".into(), "subnet-b".into()], tags)
    });
    let backends = Backends {
        cloud: (setup.between)(Arc::new(cloud.clone())),
        cluster: Arc::new(ipamd.clone()),
        environment: environment.clone(),
        leadership: setup.leadership.clone(),
    };
    PoolController::new(backends, config)
}

pub async fn add(service: &Arc<NodeService>, pod: &str, patience: Duration) -> Result<Grant, AddError> {
    let request = AddressRequest {
        key: key(pod),
        pod: Some(PodKey::new("default", pod)),
        pod_uid: Some(format!("uid-{pod}").into()),
        families: Families::V4,
        origin: None,
    };
    let add = Add {
        request,
        deadline: Instant::now() + patience,
        started: clock(),
    };
    service.add(add).await.map(|(grant, _wired)| grant)
}

pub fn key(pod: &str) -> SandboxKey {
    SandboxKey::new("eni", format!("sandbox-of-{pod}"), "eth0")
}

/// The boot clock, which in a test is tokio's.
fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    Instant::now().duration_since(*START.get_or_init(Instant::now))
}
