//! The router's namespace: a port per ENI, and the delivery of addresses to ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use eni_core::{
    model::{Eni, EniId, InstanceId, Mac},
    sim::FabricChange,
};
use eni_netlink::{
    kernel::{Address, Link, MAIN, Neighbour, Route},
    namespace::Namespace,
    socket::Netlink,
};
use ipnet::IpNet;

use super::FabricError;
use crate::{
    kernel::{self, LOOPBACK},
    netns::NamedNamespace,
    topology::Topology,
};

/// The router's settings. A port inherits the defaults; with `all` at 0, strict filtering is per port.
const SETTINGS: [(&str, &str); 6] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    // Nodes take their subnet for a link; the router answers for every address on another port.
    ("net/ipv4/conf/default/proxy_arp", "1"),
];

/// The router and what is connected to it.
#[derive(Debug)]
pub(super) struct Router {
    namespace: Arc<NamedNamespace>,
    netlink: Netlink,
    nodes: BTreeMap<InstanceId, NodePort>,
    enis: BTreeMap<EniId, Device>,
}

#[derive(Debug)]
struct NodePort {
    netlink: Netlink,
    namespace: Namespace,
}

#[derive(Debug)]
struct Device {
    mac: Mac,
    /// The index of the router's end.
    port: u32,
    delivered: BTreeSet<IpAddr>,
}

impl Router {
    /// An empty router in its namespace.
    pub(super) fn new(namespace: Arc<NamedNamespace>, topology: &Topology) -> Result<Self, FabricError> {
        namespace.set(&SETTINGS)?;
        let mut netlink = namespace.netlink()?;
        // On the loopback: the kernel answers for a local address on every port.
        let gateways = topology
            .gateways()
            .map(|gateway| Address::alone(LOOPBACK, gateway).add());
        kernel::run(
            &mut netlink,
            [kernel::set_up(LOOPBACK)].into_iter().chain(gateways),
        )?;
        Ok(Self {
            namespace,
            netlink,
            nodes: BTreeMap::new(),
            enis: BTreeMap::new(),
        })
    }

    /// Makes the namespace at `node` known: the ENIs of `instance` appear there.
    pub(super) fn connect(&mut self, instance: InstanceId, node: &Path) -> Result<(), FabricError> {
        let namespace = Namespace::open(node)?;
        let netlink = Netlink::open_in(&namespace)?;
        self.nodes.insert(instance, NodePort { netlink, namespace });
        Ok(())
    }

    /// Sends what is for `range` to the ENI that has the address `to`.
    pub(super) fn route(&mut self, range: IpNet, to: IpAddr) -> Result<(), FabricError> {
        let has = |device: &&Device| device.delivered.contains(&to);
        let device = self.enis.values().find(has).ok_or_else(|| unknown(to))?;
        let route = Route {
            gateway: Some(to),
            ..Route::new(MAIN, range, device.port)
        };
        Ok(kernel::run(&mut self.netlink, [route.add()])?)
    }

    /// The ENIs that exist.
    pub(super) fn enis(&self) -> Vec<EniId> {
        self.enis.keys().cloned().collect()
    }

    /// Carries out one change.
    pub(super) fn apply(&mut self, change: &FabricChange) -> Result<(), FabricError> {
        match change {
            FabricChange::EniCreated { eni } => self.create(eni),
            FabricChange::EniAttached { eni, instance } => self.attach(&eni.id, instance),
            FabricChange::EniDetached { eni, instance } => self.detach(eni, instance),
            FabricChange::AddressAssigned { eni, ip } => self.assign(eni, *ip),
            FabricChange::AddressUnassigned { eni, ip } => self.unassign(eni, *ip),
            FabricChange::EniDeleted { eni } => self.delete(eni),
            other => Err(FabricError::Unsupported(format!("{other:?}"))),
        }
    }

