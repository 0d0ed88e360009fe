//! The whole agent, from its flags to its socket, on a node where pods run already.

mod client;

use std::{fs, path::Path, sync::Arc, time::Duration};

use agent::{AgentConfig, Backends, run};
use agent_api::{Endpoint, proto, spoken};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use client::{Client, DEADLINE, add, add_request, del, eventually, key, soon};
use eni_core::{
    agent::{DialogueConfig, ServiceConfig},
    cluster::Cluster,
    env::SystemEnvironment,
    model::*,
    network::{EniSetup, NodeNetwork, PodInterface, PodWiring},
    sim::{MemoryCluster, MemoryNetwork},
};
use serde_json::json;
use tokio::sync::oneshot;
use tonic::Code;

/// The network that the plugins serve in these tests.
const NETWORK: &str = "net";

fn pool() -> NodePool {
    let attached = (10..13).map(|last| PoolAddress {
        ip: [10, 0, 1, last].into(),
        generation: Generation::from_random(1),
    });
    NodePool {
        enis: vec![PoolEni {
            id: "eni-1".into(),
            mac: Mac([0x20, 0x90, 0x6f, 0, 0, 1]),
            subnet: "subnet-1".into(),
            cidr: "10.0.1.0/24".parse().unwrap(),
            gateway: "10.0.1.1".parse().unwrap(),
            primary: "10.0.1.2".parse().unwrap(),
            attached: attached.collect(),
            releasing: Vec::new(),
        }],
        maximum: 9,
        capacity: 9,
        granted: 9,
    }
}

/// A node whose ENI is attached, as ipamd publishes it.
async fn published() -> (MemoryCluster, Arc<MemoryNetwork>) {
    let (cluster, network) = (MemoryCluster::new(), Arc::new(MemoryNetwork::new()));
    network.attach(pool().enis[0].mac);
    let config = NodeConfig {
        name: "node-1".into(),
        spec: NodeSpec {
            instance: "ins-1".into(),
            node_uid: "uid-1".into(),
            zone: "zone-1".into(),
            warm: None,
            limits: None,
        },
        pool: pool(),
        agent: AgentReport::default(),
    };
    cluster.node_configs().create(config).await.unwrap();
    (cluster, network)
}

/// A pod that an earlier agent put on the wire.
async fn wired(network: &MemoryNetwork, container: &str, address: &str) {
    let eni = &pool().enis[0];
    let setup = EniSetup {
        mac: eni.mac,
        primary: eni.primary,
        cidr: eni.cidr,
        gateway: eni.gateway,
    };
    let link = network.ensure_eni(&setup).await.unwrap();
    let wiring = PodWiring {
        interface: PodInterface {
            key: key(container),
            pod: None,
            addresses: None,
        },
        netns: format!("/run/netns/{container}"),
        addresses: address.parse::<std::net::IpAddr>().unwrap().into(),
        table: Some(link.table),
        mtu: 1500,
    };
    network.wire(&wiring).await.unwrap();
}

/// What the runtime keeps of a pod's ADD.
fn keep(results: &Path, container: &str, address: &str) {
    let config = json!({"name": NETWORK, "plugins": [{"type": "tke-route-eni"}]});
    let kept = json!({
        "kind": "cniCacheV1", "containerId": container, "ifName": "eth0", "networkName": NETWORK,
        "config": STANDARD.encode(config.to_string()),
        "netns": "/proc/self/ns/net",
        "result": {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": "/proc/self/ns/net"}],
            "ips": [{"interface": 0, "address": format!("{address}/32")}],
        },
    });
    fs::create_dir_all(results).unwrap();
    fs::write(
        results.join(format!("{NETWORK}-{container}-eth0")),
        kept.to_string(),
    )
    .unwrap();
}

async fn owned(client: &mut Client, container: &str) -> Result<Vec<String>, Code> {
    let request = proto::CheckRequest {
        versions: Some(spoken()),
        interface: Some((&key(container)).into()),
    };
    match client.check(request).await {
        Ok(reply) => Ok(reply.into_inner().grant.unwrap().addresses),
        Err(status) => Err(status.code()),
    }
}

#[tokio::test]
async fn an_agent_without_its_journal_knows_running_pods_by_the_runtimes_results_and_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, network) = published().await;
    // Of one the runtime's result is left, of the other its device.
    keep(&directory.path().join("results"), "by-result", "10.0.1.10");
    wired(&network, "by-device", "10.0.1.11").await;
    let endpoint = Endpoint::Unix(directory.path().join("run/agent.sock"));
    let config = AgentConfig {
        node: "node-1".into(),
        instance: "ins-1".into(),
        endpoint: endpoint.clone(),
        journal: directory.path().join("journal"),
        service: ServiceConfig {
            cooldown: Duration::ZERO,
            ..ServiceConfig::default()
        },
        dialogue: DialogueConfig::default(),
        collection: eni_core::gc::INTERVAL,
        results: vec![
            directory.path().join("not-there"),
            directory.path().join("results"),
        ],
        devices: None,
    };
    let backends = Backends {
        cluster: Arc::new(cluster),
        network,
        sandboxes: None,
        environment: SystemEnvironment::shared(),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { stopped.await.unwrap_or_default() };
    let agent = tokio::spawn(run(config, backends, shutdown));
    eventually("the socket is there", || {
        directory.path().join("run/agent.sock").exists()
    })
    .await;

    let mut client = client::connect(&endpoint).await;
    // It is served once the owners are known, and gets what nobody has.
    let (grant, open) = soon(add(&mut client, add_request("new", 1, DEADLINE)))
        .await
        .unwrap();
    assert_eq!(grant.addresses, ["10.0.1.12"]);
    assert_eq!(
        owned(&mut client, "by-result").await,
        Ok(vec!["10.0.1.10".to_owned()])
    );
    assert_eq!(
        owned(&mut client, "by-device").await,
        Ok(vec!["10.0.1.11".to_owned()])
    );
    assert_eq!(owned(&mut client, "nobody").await, Err(Code::NotFound));
    let released = del(&mut client, "by-result", 2, DEADLINE).await.unwrap();
    assert_eq!(released, ["10.0.1.10"], "its DEL finds it");
    drop((open, client));
    stop.send(()).unwrap();
    soon(agent).await.unwrap().unwrap();
}
