//! Removes a leftover, after a second look by name: a dump alone proves no absence.

use std::net::IpAddr;

use eni_core::model::Family;
use eni_core::network::{Leftover, NetworkError, NetworkResult};
use nix::errno::Errno;

use super::reading::{Reading, leaves_by_eni};
use crate::eni;
use crate::identity::{FROM_POD, PROTOCOL, TO_POD, index_of};
use crate::kernel::{Address, Link, MAIN, Neighbour, Owner, Route, Rule, Side};
use crate::socket::{Netlink, Request, tolerate};

/// Removes a leftover, unless something that is there uses it by now.
pub(crate) fn clear(netlink: &mut Netlink, leftover: Leftover) -> NetworkResult<()> {
    match leftover {
        Leftover::Address(address) => clear_address(netlink, address),
        Leftover::Table(table) => clear_table(netlink, table),
        other => Err(NetworkError::Kernel {
            operation: format!("clear {other:?}"),
            message: "it is of a kind that this version does not know; update the agent".into(),
        }),
    }
}

fn clear_address(netlink: &mut Netlink, address: IpAddr) -> NetworkResult<()> {
    if is_in_use(netlink, address)? || is_own(netlink, address)? {
        tracing::debug!(%address, "the address is in use by now; nothing of it is cleared");
        return Ok(());
    }
    let rules = rules_of(netlink, address)?;
    let route = Route::read_to_host(netlink, address, MAIN)?.filter(|route| route.protocol == PROTOCOL);
    let requests = rules
        .iter()
        .map(Rule::delete)
        .chain(route.iter().map(Route::delete));
    all_done(netlink, requests.collect(), &[Errno::ENOENT, Errno::ESRCH])?;
    // An ADD that came in between took these for its own.
    if is_in_use(netlink, address)? {
        return give_back(netlink, address, &rules);
    }
    Ok(())
}

/// The rules of an address that an ADD lacks because they were taken from it.
fn give_back(netlink: &mut Netlink, address: IpAddr, taken: &[Rule]) -> NetworkResult<()> {
    let present = rules_of(netlink, address)?;
    let lacks = |rule: &&Rule| !present.iter().any(|present| present.side == rule.side);
    let requests = taken.iter().filter(lacks).map(Rule::add);
    all_done(netlink, requests.collect(), &[Errno::EEXIST])
}

fn rules_of(netlink: &mut Netlink, address: IpAddr) -> NetworkResult<Vec<Rule>> {
    let ours = |rule: &Rule| match rule.side {
        Side::To => rule.priority == TO_POD,
        Side::From => rule.priority == FROM_POD,
    };
    let rules = Rule::read_all(netlink, Family::of(address))?;
    Ok(rules
        .into_iter()
        .filter(|rule| rule.address == address && ours(rule))
        .collect())
}

/// Whether a pod interface has the address.
fn is_in_use(netlink: &mut Netlink, address: IpAddr) -> NetworkResult<bool> {
    let routed = Route::read_to_host(netlink, address, MAIN)?.and_then(|route| route.link);
    let known = Neighbour::read_all(netlink, Family::of(address), None)?;
    let known = known
        .iter()
        .filter(|neighbour| neighbour.address == address)
        .map(|neighbour| neighbour.link);
    let leading: Vec<u32> = routed.into_iter().chain(known).collect();
    let pods = Link::read_all(netlink)?;
    let pods = pods
        .iter()
        .filter(|link| matches!(link.owner(), Owner::Pod(_) | Owner::Unfinished));
    Ok(pods.into_iter().any(|pod| leading.contains(&pod.index)))
}

/// Whether it is the node's own, such as an ENI's.
fn is_own(netlink: &mut Netlink, address: IpAddr) -> NetworkResult<bool> {
    let own = Address::read_all(netlink, Family::of(address), None)?;
    Ok(own.iter().any(|own| own.address.addr() == address))
}

fn clear_table(netlink: &mut Netlink, table: u32) -> NetworkResult<()> {
    if index_of(table).is_none() {
        return Ok(());
    }
    let reading = Reading::take(netlink)?;
    let in_use = reading.in_use();
    let leads_there = |rule: &&Rule| rule.table == table && leaves_by_eni(rule);
    let mut rules = reading.rules.iter().filter(leads_there);
    if reading.has_device_of(table) || rules.any(|rule| in_use.contains(&rule.address)) {
        tracing::debug!(table, "the table is in use by now; nothing of it is cleared");
        return Ok(());
    }
    eni::clear(netlink, table)
}

fn all_done(netlink: &mut Netlink, requests: Vec<Request>, tolerated: &[Errno]) -> NetworkResult<()> {
    for outcome in netlink.exchange(&requests)? {
        tolerate(outcome, tolerated)?;
    }
    Ok(())
}
