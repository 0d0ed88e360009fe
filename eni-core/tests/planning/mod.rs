//! The pool plan of one node: exact actions for exact views.

mod claims;
mod former;
mod owners;
mod steps;

use std::{collections::BTreeSet, net::IpAddr};

use eni_core::{
    controller::{Action, EniView, NodeView, Notice, Observed, Remains, depart, plan},
    model::*,
};

const ME: &str = "ins-1";

fn view() -> NodeView {
    let node = Node {
        name: "node-1".into(),
        uid: "uid-1".into(),
        instance: Some(ME.into()),
        zone: Some("zone-1".into()),
        max_pods: None,
        silent: None,
    };
    let spec = NodeSpec {
        instance: ME.into(),
        node_uid: "uid-1".into(),
        zone: "zone-1".into(),
        warm: None,
        limits: None,
    };
    NodeView {
        config: Some(NodeConfig {
            name: node.name.clone(),
            spec,
            pool: NodePool {
                enis: vec![],
                maximum: 2,
                capacity: 27,
                granted: 0,
                by_claim: false,
            },
            agent: AgentReport::default(),
        }),
        node,
        demand: 0,
        enis: vec![],
        limits: Limits {
            enis: 4,
            addresses_per_eni: 10,
        },
        subnets: vec![subnet("subnet-a", 200), subnet("subnet-b", 100)],
        warm: WarmRange { min: 2, max: 2 },
        gone: BTreeSet::new(),
        granted: None,
        claims: None,
    }
}

fn subnet(id: &str, free: u32) -> Subnet {
    Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        zone: "zone-1".into(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: "10.0.0.1".parse().unwrap(),
        free,
    }
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn record(name: &str, secondary: u32) -> EniRecord {
    EniRecord {
        name: name.into(),
        token: "token".into(),
        node: "node-1".into(),
        instance: ME.into(),
        subnet: "subnet-a".into(),
        secondary,
        intent: Intent::Attached,
        id: Some(format!("eni-{name}").into()),
    }
}

/// An attached ENI with its own address 10.0.0.`base` and `count` more after it.
fn attached(name: &str, base: u8, count: u8) -> (EniRecord, EniView) {
    let address = |n: u8| EniAddress {
        ip: ip(base + n),
        primary: n == 0,
        ready: true,
    };
    let eni = Eni {
        id: format!("eni-{name}").into(),
        name: name.into(),
        mac: Mac([2, 0, 0, 0, 0, base]),
        kind: EniKind::Secondary,
        state: EniState::InUse,
        subnet: "subnet-a".into(),
        zone: "zone-1".into(),
        instance: Some(ME.into()),
        addresses: (0..=count).map(address).collect(),
        security_groups: vec![],
        tags: Default::default(),
    };
    let observed = Observed {
        eni,
        unassigning: BTreeSet::new(),
        vanished: BTreeSet::new(),
        settled: true,
        confirmed: true,
    };
    (record(name, count.into()), EniView::Known(Box::new(observed)))
}

fn actions(view: &NodeView) -> Vec<Action> {
    let mut bits = 0;
    plan(view, &mut || {
        bits += 1;
        bits
    })
    .actions
}

/// Carries out every publication, as the controller would.
fn settle(view: &mut NodeView) {
    for action in actions(view) {
        if let Action::Publish(pool) = action {
            view.config.as_mut().unwrap().pool = pool;
        }
    }
}

fn known(view: &mut NodeView, place: usize) -> &mut Observed {
    match &mut view.enis[place].1 {
        EniView::Known(observed) => observed,
        other => panic!("{other:?}"),
    }
}
