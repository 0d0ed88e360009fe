//! A large cluster as objects: what ipamd takes of time, memory and requests. There are no kubelets and no agents.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use eni_core::{
    model::Limits,
    sim::{Latency, MemoryCloud},
};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    bed::{self, Bed, NODE_CONFIGS, NODES, PODS},
    leads,
    replica::Replica,
    tencent::Tencent,
};

const NODE_COUNT: usize = 2_000;
const PODS_EACH: usize = 5;
/// The default of `--ip-min-warm-target`.
const WARM: usize = 5;

/// Far above what it takes; what exceeds it hangs.
const LIMIT: Duration = Duration::from_secs(1_500);
const LOOK: Duration = Duration::from_secs(5);
/// How long a cluster at rest is looked at.
const REST: Duration = Duration::from_secs(60);

/// Writes by which an object store is changed.
const WRITES: [&str; 4] = ["create", "update", "patch", "delete"];

pub async fn two_thousand_nodes_and_ten_thousand_pods_come_to_rest(bed: Arc<Bed>) {
    let begun = Instant::now();
    let nodes: Vec<String> = (1..=NODE_COUNT)
        .map(|number| format!("node-{number:08}"))
        .collect();
    let pods = nodes.iter().flat_map(|node| {
        let pod = move |number| (PODS, bed::pod(&format!("pod-{number}-of-{node}"), node));
        (0..PODS_EACH).map(pod)
    });
    let objects = nodes.iter().map(|node| (NODES, bed::node(node))).chain(pods);
    let put = stream::iter(objects).for_each_concurrent(32, |(path, object)| bed.put(path, object));
    put.await;
    println!(
        "{} objects made in {:.0} s",
        NODE_COUNT * (1 + PODS_EACH),
        begun.elapsed().as_secs_f64()
    );

    let tencent = Tencent::over(&bed, cloud(&nodes)).await;
    let begun = Instant::now();
    let ipamd = Replica::start(&bed, &tencent.flags()).await;
    leads(&ipamd).await;
    let wanted = (PODS_EACH + WARM) * NODE_COUNT;
    loop {
        sleep(LOOK).await;
        let seconds = begun.elapsed().as_secs();
        let bound = tencent.bound();
        let left =
            ["ipamd_nodes_due", "ipamd_nodes_busy", "ipamd_enis_in_flight"].map(|name| ipamd.metric(name));
        let [due, busy, orders] = futures::future::join_all(left).await[..] else {
            unreachable!("three were asked for");
        };
        println!(
            "{seconds:4} s  {bound} addresses bound; {due:?} nodes due, {busy:?} busy, {orders:?} ENIs in flight"
        );
        if bound == wanted && [due, busy, orders] == [Some(0.0); 3] {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "it does not come to rest");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let published = bed.list(NODE_CONFIGS).await;
    let full = |config: &&Value| config["status"]["addressCount"] == PODS_EACH + WARM;
    assert_eq!(published.iter().filter(full).count(), NODE_COUNT);

    let asked = bed.asked().await.len();
    sleep(REST).await;
    let all = bed.asked().await;
    let at_rest: Vec<&Value> = all[asked..].iter().collect();
    let written = at_rest.iter().filter(|event| writes(event)).count();
    let calls = cloud_calls(&ipamd).await;
    let memory = peak_memory(ipamd.id());
    println!("ready            {seconds:.0} s after its start, {NODE_COUNT} nodes, {wanted} addresses");
    println!("memory           {memory} MiB at most");
    println!(
        "API server       {asked} requests, {:.1} a node: {}",
        asked as f64 / NODE_COUNT as f64,
        by_verb(&all[..asked])
    );
    println!(
        "API server       {written} writes of {} requests in a minute at rest: {}",
        at_rest.len(),
        by_verb(at_rest)
    );
    println!(
        "cloud            {} calls, {:.1} a node: {calls:?}",
        calls.values().sum::<u64>(),
        calls.values().sum::<u64>() as f64 / NODE_COUNT as f64
    );
    // Its lease, every few seconds, and nothing else.
    assert!(written < 60, "a cluster at rest is written to: {written}");
}

fn cloud(nodes: &[String]) -> MemoryCloud {
    let limits = Limits {
        enis: 4,
        addresses_per_eni: 20,
    };
    let range = "10.0.0.0/16".parse().expect("a range");
    let mut builder = MemoryCloud::builder()
        .subnet("subnet-aaaaaaaa", "zone-1", range)
        .latency(Latency::orders(Duration::from_millis(500)));
    for node in nodes {
        builder = builder.instance(node.replace("node-", "ins-"), "subnet-aaaaaaaa", limits);
    }
    builder.build()
}

fn writes(event: &Value) -> bool {
    event["verb"].as_str().is_some_and(|verb| WRITES.contains(&verb))
}

/// Requests by verb and kind.
fn by_verb<'a>(events: impl IntoIterator<Item = &'a Value>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in events {
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let key = format!(
            "{} {}",
            text(&event["verb"]),
            text(&event["objectRef"]["resource"])
        );
        *counts.entry(key).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(key, count)| format!("{count} {key}"))
        .collect();
    counts.join(", ")
}

/// Requests to Tencent's API, by action.
async fn cloud_calls(ipamd: &Replica) -> BTreeMap<String, u64> {
    let (_, text) = ipamd.get("/metrics").await;
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("ipamd_cloud_requests_total{action=\""));
    let calls = lines.filter_map(|line| {
        let (action, count) = line.split_once("\"} ")?;
        Some((action.to_owned(), count.parse().ok()?))
    });
    calls.collect()
}

/// The most memory that a process ever had, in MiB (proc(5): VmHWM).
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux has it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}
