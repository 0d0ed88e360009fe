//! What a claim's step is decided from.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Book;
use crate::{
    controller::{
        ClaimNeed, ClaimView, EniView, PoolController,
        index::Index,
        instances::Instances,
        inventory::{Inventory, Location},
    },
    model::{
        Claim, ClaimPhase, EniId, EniRecord, NodeName, PoolAddress, PoolEni, Subnet, SubnetChoice, SubnetId,
        Zone,
    },
    policy::claim::Whereabouts,
};

/// For how long nothing is heard of a node before an address leaves it whose pod object is gone: somebody has deleted
/// that by hand, as Kubernetes itself waits for the node.
const SILENCE: SignedDuration = SignedDuration::from_mins(5);
/// Draws of an address that nobody is known to have.
const TRIES: usize = 64;
/// Of a small range that was drawn in vain, how many addresses are named.
const SPARE: usize = 8;

impl PoolController {
    /// What claims say of the addresses on a node's ENIs, and what they want there.
    pub(in crate::controller) fn claim_view(
        &self,
        node: &NodeName,
        enis: &[(EniRecord, EniView)],
        zone: Option<&Zone>,
    ) -> Option<ClaimView> {
        let index = self.actor.desk.index();
        let book = index.book.as_ref()?;
        let listed = enis.iter().filter_map(|(_, eni)| match eni {
            EniView::Known(known) => Some(known.eni.secondary_addresses()),
            _ => None,
        });
        let config = index.config(node).into_iter();
        let published = config.flat_map(|read| &read.object.pool.enis);
        let published = published.flat_map(|eni| eni.attached.iter().chain(&eni.releasing));
        let addresses = listed.flatten().map(|address| address.ip);
        let addresses: BTreeSet<_> = addresses.chain(published.map(|entry| entry.ip)).collect();
        let held = |ip: &IpAddr| {
            let claim = book.holder(*ip)?.clone();
            let lives = book.lives(&claim.key, &claim.pod);
            Some((*ip, (claim, lives)))
        };
        Some(ClaimView {
            holders: addresses.iter().filter_map(held).collect(),
            promised: addresses
                .iter()
                .copied()
                .filter(|ip| book.is_promised(*ip))
                .collect(),
            needs: self.claim_needs(&index, book, node, enis),
            spare: self.spare(book, zone),
            migrates: self.actor.inventory.migrates(),
            lost: is_lost(&index, node, self.actor.environment.now()),
        })
    }

    fn claim_needs(
        &self,
        index: &Index,
        book: &Book,
        node: &NodeName,
        enis: &[(EniRecord, EniView)],
    ) -> Vec<ClaimNeed> {
        let (now, inventory) = (Instant::now(), &self.actor.inventory);
        let Some(config) = &self.actor.config.claims else {
            return Vec::new();
        };
        let instance = index.config(node).map(|read| &read.object.spec.instance);
        // What is on the node already is not moved there; what its former instance left is.
        let is_of = |eni: &EniId| {
            let mut here = enis
                .iter()
                .filter(|(record, _)| Some(&record.instance) == instance);
            here.any(|(record, _)| record.id.as_ref() == Some(eni))
        };
        let waits = |claim: &&Claim| {
            claim.phase != ClaimPhase::Retained
                && claim.phase != ClaimPhase::Releasing
                && book.lives(&claim.key, &claim.pod)
        };
        let need = |claim: &Claim| match claim.addresses.iter().next() {
            None => Some(ClaimNeed::Any(config.choice(&claim.request))),
            Some(ip) => {
                let holds = book.holder(ip).is_some_and(|holder| holder.key == claim.key);
                match inventory.locate(ip) {
                    _ if !holds => None,
                    Location::Nowhere if book.is_taken(ip, now) || !inventory.is_complete() => None,
                    Location::Nowhere => Some(ClaimNeed::This(ip, claim.subnet.clone())),
                    Location::On(eni, _) | Location::Parked(eni) => {
                        let moves = inventory.migrates() && inventory.is_idle(&eni) && !is_of(&eni);
                        moves.then_some(ClaimNeed::From(eni, ip))
                    }
                    Location::Own(_) | Location::Moving(_) => None,
                }
            }
        };
        book.on(node).filter(waits).filter_map(need).collect()
    }
}

impl PoolController {
    /// Addresses that nobody is known to have, in the subnets of a zone where any address might be a claim's.
    fn spare(&self, book: &Book, zone: Option<&Zone>) -> BTreeMap<SubnetId, Vec<IpAddr>> {
        let subnets = zone.filter(|_| !book.loose().is_empty());
        let subnets = subnets
            .map(|zone| self.actor.inventory.subnets(zone))
            .unwrap_or_default();
        let endangered = |subnet: &Subnet| book.loose().iter().any(|ip| subnet.cidr.contains(ip));
        let subnets = subnets.into_iter().filter(endangered);
        let now = Instant::now();
        let free = |subnet: &Subnet, ip: &IpAddr| {
            *ip != subnet.gateway
                && book.is_free(*ip)
                && !book.is_taken(*ip, now)
                && self.actor.inventory.locate(*ip) == Location::Nowhere
        };
        let spare = subnets.map(|subnet| {
            let hosts = subnet.cidr.hosts();
            let drawn = (0..TRIES).filter_map(|_| random_host(subnet.cidr, self.actor.environment.random()));
            let mut named: Vec<_> = drawn.filter(|ip| free(&subnet, ip)).collect();
            if named.is_empty() {
                named = hosts.filter(|ip| free(&subnet, ip)).take(SPARE).collect();
            }
            named.sort_unstable();
            named.dedup();
            (subnet.id, named)
        });
        spare.collect()
    }
}

