//! Addresses of a link.

use std::fmt;
use std::net::IpAddr;

use eni_core::model::Family;
use ipnet::IpNet;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use super::{address_family, dump, host};
use crate::socket::{Netlink, NetlinkError, Request};

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// On which link.
    pub link: u32,
    /// The address and the length of its subnet.
    pub address: IpNet,
}

impl Address {
    /// The address without a subnet around it: nothing is on the link that is not routed there.
    pub fn alone(link: u32, address: IpAddr) -> Self {
        Self {
            link,
            address: host(address),
        }
    }

    /// Adds it; EEXIST when it is there.
    pub fn add(&self) -> Request {
        Request::create(
            format!("add {self}"),
            RouteNetlinkMessage::NewAddress(self.message()),
        )
    }

    /// Deletes it; EADDRNOTAVAIL when it is not there.
    pub fn delete(&self) -> Request {
        Request::new(
            format!("delete {self}"),
            RouteNetlinkMessage::DelAddress(self.message()),
        )
    }

    /// The addresses of a link, or of all, of one family.
    pub fn read_all(
        netlink: &mut Netlink,
        family: Family,
        link: Option<u32>,
    ) -> Result<Vec<Self>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.family = address_family(family);
        message.header.index = link.unwrap_or_default();
        let entries = dump(
            netlink,
            "read the addresses",
            RouteNetlinkMessage::GetAddress(message),
        )?;
        Ok(entries
            .iter()
            .filter_map(|entry| match entry {
                RouteNetlinkMessage::NewAddress(address) => Self::read(address),
                _ => None,
            })
            .filter(|address| link.is_none_or(|link| address.link == link))
            .collect())
    }

    fn message(&self) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.family = address_family(Family::of(self.address.addr()));
        message.header.prefix_len = self.address.prefix_len();
        message.header.index = self.link;
        let alone = self.address.prefix_len() == self.address.max_prefix_len();
        let mut flags = AddressFlags::empty();
        if alone {
            // IPv6 would route even a single address by the link's connected routes.
            flags |= AddressFlags::Noprefixroute;
        }
        if self.address.addr().is_ipv6() {
            // The cloud gave it to us alone; probing would only delay its use by a second.
            flags |= AddressFlags::Nodad;
        }
        message.attributes = vec![
            AddressAttribute::Address(self.address.addr()),
            AddressAttribute::Local(self.address.addr()),
            AddressAttribute::Flags(flags),
        ];
        message
    }

    fn read(message: &AddressMessage) -> Option<Self> {
        let mut found = None;
        for attribute in &message.attributes {
            match attribute {
                // On a link to a single peer the other attribute is the peer's.
                AddressAttribute::Local(address) => found = Some(*address),
                AddressAttribute::Address(address) => found = found.or(Some(*address)),
                _ => {}
            }
        }
        let address = IpNet::new(found?, message.header.prefix_len).ok()?;
        Some(Self {
            link: message.header.index,
            address,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {} link {}", self.address, self.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["10.0.0.7/32", "10.0.0.7/24", "fd00::7/128"] {
            let address = Address {
                link: 3,
                address: text.parse().unwrap(),
            };
            assert_eq!(Address::read(&address.message()), Some(address));
        }
    }
}
