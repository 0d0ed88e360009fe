//! DEL: takes a pod interface off the wire, as much of it as is left.

use std::collections::BTreeSet;
use std::net::IpAddr;

use eni_core::network::{NetworkError, NetworkResult, PodInterface};
use nix::errno::Errno;

use crate::error::all_of;
use crate::identity::{DEAD_GROUP, End, alias, dead_name, host_name, mac};
use crate::kernel::{FAMILIES, Link, LinkChange, MAIN, Owner, Route, RouteFilter, Rule, host};
use crate::node::Node;
use crate::socket::{Netlink, Outcome, tolerate};

/// More rules than that for one address of ours means that somebody adds them as we delete.
const RULES_PER_ADDRESS: usize = 16;

/// What becomes of a device that is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// It is gone on return: its other end is in the way.
    Deleted,
    /// It is down, bears another name and waits for the reaper.
    Buried,
}

/// Takes a pod interface off the wire.
pub(crate) fn unwire(node: &Node, interface: &PodInterface) -> NetworkResult<()> {
    unwire_found(node, interface, find)
}

/// Takes off the wire what an ADD made since the interface was taken off it: that bears the name that it has by itself,
/// so that nothing is searched for.
pub(crate) fn unwire_again(node: &Node, interface: &PodInterface) -> NetworkResult<()> {
    unwire_found(node, interface, find_by_name)
}

fn unwire_found(
    node: &Node,
    interface: &PodInterface,
    find: impl FnOnce(&mut Netlink, &PodInterface) -> NetworkResult<Option<Link>>,
) -> NetworkResult<()> {
    let buried = node.with_socket(|netlink| {
        let known = interface
            .addresses
            .into_iter()
            .flat_map(|addresses| addresses.iter());
        match find(netlink, interface)? {
            Some(link) => remove_with(netlink, &link, known, Device::Buried).map(|()| true),
            // The namespace is gone and took the device and its routes along; the rules stayed.
            None => {
                let errors = known.filter_map(|address| remove_rules(netlink, address, None).err());
                all_of("remove rules", errors.collect()).map(|()| false)
            }
        }
    })?;
    if buried {
        node.wake_reaper();
    }
    Ok(())
}

/// Removes one of our devices and what leads to it.
pub(super) fn remove(netlink: &mut Netlink, link: &Link, device: Device) -> NetworkResult<()> {
    remove_with(netlink, link, std::iter::empty(), device)
}

fn remove_with(
    netlink: &mut Netlink,
    link: &Link,
    known: impl Iterator<Item = IpAddr>,
    device: Device,
) -> NetworkResult<()> {
    let mut errors = Vec::new();
    let mut addresses: BTreeSet<IpAddr> = known.collect();
    // Who knows the addresses need not ask for them.
    let asked = if addresses.is_empty() { &FAMILIES[..] } else { &[] };
    for family in asked {
        let filter = RouteFilter {
            table: Some(MAIN),
            link: Some(link.index),
            ours: true,
        };
        match Route::read_all(netlink, *family, filter) {
            Ok(routes) => addresses.extend(
                routes
                    .iter()
                    .map(|route| route.destination)
                    .filter(|destination| *destination == host(destination.addr()))
                    .map(|destination| destination.addr()),
            ),
            Err(error) => errors.push(error.into()),
        }
    }
    // Rules first: while the device is there, a repeated DEL still finds the addresses by it.
    for address in addresses {
        errors.extend(remove_rules(netlink, address, Some(link.index)).err());
    }
    // The routes and neighbours go with it.
    let gone = match device {
        Device::Deleted => delete(netlink, link),
        Device::Buried => bury(netlink, link).or_else(|error| {
            tracing::warn!(%error, device = link.name, "it cannot be set aside and is deleted at once");
            delete(netlink, link)
        }),
    };
    errors.extend(gone.err());
    all_of(&format!("remove device {}", link.name), errors)
}

