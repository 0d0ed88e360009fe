//! What a cloud consists of at first, as a file says it.

use std::time::Duration;

use eni_core::{
    model::Limits,
    sim::{Latency, MemoryCloud, MemoryCloudBuilder},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::catalogue::SIZES;

/// Subnets and instances of one VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Topology {
    /// The VPC's id.
    pub vpc: String,
    /// The region of its zones.
    pub region: String,
    /// Its subnets.
    pub subnets: Vec<Range>,
    /// Its instances.
    pub instances: Vec<Place>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its IPv4 range.
    pub cidr: IpNet,
    /// Its IPv6 range, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<IpNet>,
}

/// A running instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// Its id.
    pub id: String,
    /// The subnet of its primary ENI.
    pub subnet: String,
    /// Its type, one of [`SIZES`].
    #[serde(rename = "type")]
    pub kind: String,
}

/// Why a topology makes no cloud.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Two things have the same id.
    #[error("`{0}` is there twice; give each thing an id of its own")]
    Twice(String),
    /// An id begins otherwise than the API's ids of its kind.
    #[error("`{id}` is not an id here; it must begin with `{prefix}`")]
    Id {
        /// The id.
        id: String,
        /// How ids of this kind begin.
        prefix: &'static str,
    },
    /// An instance is in a subnet that is not there.
    #[error("instance `{instance}` is in subnet `{subnet}`, which is not in the file")]
    Subnet {
        /// The instance.
        instance: String,
        /// The subnet.
        subnet: String,
    },
    /// A subnet has no address left for an instance, or a range is of the wrong family.
    #[error("subnet `{0}` has no room for its instances; give it a larger IPv4 range")]
    Room(String),
    /// An instance's type is unknown.
    #[error("instance `{instance}` is of type `{kind}`; known are {known}", known = names())]
    Type {
        /// The instance.
        instance: String,
        /// The type.
        kind: String,
    },
}

impl Default for Topology {
    /// Two zones, four subnets, and three instances.
    fn default() -> Self {
        let range = |id: &str, zone: &str, cidr: &str| Range {
            id: id.to_owned(),
            zone: zone.to_owned(),
            cidr: cidr.parse().expect("a range"),
            ipv6: None,
        };
        let place = |id: &str, subnet: &str, kind: &str| Place {
            id: id.to_owned(),
            subnet: subnet.to_owned(),
            kind: kind.to_owned(),
        };
        let (zone3, zone4) = ("ap-guangzhou-3", "ap-guangzhou-4");
        Self {
            vpc: "vpc-sim00001".to_owned(),
            region: "ap-guangzhou".to_owned(),
            subnets: vec![
                range("subnet-node3000", zone3, "10.0.0.0/24"),
                range("subnet-pods3000", zone3, "10.0.16.0/20"),
                range("subnet-node4000", zone4, "10.0.1.0/24"),
                range("subnet-pods4000", zone4, "10.0.32.0/20"),
            ],
            instances: vec![
                place("ins-sim00001", "subnet-node3000", "S5.MEDIUM4"),
                place("ins-sim00002", "subnet-node3000", "S5.2XLARGE16"),
                place("ins-sim00003", "subnet-node4000", "S5.4XLARGE32"),
            ],
        }
    }
}

impl Topology {
    /// A cloud of this, still without latencies of its own and a data plane.
    ///
    /// # Errors
    ///
    /// If the topology contradicts itself.
    pub fn builder(&self) -> Result<MemoryCloudBuilder, TopologyError> {
        self.check()?;
        let mut builder = MemoryCloud::builder().vpc(self.vpc.as_str());
        for range in &self.subnets {
            builder = builder.subnet(range.id.as_str(), range.zone.as_str(), range.cidr);
            if let Some(ipv6) = range.ipv6 {
                builder = builder.ipv6(range.id.as_str(), ipv6);
            }
        }
        for place in &self.instances {
            builder = builder.instance(place.id.as_str(), place.subnet.as_str(), place.limits()?);
        }
        Ok(builder)
    }

    /// The same cloud with orders that take this long.
    ///
    /// # Errors
    ///
    /// If the topology contradicts itself.
    pub fn cloud(&self, orders: Duration) -> Result<MemoryCloud, TopologyError> {
        Ok(self.builder()?.latency(Latency::orders(orders)).build())
    }

    fn check(&self) -> Result<(), TopologyError> {
        let subnets = self.subnets.iter().map(|range| (&range.id, "subnet-"));
        let instances = self.instances.iter().map(|place| (&place.id, "ins-"));
        let mut seen = std::collections::BTreeSet::new();
        for (id, prefix) in subnets.chain(instances).chain([(&self.vpc, "vpc-")]) {
            if !id.starts_with(prefix) {
                let id = id.clone();
                return Err(TopologyError::Id { id, prefix });
            }
            if !seen.insert(id) {
                return Err(TopologyError::Twice(id.clone()));
            }
        }
        for range in &self.subnets {
            let here = self
                .instances
                .iter()
                .filter(|place| place.subnet == range.id)
                .count();
            let bits = u32::from(range.cidr.max_prefix_len() - range.cidr.prefix_len());
            let room = 1u128.checked_shl(bits).unwrap_or(u128::MAX).saturating_sub(3);
            let families =
                range.cidr.network().is_ipv4() && range.ipv6.is_none_or(|ipv6| ipv6.network().is_ipv6());
            if !families || (here as u128) > room {
                return Err(TopologyError::Room(range.id.clone()));
            }
        }
        let known = |place: &&Place| !self.subnets.iter().any(|range| range.id == place.subnet);
        match self.instances.iter().find(known) {
            Some(place) => Err(TopologyError::Subnet {
                instance: place.id.clone(),
                subnet: place.subnet.clone(),
            }),
            None => Ok(()),
        }
    }
}

impl Place {
    /// What an instance of its type carries.
    fn limits(&self) -> Result<Limits, TopologyError> {
        let size = SIZES.iter().find(|size| size.name == self.kind);
        size.map(|size| size.limits).ok_or_else(|| TopologyError::Type {
            instance: self.id.clone(),
            kind: self.kind.clone(),
        })
    }
}

fn names() -> String {
    SIZES.iter().map(|size| size.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_usual_one_makes_a_cloud_and_reads_what_it_prints() {
        let usual = Topology::default();
        let text = serde_json::to_string(&usual).unwrap();
        assert_eq!(serde_json::from_str::<Topology>(&text).unwrap(), usual);
        let cloud = usual.cloud(Duration::ZERO).unwrap();
        assert_eq!((cloud.all_subnets().len(), cloud.all_instances().len()), (4, 3));
    }

    #[test]
    fn a_contradiction_is_an_error_and_no_panic() {
        let changed = |change: fn(&mut Topology)| {
            let mut topology = Topology::default();
            change(&mut topology);
            topology.builder().err()
        };
        let subnet = "subnet-node3000".to_owned();
        assert!(matches!(
            changed(|t| t.instances[0].subnet.clear()),
            Some(TopologyError::Subnet { .. })
        ));
        assert!(matches!(
            changed(|t| t.instances[0].kind.clear()),
            Some(TopologyError::Type { .. })
        ));
        assert!(matches!(
            changed(|t| t.instances[1].id = t.instances[0].id.clone()),
            Some(TopologyError::Twice(_))
        ));
        assert!(matches!(
            changed(|t| t.vpc = "network".to_owned()),
            Some(TopologyError::Id { .. })
        ));
        let full = changed(|t| t.subnets[0].cidr = "10.0.0.0/30".parse().unwrap());
        assert_eq!(full, Some(TopologyError::Room(subnet)));
    }
}
