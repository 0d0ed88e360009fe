//! The kernel's objects as plain values: each says itself as a message and is read back from one, so
//! that what is wanted can be compared with what is there.

mod address;
mod link;
mod neighbour;
mod route;
mod rule;

use std::net::IpAddr;

use eni_core::model::Family;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

pub use self::address::Address;
pub use self::link::{Link, LinkChange, Owner, Veth};
pub use self::neighbour::Neighbour;
pub use self::route::{Kind, LOCAL, MAIN, Route, RouteFilter};
pub use self::rule::{Rule, Side};
use crate::socket::{Netlink, NetlinkError};

/// Both families, in the order in which we read them.
pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A dump in which an object, a table or a whole family that does not exist is simply empty.
pub(crate) fn dump(
    netlink: &mut Netlink,
    what: &str,
    message: RouteNetlinkMessage,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    match netlink.dump(what, &message) {
        Err(NetlinkError::Refused(refusal))
            if matches!(
                refusal.errno,
                Errno::ENOENT | Errno::ENODEV | Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP
            ) =>
        {
            Ok(Vec::new())
        }
        other => other,
    }
}

pub(crate) fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// The range of this address alone: `/32` or `/128`.
pub(crate) fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// The range of every address of a family.
pub(crate) fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(Default::default()),
        Family::V6 => IpNet::V6(Default::default()),
    }
}
