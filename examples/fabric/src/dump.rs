//! Everything that a network namespace holds, as lines that can be compared and read.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    net::IpAddr,
};

use eni_netlink::{
    kernel::Link,
    socket::{Netlink, NetlinkError},
};
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol},
    rule::{RuleAttribute, RuleMessage},
};

/// Links, addresses, rules, routes of all tables and permanent neighbours of a namespace.
///
/// Devices are named, not numbered. What comes and goes by itself is left out: counters, ages, the
/// neighbours that the kernel learned, and IPv6's automatic addresses with their routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelDump {
    lines: BTreeSet<String>,
}

impl KernelDump {
    /// Reads a namespace.
    pub fn read(netlink: &mut Netlink) -> Result<Self, NetlinkError> {
        let mut lines = BTreeSet::new();
        let mut devices = Devices::default();
        for link in Link::read_all(netlink)? {
            let mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
            let up = if link.up { "up" } else { "down" };
            lines.insert(format!("link {} {mac} {up}", link.name));
            devices.names.insert(link.index, link.name);
        }
        let mut route = RouteMessage::default();
        let mut rule = RuleMessage::default();
        let mut neighbour = NeighbourMessage::default();
        let mut requests = vec![(
            "addresses",
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        )];
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            rule.header.family = family;
            route.header.address_family = family;
            neighbour.header.family = family;
            requests.push(("rules", RouteNetlinkMessage::GetRule(rule.clone())));
            requests.push(("routes", RouteNetlinkMessage::GetRoute(route.clone())));
            requests.push(("neighbours", RouteNetlinkMessage::GetNeighbour(neighbour.clone())));
        }
        for (what, request) in requests {
            let entries = netlink.dump(&format!("list {what}"), &request)?;
            lines.extend(entries.iter().filter_map(|entry| devices.line(entry)));
        }
        Ok(Self { lines })
    }

    /// What is here and not in `before`, and what was there and is not here.
    pub fn differences(&self, before: &Self) -> Vec<String> {
        let extra = self
            .lines
            .difference(&before.lines)
            .map(|line| format!("{line} is left over"));
        let missing = before
            .lines
            .difference(&self.lines)
            .map(|line| format!("{line} is missing"));
        extra.chain(missing).collect()
    }

    /// Every line, in order.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

#[derive(Default)]
struct Devices {
    names: HashMap<u32, String>,
}

impl Devices {
    fn name(&self, index: u32) -> String {
        self.names
            .get(&index)
            .cloned()
            .unwrap_or_else(|| format!("#{index}"))
    }

    fn line(&self, entry: &RouteNetlinkMessage) -> Option<String> {
        match entry {
            RouteNetlinkMessage::NewAddress(address) => self.address(address),
            RouteNetlinkMessage::NewRule(rule) => Some(rule_line(rule)),
            RouteNetlinkMessage::NewRoute(route) => self.route(route),
            RouteNetlinkMessage::NewNeighbour(entry) if entry.header.state == NeighbourState::Permanent => {
                Some(self.neighbour(entry))
            }
            _ => None,
        }
    }

    fn address(&self, address: &AddressMessage) -> Option<String> {
        let ip = address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })?;
        let automatic = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let (prefix, device) = (address.header.prefix_len, self.name(address.header.index));
        (!automatic).then(|| format!("address {ip}/{prefix} on {device}"))
    }

    fn route(&self, route: &RouteMessage) -> Option<String> {
        let header = &route.header;
        if header.address_family == AddressFamily::Inet6 && header.protocol == RouteProtocol::Kernel {
            return None;
        }
        let mut table = u32::from(header.table);
        let (mut to, mut rest) = ("default".to_owned(), String::new());
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Table(number) => table = *number,
                RouteAttribute::Destination(ip) => {
                    to = format!("{}/{}", route_address(ip), header.destination_prefix_length);
                }
                RouteAttribute::Gateway(ip) => add(&mut rest, "via", route_address(ip)),
                RouteAttribute::Oif(index) => add(&mut rest, "dev", self.name(*index)),
                RouteAttribute::PrefSource(ip) => add(&mut rest, "src", route_address(ip)),
                RouteAttribute::Priority(metric) => add(&mut rest, "metric", metric),
                RouteAttribute::CacheInfo(_) | RouteAttribute::Preference(_) => {}
                other => add(&mut rest, "with", format!("{other:?}")),
            }
        }
        let family = family(header.address_family);
        let (kind, protocol) = (&header.kind, header.protocol);
        Some(format!(
            "{family} route {to} in table {table}{rest} ({kind:?}, protocol {protocol})"
        ))
    }

    fn neighbour(&self, entry: &NeighbourMessage) -> String {
        let mut line = "neighbour".to_owned();
        for attribute in &entry.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => add(&mut line, "of", ip),
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => add(&mut line, "of", ip),
                _ => {}
            }
        }
        add(&mut line, "on", self.name(entry.header.ifindex));
        line
    }
}

fn rule_line(rule: &RuleMessage) -> String {
    let mut line = format!("{} rule", family(rule.header.family));
    let mut priority = 0;
    let mut table = u32::from(rule.header.table);
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Source(ip) => add(&mut line, "from", prefix(ip, rule.header.src_len)),
            RuleAttribute::Destination(ip) => add(&mut line, "to", prefix(ip, rule.header.dst_len)),
            // Whatever the rule does not restrict is listed too.
            RuleAttribute::SuppressPrefixLen(u32::MAX) => {}
            RuleAttribute::Protocol(protocol) => add(&mut line, "protocol", protocol),
            other => add(&mut line, "with", format!("{other:?}")),
        }
    }
    format!(
        "{line} priority {priority} table {table} ({:?})",
        rule.header.action
    )
}

fn prefix(ip: &IpAddr, length: u8) -> String {
    format!("{ip}/{length}")
}

fn family(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::Inet => "IPv4",
        AddressFamily::Inet6 => "IPv6",
        _ => "other",
    }
}

fn route_address(address: &RouteAddress) -> String {
    match address {
        RouteAddress::Inet(ip) => ip.to_string(),
        RouteAddress::Inet6(ip) => ip.to_string(),
        other => format!("{other:?}"),
    }
}

fn add(line: &mut String, word: &str, value: impl std::fmt::Display) {
    write!(line, " {word} {value}").expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(lines: &[&str]) -> KernelDump {
        KernelDump {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn both_directions_differ() {
        let before = dump(&["link eth0", "link lo"]);
        let after = dump(&["link lo", "link eth1"]);
        assert_eq!(
            after.differences(&before),
            ["link eth1 is left over", "link eth0 is missing"]
        );
        assert!(before.differences(&before.clone()).is_empty());
    }
}
