//! What there is: ranges of addresses, and machines with interfaces.

use std::{collections::BTreeSet, net::Ipv4Addr};

use eni_core::model::{InstanceId, Limits, Mac, SubnetId, Zone};
use ipnet::Ipv4Net;
use serde::Deserialize;

/// What there is. It may grow between two starts; what ports hold of it must stay.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Networks and their free addresses.
    pub ranges: Vec<Range>,
    /// The machines.
    pub machines: Vec<Machine>,
    /// Addresses that one interface may bear, its own included.
    pub addresses_per_interface: u32,
}

/// A network, and the addresses in it that are ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// Its name.
    pub id: SubnetId,
    /// Where it reaches: its addresses work on machines of this zone.
    pub zone: Zone,
    /// The network.
    pub cidr: Ipv4Net,
    /// Its router.
    pub gateway: Ipv4Addr,
    /// The addresses that ports may have.
    pub addresses: Vec<Ipv4Net>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Machine {
    /// Its name.
    pub id: InstanceId,
    /// Where it stands.
    pub zone: Zone,
    /// The network of its own interface, and the interface.
    pub subnet: SubnetId,
    /// Its own address.
    pub address: Ipv4Addr,
    /// The MAC of its own interface.
    pub mac: Mac,
    /// The MACs of its spare ones.
    pub spare: Vec<Mac>,
}

/// Why a plan is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Something is there twice.
    #[error("`{0}` is there twice; every name, MAC and address is one's own")]
    Twice(String),
    /// An address lies outside its network.
    #[error("`{address}` is not in {cidr}, the network of `{id}`; correct either")]
    Outside {
        /// The address or range.
        address: String,
        /// The network.
        cidr: Ipv4Net,
        /// The range's name.
        id: SubnetId,
    },
    /// A machine is in a network that is not there.
    #[error("`{machine}` is in `{subnet}`, which is not among the ranges; add it")]
    NoRange {
        /// The machine.
        machine: InstanceId,
        /// The network.
        subnet: SubnetId,
    },
}

impl Plan {
    /// Whether it contradicts itself.
    pub fn check(&self) -> Result<(), PlanError> {
        let mut names = BTreeSet::new();
        let mut once = |name: String| match names.insert(name.clone()) {
            true => Ok(()),
            false => Err(PlanError::Twice(name)),
        };
        for range in &self.ranges {
            once(range.id.to_string())?;
            let inside = |address: String, inside: bool| match inside {
                true => Ok(()),
                false => Err(PlanError::Outside {
                    address,
                    cidr: range.cidr,
                    id: range.id.clone(),
                }),
            };
            inside(range.gateway.to_string(), range.cidr.contains(&range.gateway))?;
            for part in &range.addresses {
                inside(part.to_string(), range.cidr.contains(part))?;
            }
            for address in range.free() {
                once(address.to_string())?;
            }
        }
        for machine in &self.machines {
            once(machine.id.to_string())?;
            once(machine.address.to_string())?;
            for mac in machine.spare.iter().chain([&machine.mac]) {
                once(mac.to_string())?;
            }
            if self.range(&machine.subnet).is_none() {
                return Err(PlanError::NoRange {
                    machine: machine.id.clone(),
                    subnet: machine.subnet.clone(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn range(&self, id: &SubnetId) -> Option<&Range> {
        self.ranges.iter().find(|range| range.id == *id)
    }

    pub(crate) fn machine(&self, id: &InstanceId) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.id == *id)
    }
}

impl Range {
    /// The addresses that ports may have, in order.
    pub(crate) fn free(&self) -> impl Iterator<Item = Ipv4Addr> {
        let all = self
            .addresses
            .iter()
            .flat_map(|part| part.network().into()..=part.broadcast().into());
        all.map(|bits: u32| Ipv4Addr::from(bits))
    }
}

impl Machine {
    pub(crate) fn limits(&self, addresses_per_eni: u32) -> Limits {
        Limits {
            enis: 1 + u32::try_from(self.spare.len()).unwrap_or(u32::MAX - 1),
            addresses_per_eni,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(change: impl FnOnce(&mut Value)) -> Result<(), PlanError> {
        let mut plan = json!({
            "ranges": [{
                "id": "rack-1", "zone": "row-a", "cidr": "10.9.0.0/24", "gateway": "10.9.0.1",
                "addresses": ["10.9.0.32/28"],
            }],
            "machines": [{
                "id": "m-1", "zone": "row-a", "subnet": "rack-1", "address": "10.9.0.11",
                "mac": "02:00:00:00:00:01", "spare": ["02:00:00:00:00:02"],
            }],
            "addressesPerInterface": 8,
        });
        change(&mut plan);
        serde_json::from_value::<Plan>(plan).unwrap().check()
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        assert_eq!(check(|_| {}), Ok(()));
        let twice = check(|plan| plan["machines"][0]["address"] = json!("10.9.0.40"));
        assert_eq!(twice, Err(PlanError::Twice("10.9.0.40".to_owned())));
        let outside = check(|plan| plan["ranges"][0]["addresses"] = json!(["10.9.1.0/28"]));
        assert!(matches!(outside, Err(PlanError::Outside { .. })), "{outside:?}");
        let lost = check(|plan| plan["machines"][0]["subnet"] = json!("rack-2"));
        assert!(matches!(lost, Err(PlanError::NoRange { .. })), "{lost:?}");
    }
}
