//! Routes.

use std::fmt;
use std::net::IpAddr;

use eni_core::model::Family;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::{address_family, dump, everything, host};
use crate::identity::PROTOCOL;
use crate::socket::{Netlink, NetlinkError, Request};

/// The table of the node's ordinary routes (RT_TABLE_MAIN of `linux/rtnetlink.h`).
pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// The table of the node's own addresses (RT_TABLE_LOCAL of `linux/rtnetlink.h`).
pub const LOCAL: u32 = 255;

/// The metric that IPv6 gives a route which asks for none (IP6_RT_PRIO_USER of `net/ip6_route.h`).
const V6_METRIC: u32 = 1024;

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sends it out of a link.
    Unicast,
    /// Refuses it.
    Unreachable,
    /// Anything else; read, never written.
    Other,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Its table.
    pub table: u32,
    /// Where to.
    pub destination: IpNet,
    /// What it does.
    pub kind: Kind,
    /// Out of which link.
    pub link: Option<u32>,
    /// By which router; it is taken to be on the link.
    pub gateway: Option<IpAddr>,
    /// The source that the host itself uses for it.
    pub source: Option<IpAddr>,
    /// Lower is better.
    pub metric: u32,
    /// Who made it: [`PROTOCOL`] for ours.
    pub protocol: u8,
}

/// Which routes to read; the kernel does the filtering.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteFilter {
    /// Of this table.
    pub table: Option<u32>,
    /// Out of this link.
    pub link: Option<u32>,
    /// Ours only.
    pub ours: bool,
}

impl Route {
    /// A route of ours to `destination` out of `link`.
    pub fn new(table: u32, destination: IpNet, link: u32) -> Self {
        Self {
            table,
            destination,
            kind: Kind::Unicast,
            link: Some(link),
            gateway: None,
            source: None,
            metric: if destination.addr().is_ipv6() {
                V6_METRIC
            } else {
                0
            },
            protocol: PROTOCOL,
        }
    }

    /// The route of ours in main to one address of a pod.
    pub fn to_host(address: IpAddr, link: u32) -> Self {
        Self::new(MAIN, host(address), link)
    }

    /// A default route of ours by `gateway`.
    pub fn default_via(table: u32, gateway: IpAddr, link: u32) -> Self {
        Self {
            gateway: Some(gateway),
            ..Self::new(table, everything(Family::of(gateway)), link)
        }
    }

    /// The last resort of a table of ours, so that a packet without a route does not fall through to
    /// the next rule and leave by the wrong interface.
    pub fn last_resort(table: u32, family: Family) -> Self {
        let destination = everything(family);
        Self {
            kind: Kind::Unreachable,
            link: None,
            metric: u32::MAX,
            ..Self::new(table, destination, 0)
        }
    }

    /// Adds it; EEXIST when a route to the same destination of the same metric is there.
    pub fn add(&self) -> Request {
        Request::create(
            format!("add {self}"),
            RouteNetlinkMessage::NewRoute(self.message()),
        )
    }

    /// Puts it in the place of the route to the same destination of the same metric.
    pub fn replace(&self) -> Request {
        Request::replace(
            format!("replace by {self}"),
            RouteNetlinkMessage::NewRoute(self.message()),
        )
    }

    /// Deletes it; ESRCH when it is not there.
    pub fn delete(&self) -> Request {
        Request::new(
            format!("delete {self}"),
            RouteNetlinkMessage::DelRoute(self.message()),
        )
    }

