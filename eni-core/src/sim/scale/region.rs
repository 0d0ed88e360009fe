//! The cloud and the cluster that everything happens in.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{Scale, calls::Meter};
use crate::{
    model::{InstanceId, Node, NodeName, SubnetId, Zone},
    sim::{Latency, MemoryCloud, MemoryCluster, MemoryFabric, SimEnvironment},
};

const ZONES: u32 = 2;
/// What a /16 has for ENIs and pods.
const LARGEST: u32 = 65_533;

/// How long the cloud takes, in the order of magnitude of a real one.
const LATENCY: Latency = Latency {
    call: Duration::from_millis(50),
    create: Duration::from_millis(500),
    attach: Duration::from_millis(1500),
    detach: Duration::from_millis(1000),
    delete: Duration::from_millis(200),
    assign: Duration::from_millis(500),
    unassign: Duration::from_millis(500),
};

/// The cloud and the cluster.
pub(super) struct Region {
    pub(super) cloud: MemoryCloud,
    pub(super) fabric: Arc<MemoryFabric>,
    pub(super) cluster: MemoryCluster,
    pub(super) environment: Arc<SimEnvironment>,
    pub(super) calls: Arc<Mutex<Meter>>,
    /// The subnets for pods.
    pub(super) subnets: Vec<SubnetId>,
}

impl Region {
    /// Instances and node objects, and nothing on them. The subnets have half as much again as is needed, or
    /// somewhat more: less than could be granted to all nodes. Each zone has two of them at least.
    pub(super) fn new(scale: &Scale) -> Self {
        let fabric = Arc::new(MemoryFabric::new());
        let mut builder = MemoryCloud::builder().latency(LATENCY).fabric(fabric.clone());
        let (mut subnets, mut range) = (Vec::new(), 0..256);
        let mut cidr = |length: u32| {
            let second = range.next().expect("the run fits into 10.0.0.0/8");
            let cidr = format!("10.{second}.0.0/{length}");
            cidr.parse().expect("it is a range")
        };
        let per_node = scale.most_pods() + scale.warm.max + scale.limits.secondary_enis();
        let wanted = scale.nodes.div_ceil(ZONES) * per_node * 3 / 2;
        let count = wanted.div_ceil(LARGEST).max(2);
        // Three addresses of each are nobody's.
        let length = (wanted.div_ceil(count) + 3).next_power_of_two().leading_zeros() + 1;
        for zone in 0..ZONES {
            builder = builder.subnet(machines(zone), name(zone), cidr(16));
            for number in 0..count {
                let subnet = SubnetId::from(format!("subnet-{zone}-{number}"));
                builder = builder.subnet(subnet.clone(), name(zone), cidr(length));
                subnets.push(subnet);
            }
        }
        let cluster = MemoryCluster::new();
        for number in 0..scale.nodes {
            let zone = number % ZONES;
            builder = builder.instance(instance(number), machines(zone), scale.limits);
            cluster.put_node(Node {
                name: node(number),
                uid: format!("uid-of-{}", node(number)).into(),
                instance: Some(instance(number)),
                zone: Some(name(zone)),
                max_pods: scale.max_pods,
                silent: None,
            });
        }
        let cloud = builder.build();
        Self {
            calls: Meter::before(&cloud),
            cloud,
            fabric,
            cluster,
            environment: Arc::new(SimEnvironment::new(scale.seed)),
            subnets,
        }
    }
}

/// The name of a node.
pub(super) fn node(number: u32) -> NodeName {
    format!("node-{number}").into()
}

/// The instance of a node.
pub(super) fn instance(number: u32) -> InstanceId {
    format!("ins-{number}").into()
}

fn name(zone: u32) -> Zone {
    format!("zone-{zone}").into()
}

fn machines(zone: u32) -> SubnetId {
    format!("subnet-machines-{zone}").into()
}
