//! Grants: how many addresses each node can attain out of the subnets it shares with others, and may
//! therefore advertise.
//!
//! A grant is backed by a plan of ENIs per subnet that can be carried out for all nodes at once: an ENI's
//! own address costs one, an instance has so many slots, an ENI so many addresses. Scheduled pods come
//! first, the rest is shared. What was granted once stays until somebody needs it: nothing is written
//! without a reason.

mod ledger;
mod share;
mod table;

use std::{collections::BTreeMap, time::Duration};

pub use ledger::Ledger;
use table::{Seat, Table};

use crate::model::{NodeName, SubnetId, Zone};

/// How grants are dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantPolicy {
    /// Idle addresses that each node of a crowded zone shall at least be granted beyond its pods, as far as
    /// that is possible for all. 10 by default.
    pub reserve: u32,
    /// A grant above the reserve is raised by at least this much, or to the node's ceiling: small change
    /// is not worth a write. 8 by default.
    pub step: u32,
    /// How long after a node lowered what it advertises the scheduler may still count on the old figure.
    /// 5 s by default, far above the lag of a healthy watch.
    pub pause: Duration,
    /// Grants that one deal may change. 200 by default: at a deal every few seconds, well below what an
    /// API server minds.
    pub changes: usize,
}

impl Default for GrantPolicy {
    fn default() -> Self {
        Self {
            reserve: 10,
            step: 8,
            pause: Duration::from_secs(5),
            changes: 200,
        }
    }
}

/// What can still be taken, beyond what nodes have bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Each subnet's zone and free addresses.
    pub subnets: BTreeMap<SubnetId, (Zone, u32)>,
    /// ENIs that the VPC takes beyond those that exist, where that is known.
    pub enis: Option<u32>,
}

/// What a deal must know of a node. All figures count addresses for pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// Its zone.
    pub zone: Zone,
    /// The ENIs that it has or that are planned: the subnet of each, and what it carries.
    pub enis: Vec<(SubnetId, u32)>,
    /// ENIs that can be added.
    pub slots: u32,
    /// Addresses that one ENI carries.
    pub per_eni: u32,
    /// The most that the node can use.
    pub ceiling: u32,
    /// Pods scheduled to it that need an address.
    pub scheduled: u32,
    /// What it is granted now.
    pub granted: u32,
    /// What others must not count on: see [`Ledger`].
    pub committed: u32,
    /// Nothing is known that would allow another grant; what it has stays.
    pub frozen: bool,
}

/// A node's grant and the plan behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What it may advertise.
    pub granted: u32,
    /// What would be added to each of its ENIs, in their order.
    pub more: Vec<u32>,
    /// The ENIs that would be made: the subnet of each and what it would carry.
    pub new: Vec<(SubnetId, u32)>,
    /// It shall change, and others come first: a later deal changes it.
    pub postponed: bool,
}

/// The outcome of a deal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deal {
    /// Every node's share.
    pub shares: BTreeMap<NodeName, Share>,
    /// Somebody lacks what others must give back first, or what the subnets do not have.
    pub crowded: bool,
}

/// Deals out what is in stock. With `calm` nothing is raised beyond what is committed already.
///
/// O(n log n) in the nodes.
pub fn deal(stock: &Stock, nodes: &BTreeMap<NodeName, Claimant>, policy: &GrantPolicy, calm: bool) -> Deal {
    let mut table = Table::new(stock, nodes);
    // Pods that are there, then what others may count on already; of both first what needs no new ENI.
    for upto in [scheduled, committed] {
        for new in [false, true] {
            table.seat_all(upto, new);
        }
    }
    let mut deal = Deal::default();
    for zone in table.zones() {
        let seats = table.zone(zone);
        share::keep(&mut table, &seats);
        if !calm {
            share::raise(&mut table, zone, &seats, policy);
        }
        deal.crowded |= share::take_back(&mut table, &seats, policy);
    }
    share::bound_changes(&mut table, policy.changes);
    deal.shares = table.shares();
    deal
}

fn scheduled(seat: &Seat<'_>) -> u32 {
    seat.node.scheduled.min(seat.node.ceiling)
}

fn committed(seat: &Seat<'_>) -> u32 {
    seat.node.committed.min(seat.node.ceiling)
}
