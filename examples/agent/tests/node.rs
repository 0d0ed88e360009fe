//! The whole agent, from its flags to its socket, on a node where pods run already.

mod client;
mod published;

use std::{fs, path::Path, time::Duration};

use agent_api::{Endpoint, proto, spoken};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use client::{Client, DEADLINE, add, add_request, del, eventually, key, soon};
use eni_core::network::{EniSetup, NodeNetwork, PodInterface, PodWiring};
use published::Published;
use serde_json::json;
use tonic::Code;

/// The network that the plugins serve in these tests.
const NETWORK: &str = "net";

/// A pod that an earlier agent put on the wire.
async fn wired(node: &Published, container: &str, address: &str) {
    let (network, eni) = (&node.network, &node.eni);
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
    let node = Published::new().await;
    // Of one the runtime's result is left, of the other its device.
    keep(&directory.path().join("results"), "by-result", "10.0.1.10");
    wired(&node, "by-device", "10.0.1.11").await;
    let agent = node.start(directory.path(), |config| {
        config.service.cooldown = Duration::ZERO;
        config.results = ["not-there", "results"]
            .map(|name| directory.path().join(name))
            .into();
    });
    let endpoint = Endpoint::Unix(directory.path().join("agent.sock"));
    eventually("the socket is there", || {
        directory.path().join("agent.sock").exists()
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
    soon(agent.stop()).await;
}
