//! What can be seen of a system that is up.

use std::{collections::BTreeSet, path::Path};

use fabric::{isolate::Isolated, nodes::Node, vpc::Vpc};

use crate::{ping::Endpoint, pods::Pods, report::NodeReport, stats::Percentiles, system::System};

/// What each node has.
pub async fn nodes(vpc: &Vpc, system: &System, pods: &Pods) -> Vec<NodeReport> {
    let adds = pods.measured().adds;
    let mut nodes = Vec::new();
    for (position, node) in vpc.nodes.iter().enumerate() {
        let config = system.node_config(node).await;
        let pool = config.map(|config| config.pool).unwrap_or_default();
        let mut used = 0;
        pods.for_each(|_, pod| used += usize::from(pod.host == position));
        let bound = pool.attached();
        let here = adds.iter().filter(|(host, _)| *host == position);
        nodes.push(NodeReport {
            node: node.plan.name.to_string(),
            zone: node.plan.subnet.zone.to_string(),
            address: node.address.to_string(),
            enis: pool.enis.len(),
            capacity: pool.capacity as usize,
            bound,
            used,
            idle: bound.saturating_sub(used),
            add_ms: Percentiles::of(here.map(|(_, took)| *took)),
        });
    }
    nodes
}

/// Addresses that two have at once, now or at any time before.
pub fn duplicates(vpc: &Vpc, pods: &Pods) -> Vec<String> {
    let mut seen: BTreeSet<_> = vpc.nodes.iter().map(|node| node.address).collect();
    let mut twice = pods.measured().duplicates;
    pods.for_each(|key, pod| {
        if !seen.insert(pod.address) {
            twice.push(format!("{key} has {}, and so has another", pod.address));
        }
    });
    twice
}

/// Every node and every pod.
pub fn endpoints(vpc: &Vpc, pods: &Pods) -> Vec<Endpoint> {
    let node = |node: &Node| Endpoint {
        name: node.plan.name.to_string(),
        node: node.plan.name.to_string(),
        netns: node.netns().to_owned(),
        address: node.address,
    };
    let mut endpoints: Vec<Endpoint> = vpc.nodes.iter().map(node).collect();
    pods.for_each(|key, pod| {
        endpoints.push(Endpoint {
            name: key.name.to_string(),
            node: vpc.nodes[pod.host].plan.name.to_string(),
            netns: pod.netns.clone(),
            address: pod.address,
        });
    });
    endpoints
}

/// How to look around.
pub fn guide(vpc: &Vpc, pods: &Pods, isolated: Isolated) -> String {
    let user = match isolated {
        Isolated::AsRoot => "",
        Isolated::AsUser => " --user --preserve-credentials",
    };
    let enter = format!("nsenter --target {}{user} --mount", std::process::id());
    let example = |what: &str, netns: &Path, command: &str| {
        format!(
            "  {what:<10} {enter} nsenter --net={} {command}\n",
            netns.display()
        )
    };
    let mut guide = "everything is up; Ctrl-C takes it down again. To look around:\n".to_owned();
    guide += &example("the router", vpc.fabric.router(), "ip route");
    for node in &vpc.nodes {
        guide += &example(node.plan.name.as_str(), node.netns(), "ip rule");
    }
    let mut first = None;
    pods.for_each(|key, pod| {
        first.get_or_insert_with(|| example(&key.name, &pod.netns, "ip address"));
    });
    guide + &first.unwrap_or_default()
}
