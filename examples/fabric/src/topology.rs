//! The VPC's plan: three subnets in two zones, and which node is where. Values only.

use std::net::{IpAddr, Ipv4Addr};

use eni_core::model::{InstanceId, Limits, NodeName, SubnetId, Zone};
use ipnet::{IpNet, Ipv4Net};

/// What one instance carries: 8 ENIs of 30 addresses each, as a large instance of Tencent Cloud does.
pub const LIMITS: Limits = Limits {
    enis: 8,
    addresses_per_eni: 30,
};

/// A subnet of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetPlan {
    /// Its id.
    pub id: SubnetId,
    /// Its zone.
    pub zone: Zone,
    /// Its range.
    pub cidr: Ipv4Net,
}

impl SubnetPlan {
    /// The router's address: the first usable one, as in the memory cloud.
    pub fn gateway(&self) -> Ipv4Addr {
        self.cidr.hosts().next().unwrap_or(self.cidr.network())
    }

    /// The range in either family's type.
    pub fn range(&self) -> IpNet {
        self.cidr.into()
    }
}

/// A node of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's name.
    pub name: NodeName,
    /// The instance behind it.
    pub instance: InstanceId,
    /// The subnet of its primary ENI.
    pub subnet: SubnetPlan,
}

/// The VPC's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The subnets; pods get addresses of those in their node's zone.
    pub subnets: Vec<SubnetPlan>,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
}

impl Topology {
    /// Subnets `a` and `c` in the first zone, `b` in the second, 4,094 addresses each; nodes take turns
    /// in `a` and `b`, so that pods meet within a subnet, across subnets and across zones.
    pub fn new(nodes: u32) -> Self {
        let subnets: Vec<SubnetPlan> = [("a", 1), ("b", 2), ("c", 1)]
            .into_iter()
            .enumerate()
            .map(|(index, (id, zone))| SubnetPlan {
                id: SubnetId::from(format!("subnet-{id}")),
                zone: Zone::from(format!("zone-{zone}")),
                cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 40, index as u8 * 16, 0), 20),
            })
            .collect();
        let nodes = (1..=nodes)
            .map(|number| NodePlan {
                name: NodeName::from(format!("node-{number}")),
                instance: InstanceId::from(format!("ins-{number:08x}")),
                subnet: subnets[(number as usize - 1) % 2].clone(),
            })
            .collect();
        Self { subnets, nodes }
    }

    /// The routers' addresses.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.subnets.iter().map(|subnet| subnet.gateway().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_alternate_between_the_zones() {
        let topology = Topology::new(3);
        let places: Vec<_> = topology
            .nodes
            .iter()
            .map(|node| node.subnet.zone.as_str())
            .collect();
        assert_eq!(places, ["zone-1", "zone-2", "zone-1"]);
        assert_eq!(topology.subnets[2].zone, topology.subnets[0].zone);
    }

    #[test]
    fn subnets_do_not_overlap() {
        let topology = Topology::new(1);
        for (index, one) in topology.subnets.iter().enumerate() {
            for other in &topology.subnets[index + 1..] {
                assert!(!one.cidr.contains(&other.cidr) && !other.cidr.contains(&one.cidr));
            }
            assert!(one.cidr.contains(&one.gateway()));
        }
    }
}
