//! Permanent neighbours: nobody has to ask for an address whose MAC we chose ourselves.

use std::fmt;
use std::net::IpAddr;

use eni_core::model::{Family, Mac};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteProtocol, RouteType};

use super::{address_family, dump};
use crate::identity::PROTOCOL;
use crate::socket::{Netlink, NetlinkError, Request};

/// A permanent neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// On which link.
    pub link: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC.
    pub mac: Mac,
}

impl Neighbour {
    /// Puts it in the place of what the kernel knows about the address on that link.
    pub fn replace(&self) -> Request {
        Request::replace(
            format!("set {self}"),
            RouteNetlinkMessage::NewNeighbour(self.message()),
        )
    }

    /// Deletes it; ENOENT when it is not there.
    pub fn delete(&self) -> Request {
        Request::new(
            format!("delete {self}"),
            RouteNetlinkMessage::DelNeighbour(self.message()),
        )
    }

    /// The permanent neighbours of a link, or of all, of one family.
    pub fn read_all(
        netlink: &mut Netlink,
        family: Family,
        link: Option<u32>,
    ) -> Result<Vec<Self>, NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = address_family(family);
        message.attributes = link.map(NeighbourAttribute::IfIndex).into_iter().collect();
        let entries = dump(
            netlink,
            "read the neighbours",
            RouteNetlinkMessage::GetNeighbour(message),
        )?;
        Ok(entries
            .iter()
            .filter_map(|entry| match entry {
                RouteNetlinkMessage::NewNeighbour(neighbour) => Self::read(neighbour),
                _ => None,
            })
            .filter(|neighbour| link.is_none_or(|link| neighbour.link == link))
            .collect())
    }

    fn message(&self) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = address_family(Family::of(self.address));
        message.header.ifindex = self.link;
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            NeighbourAttribute::Destination(match self.address {
                IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
                IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
            }),
            NeighbourAttribute::LinkLayerAddress(self.mac.0.to_vec()),
            NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL)),
        ];
        message
    }

    fn read(message: &NeighbourMessage) -> Option<Self> {
        if message.header.state != NeighbourState::Permanent {
            return None;
        }
        let (mut address, mut mac) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                    address = Some(IpAddr::V4(*v4))
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                    address = Some(IpAddr::V6(*v6))
                }
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = bytes.as_slice().try_into().ok().map(Mac)
                }
                _ => {}
            }
        }
        Some(Self {
            link: message.header.ifindex,
            address: address?,
            mac: mac?,
        })
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "neighbour {} at {} link {}", self.address, self.mac, self.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_read_as_it_is_written() {
        for address in ["10.0.0.7", "fe80::1"] {
            let neighbour = Neighbour {
                link: 3,
                address: address.parse().unwrap(),
                mac: Mac([2, 0, 0, 0, 0, 1]),
            };
            assert_eq!(Neighbour::read(&neighbour.message()), Some(neighbour));
        }
    }
}