/// A host of a range, by random bits; of IPv6 one among its first 2^32.
fn random_host(range: IpNet, bits: u64) -> Option<IpAddr> {
    let width = range.max_prefix_len() - range.prefix_len();
    let offset = bits & ((1 << width.min(32)) - 1);
    let ip = match range.network() {
        IpAddr::V4(network) => IpAddr::from((u32::from(network) + u32::try_from(offset).ok()?).to_be_bytes()),
        IpAddr::V6(network) => IpAddr::from((u128::from(network) + u128::from(offset)).to_be_bytes()),
    };
    (ip != range.network() && ip != range.broadcast()).then_some(ip)
}

/// What the cloud and the nodes' objects say, beside the claims.
pub(super) struct Surroundings<'a> {
    pub(super) index: &'a Index,
    pub(super) inventory: &'a Inventory,
    pub(super) instances: &'a Instances,
    pub(super) now: Timestamp,
}

impl Surroundings<'_> {
    /// Where a claim's address is. Of two families one stands for both: they are assigned to one ENI.
    pub(super) fn whereabouts(&self, claim: &Claim) -> Whereabouts {
        let Some(ip) = claim.addresses.iter().next() else {
            return Whereabouts::Unknown;
        };
        match self.inventory.locate(ip) {
            Location::Nowhere if self.inventory.is_complete() => Whereabouts::Free,
            Location::Nowhere => Whereabouts::Unknown,
            Location::Own(_) => Whereabouts::Taken,
            Location::Moving(_) => Whereabouts::Unknown,
            Location::Parked(_) => Whereabouts::Parked,
            Location::On(eni, instance) => match self.index.host(&eni, &instance) {
                Some(node) if !self.is_evicted(&node, ip) => Whereabouts::On(node),
                _ => Whereabouts::Unknown,
            },
        }
    }

    /// Whether an address is being taken off an ENI of a node, by whomever.
    fn is_evicted(&self, node: &NodeName, ip: IpAddr) -> bool {
        let config = self.index.config(node).map(|read| &read.object.pool);
        config.is_some_and(|pool| pool.enis.iter().any(|eni| eni.evicting.contains(&ip)))
    }

    /// Whether no wiring of the owner of an assigned claim can be left.
    pub(super) fn is_unwired(&self, claim: &Claim, whereabouts: &Whereabouts) -> bool {
        let Some(node) = &claim.node else { return true };
        let config = self.index.config(node).map(|read| &read.object);
        let Some(config) = config else {
            return matches!(whereabouts, Whereabouts::Free | Whereabouts::Parked);
        };
        if self.instances.is_gone(&config.spec.instance) || is_lost(self.index, node, self.now) {
            return true;
        }
        let enis = || config.pool.enis.iter();
        let is_in = |list: fn(&PoolEni) -> &Vec<PoolAddress>| {
            let mut addresses = claim.addresses.iter();
            addresses.any(|ip| enis().any(|eni| names(list(eni), ip)))
        };
        if is_in(|eni| &eni.attached) {
            return false;
        }
        let let_go = is_in(|eni| &eni.releasing);
        // What nobody was told of and is elsewhere was taken away from whoever used it.
        let_go
            || match whereabouts {
                Whereabouts::Unknown => false,
                Whereabouts::On(there) => there != node,
                Whereabouts::Free | Whereabouts::Parked | Whereabouts::Taken => true,
            }
    }

    /// An address on an ENI of the node that nobody has, of the fullest ENI, with its subnet.
    pub(super) fn choose(
        &self,
        book: &Book,
        node: &NodeName,
        choice: &SubnetChoice,
    ) -> Option<(IpAddr, SubnetId)> {
        let config = self.index.config(node).map(|read| &read.object)?;
        let mut best: Option<(usize, EniId, IpAddr, SubnetId)> = None;
        for read in self.index.records(node) {
            let Some(id) = read
                .object
                .id
                .filter(|_| read.object.instance == config.spec.instance)
            else {
                continue;
            };
            if !choice.allows(&read.object.subnet) {
                continue;
            }
            let published = config.pool.enis.iter().find(|eni| eni.id == id);
            let told = |ip: IpAddr| published.is_some_and(|eni| eni.names(ip));
            let free = |ip: &IpAddr| book.is_free(*ip) && !told(*ip);
            let ready = self.inventory.ready_on(&id, &config.spec.instance);
            let count = ready.len();
            let Some(ip) = ready.into_iter().find(free) else {
                continue;
            };
            if best.as_ref().is_none_or(|(most, ..)| count > *most) {
                best = Some((count, id, ip, read.object.subnet));
            }
        }
        best.map(|(_, _, ip, subnet)| (ip, subnet))
    }
}

/// Whether nothing was heard of a node for so long that its claims go on without it. What it may still run has no
/// network once the address is on another ENI: the VPC knows it there alone.
fn is_lost(index: &Index, node: &NodeName, now: Timestamp) -> bool {
    let silent = index.node(node).and_then(|node| node.silent);
    silent.is_some_and(|since| now.duration_since(since) >= SILENCE)
}

fn names(list: &[PoolAddress], ip: IpAddr) -> bool {
    list.iter().any(|entry| entry.ip == ip)
}
