//! The whole system: real agents, the real ipamd, the real plugins.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use clap::Parser;
use eni_core::sim::Latency;
use fabric::{topology::Topology, vpc::Vpc};
use libtest_mimic::Failed;
use playground::{
    leaks::Baseline,
    options::Cli,
    ping::{Endpoint, ping},
    play::Play,
    progress::Progress,
    system::System,
};

use crate::{capture::Capture, harness::eventually};

pub(crate) async fn run(directory: PathBuf, plugins: Result<PathBuf, String>) -> Result<(), Failed> {
    let options = Cli::parse_from([
        "playground",
        "--nodes",
        "2",
        "--pods",
        "12",
        "--churn",
        "2",
        "--seed",
        "7",
        "--cloud",
        "tencent-sim",
    ])
    .options;
    let mut progress = Progress::new();
    let mut play = Play::begin(options, &directory, plugins?, &mut progress).await?;
    play.check(&mut progress).await;

    let (endpoints, _) = play.pinged();
    let pod_on = |node: &str| {
        let is = |endpoint: &&Endpoint| endpoint.node == node && endpoint.name != node;
        endpoints
            .iter()
            .find(is)
            .ok_or_else(|| format!("no pod on {node}"))
    };
    let (one, other) = (pod_on("node-1")?, pod_on("node-2")?);
    let nodes: Vec<&Endpoint> = endpoints
        .iter()
        .filter(|endpoint| endpoint.name == endpoint.node)
        .collect();
    let mut captures = Vec::new();
    for node in &nodes {
        captures.push((&node.netns, Capture::start(&node.netns).await?));
    }
    assert_eq!(
        ping(&one.netns, vec![other.address]).await?,
        [Ipv4Addr::UNSPECIFIED; 0]
    );
    for (node, capture) in captures {
        capture.avoided_eth0(node, one.address, other.address)?;
    }

    let report = play.finish(&mut progress).await;
    assert!(report.ok, "{report}");
    assert_eq!((report.pods_ready, report.pings_ok), (12, 14 * 13));
    assert!(report.pods_replaced > 0, "the churn replaced nothing");
    assert_eq!(report.add_ms.count, 12 + report.pods_replaced);
    assert_eq!(report.del_ms.count, report.add_ms.count);
    Ok(())
}

/// The drain's proof is worth something only if it sees what is there.
pub(crate) async fn leaks_are_named(directory: PathBuf) -> Result<(), Failed> {
    let vpc = Vpc::build(&directory, Topology::new(1), Latency::default()).await?;
    let before = Baseline::take(&vpc.nodes)?;
    let system = System::start(&vpc, Arc::new(vpc.cloud.clone()))?;
    let named = || async {
        let leaks = before.leaks(&vpc, &system).await;
        let starts = [
            "node-1: link eth1 ",
            "node-1: IPv4 rule ",
            "node-1: IPv4 route default in table 4",
        ];
        let elsewhere = [
            "cloud: eni-00000002 ",
            "cluster: VpcENI ",
            "cluster: NodeENIConfig node-1 ",
        ];
        starts
            .iter()
            .chain(&elsewhere)
            .all(|start| leaks.iter().any(|leak| leak.starts_with(start)))
    };
    eventually("every kind of leak is named", named).await?;
    assert_eq!(system.stop().await, [""; 0]);
    Ok(())
}
