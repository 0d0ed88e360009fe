//! The agent's dialogue: what it does to the kernel, call by call.

use std::{sync::Arc, time::Duration};

use eni_core::{
    agent::{Dialogue, DialogueConfig, NodeService, ServiceConfig},
    cluster::{Cluster, Store},
    env::SystemEnvironment,
    journal::{Change, Journal, MemoryJournal},
    model::*,
    network::{MockNodeNetwork, NetworkError},
    sim::MemoryCluster,
};
use tokio::sync::mpsc;

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
    };
    NodePool {
        enis: vec![eni],
        maximum: 0,
        capacity: 9,
        granted: 0,
    }
}

async fn publish(cluster: &MemoryCluster, instance: &str, pool: NodePool) {
    let (node_uid, zone) = ("uid-1".into(), "zone-1".into());
    let spec = NodeSpec {
        instance: instance.into(),
        node_uid,
        zone,
        warm: None,
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
