//! The plan of one node at rest, whose seven ENIs carry 203 addresses, and of 5,000 such nodes: what ipamd computes
//! when every node is looked at.
//!
//! A plan compares the node's shared object with what the cloud has, address by address, and builds the object that
//! should be there; it is bound by the memory that this takes. By claim each address is looked up with its claim as
//! well. The yardstick is a copy of the view that a plan is made from.

use std::{collections::BTreeSet, hint::black_box, net::IpAddr};

use criterion::{Criterion, criterion_group, criterion_main};
use eni_core::{
    controller::{Action, ClaimView, EniView, NodeView, Observed, plan},
    model::{
        AgentReport, Claim, ClaimPhase, ClaimRequest, Eni, EniAddress, EniKind, EniRecord, EniState, Intent,
        Limits, Node, NodeConfig, NodePool, NodeSpec, PodKey, PoolEni, Subnet, WarmRange,
    },
};

const ADDRESSES: u32 = 203;
const NODES: usize = 5_000;

fn planner(criterion: &mut Criterion) {
    let pool = at_rest(view());
    let claims = at_rest(by_claim(view()));
    let mut group = criterion.benchmark_group("plan");
    for (name, view) in [("pool", &pool), ("by claim", &claims)] {
        group.bench_function(format!("one node, {name}"), |bencher| {
            bencher.iter(|| black_box(plan(black_box(view), &mut || 1)));
        });
    }
    group.bench_function("yardstick: a copy of the view", |bencher| {
        bencher.iter(|| black_box(black_box(&pool).clone()));
    });
    group.sample_size(10);
    group.bench_function("5,000 nodes, pool", |bencher| {
        bencher.iter(|| {
            for _ in 0..NODES {
                black_box(plan(black_box(&pool), &mut || 1));
            }
        });
    });
    group.finish();
}

/// With everything published as it should be: a plan finds nothing to do.
fn at_rest(mut view: NodeView) -> NodeView {
    let planned = plan(&view, &mut || 1);
    for action in planned.actions {
        if let (Action::Publish(pool), Some(config)) = (action, &mut view.config) {
            config.pool = pool;
        }
    }
    let left = plan(&view, &mut || 1).actions;
    assert!(left.is_empty(), "{left:?}");
    view
}

fn view() -> NodeView {
    let published = benches::pool(ADDRESSES).enis;
    let node = Node {
        name: "node-1".into(),
        uid: "uid-1".into(),
        instance: Some("ins-1".into()),
        zone: Some("zone-1".into()),
        max_pods: None,
        silent: None,
    };
    let limits = Limits {
        enis: 8,
        addresses_per_eni: 30,
    };
    NodeView {
        config: Some(NodeConfig {
            name: node.name.clone(),
            spec: NodeSpec {
                instance: "ins-1".into(),
                node_uid: "uid-1".into(),
                zone: "zone-1".into(),
                warm: None,
                limits: Some(limits),
            },
            pool: NodePool {
                capacity: ADDRESSES,
                ..NodePool::default()
            },
            agent: AgentReport::default(),
        }),
        node,
        demand: ADDRESSES - 5,
        enis: published.iter().map(eni).collect(),
        limits,
        subnets: vec![Subnet {
            id: "subnet-1".into(),
            vpc: "vpc-1".into(),
            zone: "zone-1".into(),
            cidr: published[0].cidr,
            gateway: published[0].gateway,
            free: 10_000,
        }],
        warm: WarmRange::default(),
        gone: BTreeSet::new(),
        granted: None,
        claims: None,
    }
}

fn eni(published: &PoolEni) -> (EniRecord, EniView) {
    let address = |ip: IpAddr, primary| EniAddress {
        ip,
        primary,
        ready: true,
    };
    let secondary = published.attached.iter().map(|entry| address(entry.ip, false));
    let eni = Eni {
        id: published.id.clone(),
        name: published.id.to_string(),
        mac: published.mac,
        kind: EniKind::Secondary,
        state: EniState::InUse,
        subnet: published.subnet.clone(),
        zone: "zone-1".into(),
        instance: Some("ins-1".into()),
        addresses: [address(published.primary, true)]
            .into_iter()
            .chain(secondary)
            .collect(),
        security_groups: Vec::new(),
        tags: Default::default(),
    };
    let record = EniRecord {
        name: eni.name.clone(),
        token: String::new(),
        node: "node-1".into(),
        instance: "ins-1".into(),
        subnet: eni.subnet.clone(),
        secondary: 29,
        intent: Intent::Attached,
        id: Some(eni.id.clone()),
    };
    let observed = Observed {
        eni,
        unassigning: BTreeSet::new(),
        vanished: BTreeSet::new(),
        settled: true,
        confirmed: true,
    };
    (record, EniView::Known(Box::new(observed)))
}

/// The same where every address is a living pod's.
fn by_claim(view: NodeView) -> NodeView {
    let enis = view.enis.iter().filter_map(|(_, eni)| match eni {
        EniView::Known(known) => Some(&known.eni),
        _ => None,
    });
    let addresses = enis.flat_map(Eni::secondary_addresses).map(|address| address.ip);
    let holder = |(number, ip): (usize, IpAddr)| {
        let uid = format!("0b5e4a9e-5a2c-4d5f-8f65-{number:012}");
        let key = PodKey::new("default", format!("web-{number}"));
        let claim = Claim {
            addresses: ip.into(),
            node: Some("node-1".into()),
            phase: ClaimPhase::Assigned,
            ..Claim::new(key, uid.into(), ClaimRequest::default())
        };
        (ip, (claim, true))
    };
    let claims = ClaimView {
        holders: addresses.enumerate().map(holder).collect(),
        migrates: true,
        ..ClaimView::default()
    };
    NodeView {
        claims: Some(claims),
        ..view
    }
}

criterion_group!(benches, planner);
criterion_main!(benches);
