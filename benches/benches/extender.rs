//! What a scheduler waits for: filtering 5,000 nodes for one pod.
//!
//! A look-up per node and nothing per pod, so that it costs the same with 1,000 and with 100,000 addresses in use (what
//! differs is how much of the book is in the processor's cache). Beside it, apart, what the protocol costs: names are
//! read and written as they are; of whole nodes (13 kB each, as of a node with forty images) the bytes are walked once
//! to find where each ends, and copied once for the answer. That walk bounds it.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eni_core::{
    model::{NodeName, Pod, PodKey, PodPhase, Uid},
    predicate::{Predicate, Room, Rooms},
};
use eni_kube::extender::{Args, Filtered};

const NODES: u32 = 5_000;

fn extender(criterion: &mut Criterion) {
    let names: Vec<String> = (0..NODES).map(|number| format!("node-{number:05}")).collect();
    let nodes: Vec<NodeName> = names.iter().map(|name| name.as_str().into()).collect();
    let mut group = criterion.benchmark_group("filter 5,000 nodes");
    for pods in [1_000, 100_000] {
        let rooms = rooms(&nodes, pods);
        let pod = pod("asked", None);
        group.bench_function(BenchmarkId::new("book", pods), |bencher| {
            bencher.iter(|| {
                nodes
                    .iter()
                    .filter(|node| rooms.filter(&pod, node).is_ok())
                    .count()
            });
        });
        let request = request(&format!(r#""Nodes":null,"NodeNames":{}"#, json(&names)));
        group.bench_function(BenchmarkId::new("names, JSON in and out", pods), |bencher| {
            bencher.iter(|| answer(&rooms, &request));
        });
    }
    group.finish();

    let rooms = rooms(&nodes, 1_000);
    let whole: Vec<String> = names.iter().map(|name| node(name)).collect();
    let request = request(&format!(
        r#""Nodes":{{"metadata":{{}},"items":[{}]}}"#,
        whole.join(",")
    ));
    let mut group = criterion.benchmark_group("filter 5,000 whole nodes");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("JSON in and out", |bencher| {
        bencher.iter(|| answer(&rooms, &request))
    });
    // What any server does that hands them on: the least that there is.
    group.bench_function("yardstick: a copy of the bytes", |bencher| {
        bencher.iter(|| black_box(request.as_bytes()).to_vec());
    });
    group.finish();
}

/// Reads a request, filters, and writes the answer.
fn answer(rooms: &Rooms, request: &str) -> Vec<u8> {
    let args = Args::read(request.as_bytes()).expect("a request");
    let pod = args.pod().expect("a pod");
    let candidates = args.into_candidates().expect("nodes");
    let filtered = Filtered::by(candidates, |node| {
        rooms
            .filter(&pod, &node.into())
            .map_err(|misfit| (misfit.detail, misfit.preemption_helps))
    });
    serde_json::to_vec(&filtered).expect("an answer")
}

/// Nodes that may have thirty addresses each, so many of which are in use altogether.
fn rooms(nodes: &[NodeName], pods: usize) -> Rooms {
    let room = Room {
        granted: 30,
        capacity: 57,
        attached: 25,
        subnets: vec!["subnet-a".into()],
        zone: None,
    };
    let mut rooms = Rooms::default();
    rooms.set_nodes(nodes.iter().map(|node| (node.clone(), room.clone())).collect());
    for number in 0..pods {
        let node = nodes[number % nodes.len()].clone();
        rooms.set_pod(&pod(&format!("{number:036}"), Some(node)));
    }
    rooms
}

fn pod(uid: &str, node: Option<NodeName>) -> Pod {
    Pod {
        key: PodKey::new("default", uid),
        uid: Uid::from(uid),
        node,
        host_network: false,
        phase: PodPhase::Running,
        claim: Ok(Default::default()),
        workload: None,
    }
}

fn request(nodes: &str) -> String {
    let pod = r#"{"metadata":{"name":"web-0","namespace":"shop","uid":"u-1","creationTimestamp":null},"spec":{"containers":null},"status":{}}"#;
    format!(r#"{{"Pod":{pod},{nodes}}}"#)
}

/// A node as Go writes it, with what makes real ones long.
fn node(name: &str) -> String {
    let images: Vec<String> = (0..40)
        .map(|number| {
            format!(
                r#"{{"names":["registry.example.com/team/service-{number}@sha256:{number:064}","registry.example.com/team/service-{number}:1.{number}.0"],"sizeBytes":{number}00000000}}"#
            )
        })
        .collect();
    let conditions = r#"{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-25T10:00:00Z","lastTransitionTime":"2026-11-25T09:00:00Z","reason":"KubeletReady","message":"kubelet is posting ready status"}"#;
    let conditions = [conditions; 20].join(",");
    format!(
        r#"{{"metadata":{{"name":"{name}","uid":"00000000-0000-0000-0000-000000000000","labels":{{"kubernetes.io/hostname":"{name}"}}}},"spec":{{"providerID":"qcloud:///100001/ins-{name}"}},"status":{{"capacity":{{"cpu":"16"}},"conditions":[{conditions}],"images":[{}]}}}}"#,
        images.join(",")
    )
}

fn json(names: &[String]) -> String {
    serde_json::to_string(names).expect("names")
}

criterion_group!(benches, extender);
criterion_main!(benches);
