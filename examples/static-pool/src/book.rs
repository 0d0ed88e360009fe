//! Who has which interface and which addresses. Pure: each entry changes the book whole, or refuses and leaves it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use eni_core::{
    cloud::{AssignAddresses, CloudError, CloudErrorKind, CloudResult, CreateEni},
    model::{
        Eni, EniAddress, EniId, EniKind, EniState, Family, InstanceId, Mac, SecurityGroupId, Subnet,
        SubnetId, VpcId,
    },
};
use serde::{Deserialize, Serialize};

use crate::plan::{Machine, Plan, Range};

/// The network has one space of addresses.
const SPACE: &str = "static";

/// The one group that every port is in: there are none.
const NO_GROUP: &str = "none";

/// All ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The number of the next port; no number is used twice.
    next: u64,
    ports: BTreeMap<EniId, Port>,
}

/// A port: addresses, and the interface that they are on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    name: String,
    tags: BTreeMap<String, String>,
    subnet: SubnetId,
    /// The first is its own.
    addresses: Vec<Ipv4Addr>,
    /// The machine, and the MAC of the interface.
    place: Option<(InstanceId, Mac)>,
}

impl Book {
    /// Every ENI: the machines' own, and the ports.
    pub(crate) fn enis(&self, plan: &Plan) -> Vec<Eni> {
        let own = plan.machines.iter().map(own);
        let ports = self.ports.iter().filter_map(|(id, port)| {
            // What is not in the plan any more is nobody's, until it is back.
            let range = plan.range(&port.subnet)?;
            Some(port.eni(id, range))
        });
        own.chain(ports).collect()
    }

    /// A network and what is free in it.
    pub(crate) fn subnet(&self, range: &Range) -> Subnet {
        Subnet {
            id: range.id.clone(),
            vpc: VpcId::from(SPACE),
            zone: range.zone.clone(),
            cidr: range.cidr.into(),
            gateway: range.gateway.into(),
            free: u32::try_from(self.free(range).count()).unwrap_or(u32::MAX),
        }
    }

    /// Makes a port.
    pub(crate) fn create(&mut self, plan: &Plan, request: &CreateEni) -> CloudResult<Eni> {
        let refuse = |kind, why| refused(kind, "create_eni", &request.name, why);
        let range = plan.range(&request.subnet);
        let range = range.ok_or_else(|| refuse(CloudErrorKind::NotFound, "there is no such range"))?;
        if request.secondary >= plan.addresses_per_interface {
            return Err(refuse(
                CloudErrorKind::Quota,
                "an interface bears fewer addresses",
            ));
        }
        let addresses = self
            .take(range, 1 + request.secondary)
            .ok_or_else(|| refuse(exhausted(range), "its addresses are used up"))?;
        let id = EniId::from(format!("port-{:08}", self.next));
        self.next += 1;
        let port = Port {
            name: request.name.clone(),
            tags: request.tags.clone(),
            subnet: range.id.clone(),
            addresses,
            place: None,
        };
        let eni = port.eni(&id, range);
        self.ports.insert(id, port);
        Ok(eni)
    }

    /// Gives a port an interface of a machine.
    pub(crate) fn attach(&mut self, plan: &Plan, id: &EniId, to: &InstanceId) -> CloudResult<()> {
        let refuse = |kind, why| refused(kind, "attach_eni", id, why);
        let port = self.ports.get(id);
        let port = port.ok_or_else(|| refuse(CloudErrorKind::NotFound, "there is no such port"))?;
        let machine = plan.machine(to);
        let machine = machine.ok_or_else(|| refuse(CloudErrorKind::NotFound, "there is no such machine"))?;
        match &port.place {
            Some((at, _)) if at == to => return Ok(()),
            Some(_) => return Err(refuse(CloudErrorKind::Conflict, "it is on another machine")),
            None => {}
        }
        if plan
            .range(&port.subnet)
            .is_none_or(|range| range.zone != machine.zone)
        {
            return Err(refuse(
                CloudErrorKind::Invalid,
                "its range does not reach the machine",
            ));
        }
        let used: BTreeSet<Mac> = self
            .ports
            .values()
            .filter_map(|port| Some(port.place.as_ref()?.1))
            .collect();
        let spare = machine.spare.iter().find(|mac| !used.contains(*mac));
        let mac =
            *spare.ok_or_else(|| refuse(CloudErrorKind::Quota, "the machine has no spare interface"))?;
        self.port(id, "attach_eni")?.place = Some((to.clone(), mac));
        Ok(())
    }

    /// Takes a port off its interface.
    pub(crate) fn detach(&mut self, id: &EniId) -> CloudResult<()> {
        self.port(id, "detach_eni")?.place = None;
        Ok(())
    }

    /// Forgets a port.
    pub(crate) fn delete(&mut self, id: &EniId) -> CloudResult<()> {
        if self.ports.get(id).is_some_and(|port| port.place.is_some()) {
            return Err(refused(
                CloudErrorKind::Conflict,
                "delete_eni",
                id,
                "it is on a machine",
            ));
        }
        self.ports.remove(id);
        Ok(())
    }