    /// The routes that pass `filter`, of one family.
    pub fn read_all(
        netlink: &mut Netlink,
        family: Family,
        filter: RouteFilter,
    ) -> Result<Vec<Self>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(family);
        if filter.ours {
            message.header.protocol = RouteProtocol::from(PROTOCOL);
        }
        message.attributes.extend(filter.table.map(RouteAttribute::Table));
        message.attributes.extend(filter.link.map(RouteAttribute::Oif));
        let entries = dump(netlink, "read the routes", RouteNetlinkMessage::GetRoute(message))?;
        Ok(entries
            .iter()
            .filter_map(|entry| match entry {
                RouteNetlinkMessage::NewRoute(route) => Self::read(route),
                _ => None,
            })
            // A kernel that knows no such filter, or no such family, sends more.
            .filter(|route| Family::of(route.destination.addr()) == family && filter.passes(route))
            .collect())
    }

    /// The route in `table` to exactly this address, asked for by name, unless an earlier rule leads
    /// elsewhere.
    pub fn read_to_host(
        netlink: &mut Netlink,
        address: IpAddr,
        table: u32,
    ) -> Result<Option<Self>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(Family::of(address));
        message.header.destination_prefix_length = host(address).prefix_len();
        // The table's entry, not the answer to what a packet would do.
        message.header.flags = RouteFlags::FibMatch;
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(address))];
        let what = format!("look up the route to {address}");
        match netlink.request(Request::new(what, RouteNetlinkMessage::GetRoute(message))) {
            Ok(Some(RouteNetlinkMessage::NewRoute(route))) => {
                Ok(Self::read(&route)
                    .filter(|route| route.destination == host(address) && route.table == table))
            }
            Ok(_) => Ok(None),
            Err(NetlinkError::Refused(refusal)) if unroutable(refusal.errno) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        let header = &mut message.header;
        header.address_family = address_family(Family::of(self.destination.addr()));
        header.destination_prefix_length = self.destination.prefix_len();
        header.table = u8::try_from(self.table).unwrap_or_default();
        header.protocol = RouteProtocol::from(self.protocol);
        header.kind = match self.kind {
            Kind::Unreachable => RouteType::Unreachable,
            Kind::Unicast | Kind::Other => RouteType::Unicast,
        };
        header.scope = match (self.kind, self.gateway) {
            (Kind::Unicast, None) => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        if self.gateway.is_some() {
            header.flags = RouteFlags::Onlink;
        }
        let address = |address: IpAddr| RouteAddress::from(address);
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(self.table));
        if self.destination.prefix_len() > 0 {
            attributes.push(RouteAttribute::Destination(address(self.destination.network())));
        }
        attributes.extend(
            self.gateway
                .map(|gateway| RouteAttribute::Gateway(address(gateway))),
        );
        attributes.extend(self.link.map(RouteAttribute::Oif));
        attributes.extend(
            self.source
                .map(|source| RouteAttribute::PrefSource(address(source))),
        );
        if self.metric > 0 {
            attributes.push(RouteAttribute::Priority(self.metric));
        }
        message
    }

    /// `None` for the routes of other families.
    fn read(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        let family = FAMILIES_OF
            .iter()
            .find(|(name, _)| *name == header.address_family)?
            .1;
        let mut route = Self {
            table: header.table.into(),
            destination: everything(family),
            kind: match header.kind {
                RouteType::Unicast => Kind::Unicast,
                RouteType::Unreachable => Kind::Unreachable,
                _ => Kind::Other,
            },
            link: None,
            gateway: None,
            source: None,
            metric: 0,
            protocol: header.protocol.into(),
        };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Table(table) => route.table = *table,
                RouteAttribute::Destination(destination) => {
                    route.destination =
                        IpNet::new(ip(destination)?, header.destination_prefix_length).ok()?;
                }
                RouteAttribute::Gateway(gateway) => route.gateway = ip(gateway),
                RouteAttribute::PrefSource(source) => route.source = ip(source),
                RouteAttribute::Oif(link) => route.link = Some(*link),
                RouteAttribute::Priority(metric) => route.metric = *metric,
                _ => {}
            }
        }
        if route.kind == Kind::Unreachable {
            // IPv6 reports the loopback device, IPv4 none.
            route.link = None;
        }
        Some(route)
    }
}

impl RouteFilter {
    fn passes(&self, route: &Route) -> bool {
        self.table.is_none_or(|table| route.table == table)
            && self.link.is_none_or(|link| route.link == Some(link))
            && (!self.ours || route.protocol == PROTOCOL)
    }
}

const FAMILIES_OF: [(rtnetlink::packet_route::AddressFamily, Family); 2] = [
    (rtnetlink::packet_route::AddressFamily::Inet, Family::V4),
    (rtnetlink::packet_route::AddressFamily::Inet6, Family::V6),
];

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// The answers that stand for the absence of a route.
fn unroutable(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ESRCH | Errno::EACCES | Errno::EINVAL
    )
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("route ")?;
        if self.kind == Kind::Unreachable {
            f.write_str("unreachable ")?;
        }
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(link) = self.link {
            write!(f, " link {link}")?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        match self.table {
            MAIN => f.write_str(" table main"),
            table => write!(f, " table {table}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_as_it_is_written() {
        let v4: IpAddr = "10.0.0.7".parse().unwrap();
        let v6: IpAddr = "fd00::7".parse().unwrap();
        let with_source = Route {
            source: Some(v4),
            ..Route::default_via(MAIN, "169.254.1.1".parse().unwrap(), 5)
        };
        for route in [
            Route::to_host(v4, 3),
            Route::to_host(v6, 3),
            Route::default_via(4007, "10.0.0.1".parse().unwrap(), 7),
            Route::default_via(4007, "fe80::1".parse().unwrap(), 7),
            Route::last_resort(4007, Family::V4),
            Route::last_resort(4007, Family::V6),
            with_source,
        ] {
            assert_eq!(Route::read(&route.message()), Some(route), "{route}");
        }
    }

    #[test]
    fn the_last_resort_is_the_worst() {
        let router = Route::default_via(4007, "10.0.0.1".parse().unwrap(), 7);
        assert!(Route::last_resort(4007, Family::V4).metric > router.metric);
    }
}