    fn create(&mut self, eni: &Eni) -> Result<(), FabricError> {
        let name = port_name(&eni.id);
        kernel::run(
            &mut self.netlink,
            [kernel::add_veth(&device_name(&eni.id), &name, eni.mac)],
        )?;
        let port = Link::by_name(&mut self.netlink, &name)?
            .ok_or_else(|| unknown(&name))?
            .index;
        // The default of 0.8 s is no setting of a namespace, so that a port cannot inherit another.
        self.namespace
            .set(&[(&format!("net/ipv4/neigh/{name}/proxy_delay"), "0")])?;
        kernel::run(&mut self.netlink, [kernel::set_up(port)])?;
        let device = Device {
            mac: eni.mac,
            port,
            delivered: BTreeSet::new(),
        };
        self.enis.insert(eni.id.clone(), device);
        eni.addresses
            .iter()
            .try_for_each(|address| self.assign(&eni.id, address.ip))
    }

    fn attach(&mut self, id: &EniId, instance: &InstanceId) -> Result<(), FabricError> {
        let mac = self.enis.get(id).ok_or_else(|| unknown(id))?.mac;
        let node = self.nodes.get_mut(instance).ok_or_else(|| unknown(instance))?;
        let device = kernel::by_mac(&mut self.netlink, mac)?.ok_or_else(|| unknown(mac))?;
        let taken: BTreeSet<String> = Link::read_all(&mut node.netlink)?
            .into_iter()
            .map(|link| link.name)
            .collect();
        let name = (0..)
            .map(|number| format!("eth{number}"))
            .find(|name| !taken.contains(name));
        let name = name.expect("numbers do not end before links do");
        let there = kernel::move_link(device.index, &node.namespace, &name);
        Ok(kernel::run(&mut self.netlink, [there])?)
    }

    fn detach(&mut self, id: &EniId, instance: &InstanceId) -> Result<(), FabricError> {
        let mac = self.enis.get(id).ok_or_else(|| unknown(id))?.mac;
        let node = self.nodes.get_mut(instance).ok_or_else(|| unknown(instance))?;
        let device = kernel::by_mac(&mut node.netlink, mac)?.ok_or_else(|| unknown(mac))?;
        let away = kernel::move_link(device.index, self.namespace.namespace(), &device_name(id));
        Ok(kernel::run(&mut node.netlink, [away])?)
    }

    fn assign(&mut self, id: &EniId, ip: IpAddr) -> Result<(), FabricError> {
        let device = self.enis.get_mut(id).ok_or_else(|| unknown(id))?;
        let (neighbour, route) = device.delivery(ip);
        kernel::run(&mut self.netlink, [neighbour.replace(), route.add()])?;
        device.delivered.insert(ip);
        Ok(())
    }

    fn unassign(&mut self, id: &EniId, ip: IpAddr) -> Result<(), FabricError> {
        let device = self.enis.get_mut(id).ok_or_else(|| unknown(id))?;
        // An assignment that was cut short never came to us.
        if device.delivered.remove(&ip) {
            let (neighbour, route) = device.delivery(ip);
            kernel::run(&mut self.netlink, [route.delete(), neighbour.delete()])?;
        }
        Ok(())
    }

    fn delete(&mut self, id: &EniId) -> Result<(), FabricError> {
        let device = self.enis.remove(id).ok_or_else(|| unknown(id))?;
        Ok(kernel::run(&mut self.netlink, [Link::delete(device.port)])?)
    }
}

impl Device {
    /// What makes the router deliver an address to this ENI and to no other.
    fn delivery(&self, ip: IpAddr) -> (Neighbour, Route) {
        let neighbour = Neighbour {
            link: self.port,
            address: ip,
            mac: self.mac,
        };
        (neighbour, Route::to_host(ip, self.port))
    }
}

fn unknown(what: impl std::fmt::Display) -> FabricError {
    FabricError::Unknown(what.to_string())
}

/// The router's end of an ENI's pair.
fn port_name(eni: &EniId) -> String {
    format!("p{}", short(eni))
}

/// The ENI's device while it is attached to nothing.
fn device_name(eni: &EniId) -> String {
    format!("e{}", short(eni))
}

/// What tells an ENI from the others, as short as a device's name (15 bytes) wants it.
fn short(eni: &EniId) -> &str {
    let id = eni.as_str();
    id.strip_prefix("eni-").unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_device() {
        let eni = EniId::from("eni-0000abcd");
        assert_eq!(port_name(&eni), "p0000abcd");
        assert!(device_name(&eni).len() <= 15);
    }
}
