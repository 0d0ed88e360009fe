//! Policy rules that are ours.

use std::fmt;
use std::net::IpAddr;

use eni_core::model::Family;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::{MAIN, address_family, dump, host};
use crate::identity::{FROM_POD, PROTOCOL, TO_POD};
use crate::socket::{Netlink, NetlinkError, Request};

/// Which address of a packet a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Its destination.
    To,
    /// Its source.
    From,
}

/// A rule for one address, with our protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// Its priority; lower ones are asked first.
    pub priority: u32,
    /// Which address of the packet.
    pub side: Side,
    /// The address.
    pub address: IpAddr,
    /// The table that decides.
    pub table: u32,
}

impl Rule {
    /// The rule that leads packets for `address` to its pod, whatever their source.
    pub fn to(address: IpAddr) -> Self {
        Self {
            priority: TO_POD,
            side: Side::To,
            address,
            table: MAIN,
        }
    }

    /// The rule that leads packets from `address` into an ENI's table.
    pub fn from(address: IpAddr, table: u32) -> Self {
        Self {
            priority: FROM_POD,
            side: Side::From,
            address,
            table,
        }
    }

    /// Adds it. The kernel answers EEXIST when it is there; a replacement would add it twice.
    pub fn add(&self) -> Request {
        Request::create(
            format!("add {self}"),
            RouteNetlinkMessage::NewRule(self.message()),
        )
    }

    /// Deletes it, and nothing but it.
    pub fn delete(&self) -> Request {
        Request::new(
            format!("delete {self}"),
            RouteNetlinkMessage::DelRule(self.message()),
        )
    }

    /// Deletes the first rule for its priority and address that is ours, whatever its table. Repeated
    /// until the kernel answers ENOENT, it proves that none is left, which a dump cannot.
    pub fn delete_any_table(&self) -> Request {
        let mut message = self.message();
        message.header.table = 0;
        message
            .attributes
            .retain(|attribute| !matches!(attribute, RuleAttribute::Table(_)));
        Request::new(
            format!("delete rule {} of any table", self.selector()),
            RouteNetlinkMessage::DelRule(message),
        )
    }

    /// Deletes the first rule like it that bears another protocol number; the kernel takes 0 for any.
    pub fn delete_of(&self, protocol: u8) -> Request {
        let mut message = self.message();
        message
            .attributes
            .retain(|attribute| !matches!(attribute, RuleAttribute::Protocol(_)));
        message
            .attributes
            .push(RuleAttribute::Protocol(RouteProtocol::from(protocol)));
        Request::new(
            format!("delete {self} of protocol {protocol}"),
            RouteNetlinkMessage::DelRule(message),
        )
    }

    /// Our rules of a family.
    pub fn read_all(netlink: &mut Netlink, family: Family) -> Result<Vec<Self>, NetlinkError> {
        let rules = Self::read_every(netlink, family)?.into_iter();
        Ok(rules
            .filter(|(_, protocol)| *protocol == PROTOCOL)
            .map(|(rule, _)| rule)
            .collect())
    }

    /// Everybody's rules of our shape, of a family, each with its protocol number.
    pub fn read_every(netlink: &mut Netlink, family: Family) -> Result<Vec<(Self, u8)>, NetlinkError> {
        let mut message = RuleMessage::default();
        message.header.family = address_family(family);
        let entries = dump(netlink, "read the rules", RouteNetlinkMessage::GetRule(message))?;
        Ok(entries
            .iter()
            .filter_map(|entry| match entry {
                RouteNetlinkMessage::NewRule(rule) => Self::read(rule),
                _ => None,
            })
            .collect())
    }

    fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        let header = &mut message.header;
        header.family = address_family(Family::of(self.address));
        // Without the action the kernel accepts the rule and drops what matches it.
        header.action = RuleAction::ToTable;
        header.table = u8::try_from(self.table).unwrap_or_default();
        let selector = match self.side {
            Side::To => {
                header.dst_len = host(self.address).prefix_len();
                RuleAttribute::Destination(self.address)
            }
            Side::From => {
                header.src_len = host(self.address).prefix_len();
                RuleAttribute::Source(self.address)
            }
        };
        message.attributes = vec![
            selector,
            RuleAttribute::Priority(self.priority),
            RuleAttribute::Table(self.table),
            RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
        ];
        message
    }

    /// The rule and its protocol number; `None` unless it is of our shape.
    fn read(message: &RuleMessage) -> Option<(Self, u8)> {
        let (mut to, mut from, mut priority, mut protocol) = (None, None, 0, 0);
        let mut table = u32::from(message.header.table);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Destination(address) => to = Some(*address),
                RuleAttribute::Source(address) => from = Some(*address),
                RuleAttribute::Priority(value) => priority = *value,
                RuleAttribute::Table(value) => table = *value,
                RuleAttribute::Protocol(number) => protocol = u8::from(*number),
                _ => {}
            }
        }
        let (side, address, length) = match (to, from) {
            (Some(address), None) => (Side::To, address, message.header.dst_len),
            (None, Some(address)) => (Side::From, address, message.header.src_len),
            _ => return None,
        };
        let shaped = message.header.action == RuleAction::ToTable && length == host(address).prefix_len();
        let rule = Self {
            priority,
            side,
            address,
            table,
        };
        shaped.then_some((rule, protocol))
    }

    fn selector(&self) -> String {
        let side = match self.side {
            Side::To => "to",
            Side::From => "from",
        };
        format!("{} {side} {}", self.priority, self.address)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} lookup ", self.selector())?;
        match self.table {
            MAIN => f.write_str("main"),
            table => write!(f, "{table}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        let addresses: [IpAddr; 2] = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        for address in addresses {
            for rule in [Rule::to(address), Rule::from(address, 4007)] {
                assert_eq!(Rule::read(&rule.message()), Some((rule, PROTOCOL)));
            }
        }
    }

    #[test]
    fn a_rule_of_another_protocol_is_told_apart() {
        let rule = Rule::to("10.0.0.7".parse().unwrap());
        let mut message = rule.message();
        message.attributes.pop();
        assert_eq!(Rule::read(&message), Some((rule, 0)));
    }

    #[test]
    fn a_rule_without_action_is_not_taken_for_one_of_ours() {
        let mut message = Rule::to("10.0.0.7".parse().unwrap()).message();
        message.header.action = RuleAction::Unspec;
        assert_eq!(Rule::read(&message), None);
    }
}
