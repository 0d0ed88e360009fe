//! One node over the memory backends: service, kernel, runtime, pods and collector.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eni_core::{
    agent::{Add, AddError, Del, DelError, NodePods, NodeService, ServiceConfig, Witnesses},
    allocator::AddressRequest,
    cluster::{Version, Versioned, WatchEvent},
    gc::NodeCollector,
    journal::MemoryJournal,
    model::*,
    network::{EniSetup, NodeNetwork, PodInterface, PodWiring},
    sim::{MemoryNetwork, MemorySandboxes, SimEnvironment},
};
use tokio::time::Instant;

pub const COOLDOWN: Duration = Duration::from_secs(30);
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

pub struct Node {
    pub environment: Arc<SimEnvironment>,
    pub journal: MemoryJournal,
    pub network: Arc<MemoryNetwork>,
    pub sandboxes: Arc<MemorySandboxes>,
    pub pods: Arc<NodePods>,
    pub service: Arc<NodeService>,
    pub collector: NodeCollector,
    pub pool: NodePool,
}

pub fn pool(count: u8) -> NodePool {
    let ip = |last: u8| std::net::IpAddr::from([10, 0, 0, last]);
    let attached = (0..count).map(|n| PoolAddress {
        ip: ip(10 + n),
        generation: Generation::from_random(1),
    });
    let eni = PoolEni {
        id: "eni-a".into(),
        mac: MAC,
        subnet: "subnet-a".into(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: ip(1),
        primary: ip(2),
        attached: attached.collect(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    };
    NodePool {
        enis: vec![eni],
        maximum: 0,
        capacity: 100,
        granted: 0,
        by_claim: false,
    }
}

pub fn key(container: &str) -> SandboxKey {
    SandboxKey::new("net", container, "eth0")
}

pub fn netns(container: &str) -> String {
    format!("/run/netns/{container}")
}

impl Node {
    /// A node with `count` addresses, on which no pods run.
    pub async fn new(count: u8) -> Self {
        let environment = Arc::new(SimEnvironment::new(1));
        let (network, sandboxes) = (Arc::new(MemoryNetwork::new()), Arc::new(MemorySandboxes::new()));
        network.attach(MAC);
        let pods = Arc::new(NodePods::default());
        pods.learn(WatchEvent::Reset(Vec::new()));
        let journal = MemoryJournal::new();
        let service = open(&journal, &environment).await;
        let collector = NodeCollector::new(service.clone(), network.clone(), sandboxes.clone(), pods.clone());
        let node = Self {
            environment,
            journal,
            network,
            sandboxes,
            pods,
            service,
            collector,
            pool: pool(count),
        };
        node.service.recover(&Witnesses::default()).await.unwrap();
        node.publish().await;
        node
    }

    /// Puts the pool into service.
    pub async fn publish(&self) {
        let eni = &self.pool.enis[0];
        let setup = EniSetup {
            mac: eni.mac,
            primary: eni.primary,
            cidr: eni.cidr,
            gateway: eni.gateway,
        };
        let link = self.network.ensure_eni(&setup).await.unwrap();
        let links = BTreeMap::from([(eni.id.clone(), link)]);
        self.service.accept(self.pool.clone(), &links).await.unwrap();
    }

    /// Another agent on the same journal, which has not read the pool yet.
    pub async fn reopen(&mut self) {
        self.service = open(&self.journal, &self.environment).await;
        self.collector = NodeCollector::new(
            self.service.clone(),
            self.network.clone(),
            self.sandboxes.clone(),
            self.pods.clone(),
        );
    }

    /// Another agent on the same journal.
    pub async fn restart(&mut self) {
        self.reopen().await;
        self.publish().await;
    }

    /// The node boots; no sandbox is left.
    pub async fn reboot(&mut self) {
        for (key, _) in self.service.owners() {
            self.sandboxes.remove(&key.container);
        }
        self.environment.reboot();
        self.network.reboot();
        self.restart().await;
    }

    /// The request of a pod's sandbox.
    pub fn request(&self, pod: &str, container: &str) -> AddressRequest {
        AddressRequest {
            key: key(container),
            pod: Some(PodKey::new("default", pod)),
            pod_uid: Some(uid(pod)),
            families: self.service.families(),
            origin: None,
        }
    }

    /// The runtime starts a sandbox for a pod that the cluster has: ADD, wiring, and it is listed.
    pub async fn run(&self, pod: &str, container: &str) -> PodAddresses {
        self.schedule(pod);
        self.add(pod, container).await.unwrap()
    }

    /// ADD by the plugin, up to the end of the wiring.
    pub async fn add(&self, pod: &str, container: &str) -> Result<PodAddresses, AddError> {
        tokio::time::advance(Duration::from_millis(1)).await;
        let add = Add {
            request: self.request(pod, container),
            deadline: Instant::now() + Duration::from_secs(10),
            started: self.uptime(),
        };
        self.sandboxes.put(container, true);
        let (grant, _wiring) = self.service.add(add).await?;
        let interface = PodInterface {
            key: key(container),
            pod: Some(PodKey::new("default", pod)),
            addresses: None,
        };
        let wiring = PodWiring {
            interface,
            netns: netns(container),
            addresses: grant.allocation.addresses,
            table: Some(grant.link.table),
            mtu: 1500,
        };
        self.network.wire(&wiring).await.unwrap();
        Ok(grant.allocation.addresses)
    }

    /// DEL by the plugin.
    pub async fn del(&self, container: &str) -> Result<Option<Allocation>, DelError> {
        let released = self.release(container).await?;
        let interface = PodInterface {
            key: key(container),
            pod: None,
            addresses: released.as_ref().map(|owned| owned.addresses),
        };
        self.network.unwire(&interface).await.unwrap();
        Ok(released)
    }

    /// DEL as far as the agent goes.
    pub async fn release(&self, container: &str) -> Result<Option<Allocation>, DelError> {
        tokio::time::advance(Duration::from_millis(1)).await;
        let del = Del {
            key: key(container),
            deadline: Instant::now() + Duration::from_secs(10),
            started: self.uptime(),
        };
        self.service.del(del).await
    }

    /// A sandbox dies without a DEL: its namespace goes, and the runtime forgets it.
    pub fn kill(&self, container: &str) {
        self.network.remove_namespace(&netns(container));
        self.sandboxes.remove(container);
    }

    pub fn schedule(&self, pod: &str) {
        self.put_pod(pod, uid(pod), PodPhase::Running);
    }

    pub fn put_pod(&self, pod: &str, uid: Uid, phase: PodPhase) {
        let object = Pod {
            key: PodKey::new("default", pod),
            uid,
            node: Some("node-1".into()),
            host_network: false,
            phase,
            claim: Ok(Default::default()),
            workload: None,
        };
        self.pods.learn(WatchEvent::Applied(Versioned {
            object,
            version: Version("1".into()),
        }));
    }

    pub fn delete_pod(&self, pod: &str) {
        let known = self.pods.all().unwrap();
        let pod = known[&PodKey::new("default", pod)].clone();
        self.pods.learn(WatchEvent::Deleted(pod));
    }

    /// The containers that own something.
    pub fn owners(&self) -> Vec<String> {
        let owners = self.service.owners().into_iter();
        owners.map(|(key, _)| key.container.to_string()).collect()
    }

    fn uptime(&self) -> Duration {
        use eni_core::env::Environment;
        self.environment.uptime().since
    }
}

pub fn uid(pod: &str) -> Uid {
    format!("uid-of-{pod}").into()
}

async fn open(journal: &MemoryJournal, environment: &Arc<SimEnvironment>) -> Arc<NodeService> {
    let config = ServiceConfig {
        cooldown: COOLDOWN,
        ..ServiceConfig::default()
    };
    NodeService::open(Arc::new(journal.clone()), environment.clone(), config)
        .await
        .unwrap()
}
