//! The kernel requests of which a VPC is made, beyond those that a node's agent needs too.

use std::os::fd::{AsFd, AsRawFd};

use eni_core::model::Mac;
use eni_netlink::{
    kernel::{Link, LinkChange},
    socket::{Netlink, NetlinkError, Request},
};
use rtnetlink::{LinkUnspec, LinkVeth, packet_route::RouteNetlinkMessage};

/// The loopback's index, in every namespace.
pub const LOOPBACK: u32 = 1;

/// A veth pair whose ends are down; the one called `device` gets the MAC.
pub fn add_veth(device: &str, port: &str, mac: Mac) -> Request {
    let message = LinkVeth::new(device, port).address(mac.0.to_vec()).build();
    Request::create(
        format!("add veth {device} {mac} with peer {port}"),
        RouteNetlinkMessage::NewLink(message),
    )
}

/// Sets a link up.
pub fn set_up(index: u32) -> Request {
    let change = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    Link::change(index, &change)
}

/// Moves a link to another namespace, where it is down and has the name `name`. `to` has to stay open
/// until the request was answered.
pub fn move_link(index: u32, to: &impl AsFd, name: &str) -> Request {
    let message = LinkUnspec::new_with_index(index)
        .setns_by_fd(to.as_fd().as_raw_fd())
        .name(name)
        .build();
    Request::new(
        format!("move link {index} away as {name}"),
        RouteNetlinkMessage::SetLink(message),
    )
}

/// The link with that MAC.
pub fn by_mac(netlink: &mut Netlink, mac: Mac) -> Result<Option<Link>, NetlinkError> {
    Ok(Link::read_all(netlink)?
        .into_iter()
        .find(|link| link.mac == Some(mac)))
}

/// Carries out `requests` in order, up to the first that is refused.
pub fn run(netlink: &mut Netlink, requests: impl IntoIterator<Item = Request>) -> Result<(), NetlinkError> {
    requests
        .into_iter()
        .try_for_each(|request| netlink.request(request).map(|_| ()))
}
