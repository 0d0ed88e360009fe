//! The agent's dialogue: what it does to the kernel, call by call.

use std::{sync::Arc, time::Duration};

use eni_core::{
    agent::{Add, AddError, Advertisement, Dialogue, DialogueConfig, Grant, NodeService, ServiceConfig},
    allocator::AddressRequest,
    cluster::{Cluster, Store, modify},
    env::SystemEnvironment,
    journal::{Change, Journal, MemoryJournal},
    model::*,
    network::{MockNodeNetwork, NetworkError, NodeNetwork, PodInterface, PodWiring},
    sim::{MemoryCluster, MemoryNetwork},
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

fn pool_with(mac: Mac) -> NodePool {
    let eni = PoolEni {
        id: "eni-a".into(),
        mac,
        subnet: "subnet-a".into(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: "10.0.0.1".parse().unwrap(),
        primary: "10.0.0.2".parse().unwrap(),
        attached: Vec::new(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    };
    NodePool {
        enis: vec![eni],
        maximum: 0,
        capacity: 9,
        granted: 0,
        by_claim: false,
    }
}

async fn publish(cluster: &MemoryCluster, instance: &str, pool: NodePool) {
    let (node_uid, zone) = ("uid-1".into(), "zone-1".into());
    let spec = NodeSpec {
        instance: instance.into(),
        node_uid,
        zone,
        warm: None,
        limits: None,
    };
    let config = NodeConfig {
        name: "node-1".into(),
        spec,
        pool,
        agent: AgentReport::default(),
    };
    let store: Arc<dyn Store<NodeConfig>> = cluster.node_configs();
    store.create(config).await.unwrap();
}

/// Starts the dialogue of `node-1` on `ins-1`, with a journal that remembers `pool`.
async fn start(cluster: &MemoryCluster, pool: NodePool, network: MockNodeNetwork) {
    let journal = Arc::new(MemoryJournal::new());
    journal.commit(vec![Change::Pool(pool)]).await.unwrap();
    let environment = SystemEnvironment::shared();
    let service = NodeService::open(journal, environment, ServiceConfig::default())
        .await
        .unwrap();
    let (cluster, network) = (Arc::new(cluster.clone()), Arc::new(network));
    let config = DialogueConfig::default();
    let dialogue = Dialogue::new("node-1".into(), "ins-1".into(), service, cluster, network, config);
    tokio::spawn(dialogue.run());
}

#[tokio::test(start_paused = true)]
async fn routes_of_an_eni_that_left_while_no_agent_ran_are_taken_down() {
    let gone = Mac([2, 0, 0, 0, 0, 9]);
    let (removed, mut removals) = mpsc::unbounded_channel();
    let mut network = MockNodeNetwork::new();
    network.expect_repair().returning(|_| Ok(Vec::new()));
    network
        .expect_ensure_eni()
        .returning(|eni| Err(NetworkError::NoDevice { mac: eni.mac }));
    network.expect_remove_eni().times(1).returning(move |mac| {
        removed.send(mac).unwrap();
        Ok(())
    });
    let cluster = MemoryCluster::new();
    publish(
        &cluster,
        "ins-1",
        NodePool {
            capacity: 9,
            ..NodePool::default()
        },
    )
    .await;
    start(&cluster, pool_with(gone), network).await;
    assert_eq!(removals.recv().await, Some(gone));
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_instance_is_ignored() {
    let (ours, theirs) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    let (ensured, mut calls) = mpsc::unbounded_channel();
    let mut network = MockNodeNetwork::new();
    network.expect_repair().returning(|_| Ok(Vec::new()));
    network.expect_ensure_eni().returning(move |eni| {
        ensured.send(eni.mac).unwrap();
        Err(NetworkError::NoDevice { mac: eni.mac })
    });
    network.expect_remove_eni().never();
    let cluster = MemoryCluster::new();
    publish(&cluster, "ins-2", pool_with(theirs)).await;
    start(&cluster, pool_with(ours), network).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut seen = Vec::new();
    while let Ok(mac) = calls.try_recv() {
        seen.push(mac);
    }
    assert!(seen.len() > 1 && seen.iter().all(|mac| *mac == ours), "{seen:?}");
}

/// A node with two addresses, one ENI and a dialogue, on a journal that knows nothing.
struct Node {
    cluster: MemoryCluster,
    network: Arc<MemoryNetwork>,
    service: Arc<NodeService>,
}

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

impl Node {
    async fn new(before: impl AsyncFnOnce(&MemoryNetwork)) -> Self {
        Self::start(before, |dialogue| dialogue).await
    }

    /// A node whose kubelet is told what it may have by `advertisement`.
    async fn advertising(advertisement: &Arc<Advertisement>) -> Self {
        Self::start(
            async |_| {},
            |dialogue| dialogue.with_advertisement(advertisement.clone()),
        )
        .await
    }

    async fn start(
        before: impl AsyncFnOnce(&MemoryNetwork),
        with: impl FnOnce(Dialogue) -> Dialogue,
    ) -> Self {
        let cluster = MemoryCluster::new();
        let mut pool = pool_with(MAC);
        pool.enis[0].attached = [7, 8]
            .map(|last| PoolAddress {
                ip: [10, 0, 0, last].into(),
                generation: Generation::from_random(last.into()),
            })
            .to_vec();
        (pool.maximum, pool.granted) = (9, 9);
        publish(&cluster, "ins-1", pool).await;
        let network = Arc::new(MemoryNetwork::new());
        network.attach(MAC);
        before(&network).await;
        let service = NodeService::open(
            Arc::new(MemoryJournal::new()),
            SystemEnvironment::shared(),
            ServiceConfig::default(),
        );
        let service = service.await.unwrap();
        let dialogue = Dialogue::new(
            "node-1".into(),
            "ins-1".into(),
            service.clone(),
            Arc::new(cluster.clone()),
            network.clone(),
            DialogueConfig::default(),
        );
        tokio::spawn(with(dialogue).run());
        let node = Self {
            cluster,
            network,
            service,
        };
        sleep(Duration::from_secs(1)).await;
        node
    }

    async fn config(&self) -> NodeConfig {
        self.cluster.node_configs().get("node-1").await.unwrap().object
    }

    /// ipamd writes its part.
    async fn write_pool(&self, change: impl Fn(&mut NodeConfig) + Send + Sync) {
        let store = self.cluster.node_configs();
        let written = modify(&*store, "node-1", |config| {
            change(config);
            true
        });
        written.await.unwrap();
    }

    async fn add(&self, container: &str) -> Result<Grant, AddError> {
        let request = AddressRequest {
            key: SandboxKey::new("net", container, "eth0"),
            pod: None,
            pod_uid: None,
            families: Families::V4,
            origin: None,
        };
        let add = Add {
            request,
            deadline: Instant::now() + Duration::from_secs(20),
            started: Duration::from_secs(1),
        };
        self.service.add(add).await.map(|(grant, _wiring)| grant)
    }
}

fn wiring(container: &str, ip: [u8; 4], table: u32) -> PodWiring {
    let interface = PodInterface {
        key: SandboxKey::new("net", container, "eth0"),
        pod: None,
        addresses: None,
    };
    PodWiring {
        interface,
        netns: format!("/run/netns/{container}"),
        addresses: std::net::IpAddr::from(ip).into(),
        table: Some(table),
        mtu: 1500,
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_is_recovered_from_the_kernel_once_the_pool_is_known() {
    let node = Node::new(async |network| {
        network.wire(&wiring("c1", [10, 0, 0, 7], 4001)).await.unwrap();
    })
    .await;
    assert_eq!(node.service.owners().len(), 1);
    let given = node.add("c2").await.unwrap().allocation.addresses;
    assert_eq!(given, std::net::IpAddr::from([10, 0, 0, 8]).into());
}

#[tokio::test(start_paused = true)]
async fn an_offer_is_taken_back_for_a_waiter_through_the_shared_object() {
    let node = Node::new(async |_| {}).await;
    let offered = node.service.withdraw(2).await.unwrap();
    sleep(Duration::from_secs(31)).await;
    assert_eq!(node.config().await.agent.withdrawn.len(), 2);
    let begun = Instant::now();
    let given = node.add("c1").await.unwrap().allocation.addresses;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(offered.iter().any(|entry| given == entry.ip.into()));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.config().await.agent.withdrawn, node.service.withdrawn());
    assert_eq!(
        (node.service.withdrawn().len(), node.service.counters().taken_back),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_ipamd_takes_at_the_same_time_is_not_taken_back() {
    let node = Node::new(async |_| {}).await;
    let mut offered = node.service.withdraw(2).await.unwrap();
    offered.sort_unstable();
    sleep(Duration::from_secs(31)).await;
    // ipamd's write and the waiter come together; the agent has not seen the write when it tries.
    node.write_pool(|config| {
        let eni = &mut config.pool.enis[0];
        eni.releasing = std::mem::take(&mut eni.attached);
    })
    .await;
    let refused = node.add("c1").await.unwrap_err();
    assert!(matches!(refused, AddError::Timeout { .. }), "{refused}");
    assert_eq!(node.service.withdrawn(), offered, "they stay fenced");
    assert_eq!(node.service.counters().taken_back, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_first_wins_an_offer_and_nobody_has_it_twice() {
    let mut outcomes = [0, 0];
    for lag in 0..40 {
        let node = Node::new(async |_| {}).await;
        node.service.withdraw(2).await.unwrap();
        sleep(Duration::from_secs(31)).await;
        node.cluster.set_latency(Duration::from_millis(10));
        let ipamd = async {
            sleep(Duration::from_millis(lag)).await;
            node.write_pool(|config| {
                let withdrawn = config.agent.withdrawn.clone();
                let eni = &mut config.pool.enis[0];
                let offered = |entry: &PoolAddress| withdrawn.contains(entry);
                eni.releasing
                    .extend(eni.attached.iter().filter(|entry| offered(entry)));
                eni.attached.retain(|entry| !offered(entry));
            })
            .await;
        };
        let (added, ()) = futures::join!(node.add("c1"), ipamd);
        sleep(Duration::from_secs(5)).await;
        let releasing = node.config().await.pool.enis[0].releasing.clone();
        if let Ok(grant) = &added {
            let given: Vec<_> = grant.allocation.addresses.iter().collect();
            assert!(
                releasing.iter().all(|entry| !given.contains(&entry.ip)),
                "after {lag} ms"
            );
        }
        assert_eq!(node.service.counts().lost, 0, "after {lag} ms");
        outcomes[usize::from(added.is_ok())] += 1;
    }
    assert!(
        outcomes.iter().all(|count| *count > 0),
        "both orders were tried: {outcomes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lowered_grant_is_answered_at_once_and_a_raised_one_with_the_next_report() {
    let node = Node::new(async |_| {}).await;
    sleep(Duration::from_secs(31)).await;
    assert_eq!(node.config().await.agent.advertised, 9);
    node.write_pool(|config| config.pool.granted = 4).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.config().await.agent.advertised, 4);
    node.write_pool(|config| config.pool.granted = 6).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.config().await.agent.advertised, 4);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(node.config().await.agent.advertised, 6);
}

#[tokio::test(start_paused = true)]
async fn a_raised_grant_is_reported_at_once_and_then_told_to_the_kubelet() {
    let advertisement = Arc::new(Advertisement::default());
    let node = Node::advertising(&advertisement).await;
    assert_eq!(node.config().await.agent.advertised, 9);
    let mut allowed = advertisement.allowed();
    assert_eq!(allowed.borrow_and_update().unwrap().allocatable, 9);
    advertisement.tell(9);
    node.cluster.set_latency(Duration::from_secs(1));
    node.write_pool(|config| config.pool.granted = 12).await;
    allowed.changed().await.unwrap();
    assert_eq!(allowed.borrow().unwrap().allocatable, 12);
    assert_eq!(node.config().await.agent.advertised, 12, "ipamd knew it by then");
}

#[tokio::test(start_paused = true)]
async fn a_lowered_grant_is_answered_only_once_the_kubelet_was_told() {
    let advertisement = Arc::new(Advertisement::default());
    let node = Node::advertising(&advertisement).await;
    advertisement.tell(9);
    node.write_pool(|config| config.pool.granted = 4).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(advertisement.allowed().borrow().unwrap().allocatable, 4);
    assert_eq!(node.config().await.agent.advertised, 9, "the kubelet believes it");
    // Six of them are in use, so that the kubelet cannot be told less.
    advertisement.tell(6);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.config().await.agent.advertised, 6);
    advertisement.tell(4);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.config().await.agent.advertised, 4);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_advertised_stays_reported_until_the_kubelet_is_told() {
    let advertisement = Arc::new(Advertisement::default());
    let node = Node::advertising(&advertisement).await;
    node.write_pool(|config| config.pool.granted = 4).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.config().await.agent.advertised, 9);
    advertisement.tell(4);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.config().await.agent.advertised, 4);
}

#[tokio::test(start_paused = true)]
async fn rules_and_enis_that_somebody_took_away_come_back() {
    let node = Node::new(async |_| {}).await;
    let grant = node.add("c1").await.unwrap();
    let ip = grant.allocation.addresses.v4.unwrap();
    let wiring = wiring("c1", ip.octets(), grant.link.table);
    node.network.wire(&wiring).await.unwrap();
    node.network.break_rules(ip.into());
    node.network.remove_eni(MAC).await.unwrap();
    sleep(Duration::from_secs(11)).await;
    assert_eq!(node.network.verify(&wiring).await.unwrap(), []);
    assert_eq!(node.service.counters().repairs, 1);
    let listed = node.network.list().await.unwrap();
    let table = listed.iter().any(|line| line.starts_with("table"));
    assert!(table, "{listed:?}");
}