fn delete(netlink: &mut Netlink, link: &Link) -> NetworkResult<()> {
    all_gone(netlink.exchange(&[Link::delete(link.index)])?)
}

/// Down takes the routes and neighbours away; another name leaves the own one to the next sandbox. It is
/// marked as dead in the same step, lest a repair set it up again.
fn bury(netlink: &mut Netlink, link: &Link) -> NetworkResult<()> {
    let down = LinkChange {
        up: Some(false),
        group: Some(DEAD_GROUP),
        ..LinkChange::default()
    };
    let rename = LinkChange {
        name: Some(dead_name(link.index)),
        ..LinkChange::default()
    };
    all_gone(netlink.exchange(&[Link::change(link.index, &down), Link::change(link.index, &rename)])?)
}

fn all_gone(outcomes: Vec<Outcome>) -> NetworkResult<()> {
    let errors = outcomes
        .into_iter()
        .filter_map(|outcome| tolerate(outcome, &[Errno::ENODEV]).err());
    all_of("remove device", errors.map(NetworkError::from).collect())
}

/// Removes our rules of an address, unless its route shows that another device has it now.
fn remove_rules(netlink: &mut Netlink, address: IpAddr, link: Option<u32>) -> NetworkResult<()> {
    if let Some(route) = Route::read_to_host(netlink, address, MAIN)?
        && route.link != link
    {
        tracing::debug!(%address, %route, "the address has another owner now; its rules stay");
        return Ok(());
    }
    // The table of the second is not known here. Priority, address and our protocol number leave nothing
    // else that it could meet.
    let mut left = vec![
        Rule::from(address, 0).delete_any_table(),
        Rule::to(address).delete(),
    ];
    for _ in 0..RULES_PER_ADDRESS {
        let outcomes = netlink.exchange(&left)?;
        let mut again = Vec::new();
        for (request, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => again.push(request),
                Err(refusal) => {
                    tolerate(Err(refusal), &[Errno::ENOENT, Errno::EAFNOSUPPORT])?;
                }
            }
        }
        if again.is_empty() {
            return Ok(());
        }
        left = again;
    }
    Err(NetworkError::Kernel {
        operation: format!("delete the rules of {address}"),
        message: format!("{RULES_PER_ADDRESS} were deleted and there are more; another process adds them"),
    })
}

/// The device of a pod interface: under its name, or under any.
fn find(netlink: &mut Netlink, interface: &PodInterface) -> NetworkResult<Option<Link>> {
    match find_by_name(netlink, interface)? {
        Some(link) => Ok(Some(link)),
        None => {
            let link = find_by_alias(netlink, &alias(&interface.key))?;
            Ok(link.filter(|link| link.owner() != Owner::Dead))
        }
    }
}

fn find_by_name(netlink: &mut Netlink, interface: &PodInterface) -> NetworkResult<Option<Link>> {
    let key = &interface.key;
    let (wanted, wanted_mac) = (alias(key), mac(key, End::Host));
    let name = host_name(interface.pod.as_ref(), key);
    let named = Link::by_name(netlink, &name)?.filter(|link| match link.owner() {
        Owner::Pod(_) => link.alias.as_deref() == Some(&wanted),
        Owner::Unfinished => link.mac == Some(wanted_mac),
        Owner::Dead | Owner::Foreign => false,
    });
    Ok(named)
}

/// The device with that alias, whatever its name; in service or buried.
pub(super) fn find_by_alias(netlink: &mut Netlink, alias: &str) -> NetworkResult<Option<Link>> {
    let mut links = Link::read_all(netlink)?;
    // One in service first.
    links.sort_by_key(|link| link.owner() == Owner::Dead);
    Ok(links.into_iter().find(|link| {
        link.alias.as_deref() == Some(alias) && matches!(link.owner(), Owner::Pod(_) | Owner::Dead)
    }))
}