    /// Writes addresses into a port; those that were added.
    pub(crate) fn assign(
        &mut self,
        plan: &Plan,
        id: &EniId,
        wanted: &AssignAddresses,
    ) -> CloudResult<Vec<IpAddr>> {
        let refuse = |kind, why| refused(kind, "assign_addresses", id, why);
        let port = self.port(id, "assign_addresses")?.clone();
        let range = plan.range(&port.subnet);
        let range =
            range.ok_or_else(|| refuse(CloudErrorKind::NotFound, "its range is not in the plan any more"))?;
        let added = match wanted {
            AssignAddresses::Count(Family::V4, count) => self.take(range, *count),
            AssignAddresses::Count(Family::V6, _) => {
                return Err(refuse(CloudErrorKind::Invalid, "there is no IPv6 here"));
            }
            AssignAddresses::Exactly(addresses) => {
                let mut added = Vec::new();
                for address in addresses {
                    match address {
                        IpAddr::V4(address) if port.addresses.contains(address) => {}
                        IpAddr::V4(address) if self.free(range).any(|free| free == *address) => {
                            added.push(*address)
                        }
                        _ => {
                            return Err(refuse(
                                CloudErrorKind::AddressTaken,
                                "an address is not free in its range",
                            ));
                        }
                    }
                }
                Some(added)
            }
        };
        let added = added.ok_or_else(|| refuse(exhausted(range), "its addresses are used up"))?;
        if port.addresses.len() + added.len() > plan.addresses_per_interface as usize {
            return Err(refuse(
                CloudErrorKind::Quota,
                "an interface bears fewer addresses",
            ));
        }
        self.port(id, "assign_addresses")?.addresses.extend(&added);
        Ok(added.into_iter().map(IpAddr::V4).collect())
    }

    /// Strikes addresses out of a port.
    pub(crate) fn unassign(&mut self, id: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        let port = self.port(id, "unassign_addresses")?;
        let struck = |address: &Ipv4Addr| addresses.contains(&IpAddr::V4(*address));
        if port.addresses.first().is_some_and(struck) {
            let why = "its own address goes with it alone";
            return Err(refused(CloudErrorKind::Invalid, "unassign_addresses", id, why));
        }
        port.addresses.retain(|address| !struck(address));
        Ok(())
    }

    fn port(&mut self, id: &EniId, action: &'static str) -> CloudResult<&mut Port> {
        let port = self.ports.get_mut(id);
        port.ok_or_else(|| refused(CloudErrorKind::NotFound, action, id, "there is no such port"))
    }

    /// The addresses of a range that no port has.
    fn free(&self, range: &Range) -> impl Iterator<Item = Ipv4Addr> {
        let used: BTreeSet<Ipv4Addr> = self
            .ports
            .values()
            .flat_map(|port| &port.addresses)
            .copied()
            .collect();
        range.free().filter(move |address| !used.contains(address))
    }

    fn take(&self, range: &Range, count: u32) -> Option<Vec<Ipv4Addr>> {
        let taken: Vec<_> = self.free(range).take(count as usize).collect();
        (taken.len() == count as usize).then_some(taken)
    }
}

impl Port {
    fn eni(&self, id: &EniId, range: &Range) -> Eni {
        let address = |(number, ip): (usize, &Ipv4Addr)| EniAddress {
            ip: IpAddr::V4(*ip),
            primary: number == 0,
            ready: true,
        };
        Eni {
            id: id.clone(),
            name: self.name.clone(),
            // Without an interface it has none.
            mac: self.place.as_ref().map_or(Mac([0; 6]), |(_, mac)| *mac),
            kind: EniKind::Secondary,
            state: match self.place {
                Some(_) => EniState::InUse,
                None => EniState::Available,
            },
            subnet: self.subnet.clone(),
            zone: range.zone.clone(),
            instance: self.place.as_ref().map(|(machine, _)| machine.clone()),
            addresses: self.addresses.iter().enumerate().map(address).collect(),
            security_groups: vec![SecurityGroupId::from(NO_GROUP)],
            tags: self.tags.clone(),
        }
    }
}

/// The interface that a machine itself uses.
fn own(machine: &Machine) -> Eni {
    Eni {
        id: EniId::from(format!("own-{}", machine.id)),
        name: machine.id.to_string(),
        mac: machine.mac,
        kind: EniKind::Primary,
        state: EniState::InUse,
        subnet: machine.subnet.clone(),
        zone: machine.zone.clone(),
        instance: Some(machine.id.clone()),
        addresses: vec![EniAddress {
            ip: machine.address.into(),
            primary: true,
            ready: true,
        }],
        security_groups: vec![SecurityGroupId::from(NO_GROUP)],
        tags: BTreeMap::new(),
    }
}

fn exhausted(range: &Range) -> CloudErrorKind {
    CloudErrorKind::Exhausted {
        subnet: range.id.clone(),
    }
}

pub(crate) fn refused(
    kind: CloudErrorKind,
    action: &'static str,
    resource: impl std::fmt::Display,
    why: &str,
) -> CloudError {
    CloudError::new(kind, action, resource, why)
}
