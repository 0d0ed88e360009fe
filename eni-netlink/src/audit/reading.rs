//! One reading of the node's kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use eni_core::model::SandboxKey;
use eni_core::network::NetworkResult;

use crate::identity::{FROM_POD, PROTOCOL, index_of};
use crate::kernel::{Address, FAMILIES, Link, MAIN, Neighbour, Owner, Route, RouteFilter, Rule, Side, host};
use crate::socket::Netlink;

/// Everything of ours in the node's kernel, and what may stand in its way.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Our rules.
    pub(super) rules: Vec<Rule>,
    /// Rules of others that have the shape of ours, with their protocol number.
    pub(super) foreign: Vec<(Rule, u8)>,
    /// Our routes, of every table.
    pub(super) routes: Vec<Route>,
    /// Every permanent neighbour.
    pub(super) neighbours: Vec<Neighbour>,
    /// The node's own addresses.
    pub(super) own: BTreeSet<IpAddr>,
    /// Every device.
    pub(super) links: Vec<Link>,
}

impl Reading {
    /// Reads the kernel, in one pass.
    ///
    /// An ADD makes the device first and the rules last, so reading goes the other way round: what serves a
    /// pod that is being wired is never seen without its device.
    pub(super) fn take(netlink: &mut Netlink) -> NetworkResult<Self> {
        let mut reading = Self::default();
        for family in FAMILIES {
            let rules = Rule::read_every(netlink, family)?;
            let (ours, foreign) = rules
                .into_iter()
                .partition::<Vec<_>, _>(|(_, protocol)| *protocol == PROTOCOL);
            reading.rules.extend(ours.into_iter().map(|(rule, _)| rule));
            reading.foreign.extend(foreign);
        }
        let ours = RouteFilter {
            ours: true,
            ..RouteFilter::default()
        };
        for family in FAMILIES {
            reading.routes.extend(Route::read_all(netlink, family, ours)?);
            reading
                .neighbours
                .extend(Neighbour::read_all(netlink, family, None)?);
            let own = Address::read_all(netlink, family, None)?;
            reading.own.extend(own.iter().map(|own| own.address.addr()));
        }
        reading.links = Link::read_all(netlink)?;
        Ok(reading)
    }

    /// The pod interfaces in service, by their device's index.
    pub(super) fn pods(&self) -> BTreeMap<u32, SandboxKey> {
        let pods = self.links.iter().filter_map(|link| match link.owner() {
            Owner::Pod(key) => Some((link.index, key)),
            Owner::Unfinished | Owner::Dead | Owner::Foreign => None,
        });
        pods.collect()
    }

    /// Our routes to single addresses in main.
    pub(super) fn host_routes(&self) -> impl Iterator<Item = (IpAddr, &Route)> {
        let hosts = self.routes.iter().filter(|route| route.table == MAIN);
        hosts
            .map(|route| (route.destination.addr(), route))
            .filter(|(address, route)| route.destination == host(*address))
    }

    /// The addresses that a pod interface has: a route leads there, or, where somebody took the route away,
    /// a neighbour is known there.
    pub(super) fn in_use(&self) -> BTreeSet<IpAddr> {
        let devices = self.pod_devices();
        let routed = self
            .host_routes()
            .filter(|(_, route)| route.link.is_some_and(|link| devices.contains(&link)))
            .map(|(address, _)| address);
        let known = self
            .neighbours
            .iter()
            .filter(|neighbour| devices.contains(&neighbour.link))
            .map(|neighbour| neighbour.address);
        routed.chain(known).collect()
    }

    /// Whether the device is there that a table of an ENI was made for.
    pub(super) fn has_device_of(&self, table: u32) -> bool {
        index_of(table).is_some_and(|index| self.links.iter().any(|link| link.index == index))
    }

    /// Also of those that are being made.
    fn pod_devices(&self) -> BTreeSet<u32> {
        let pods = self
            .links
            .iter()
            .filter(|link| matches!(link.owner(), Owner::Pod(_) | Owner::Unfinished));
        pods.map(|link| link.index).collect()
    }
}

/// Whether a rule leads from an address into a table of an ENI.
pub(super) fn leaves_by_eni(rule: &Rule) -> bool {
    rule.side == Side::From && rule.priority == FROM_POD && index_of(rule.table).is_some()
}
