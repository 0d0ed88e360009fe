//! Who draws how much from which subnet.

use std::collections::{BTreeMap, BTreeSet};

use super::{Claimant, Share, Stock};
use crate::{
    model::{NodeName, SubnetId, Zone},
    policy::choice::roomiest,
};

/// All nodes with what they draw, and what is left for others.
pub(super) struct Table<'a> {
    pub(super) seats: Vec<Seat<'a>>,
    free: BTreeMap<&'a Zone, Vec<(u32, &'a SubnetId)>>,
    enis: u32,
}

/// One node's place.
pub(super) struct Seat<'a> {
    name: &'a NodeName,
    pub(super) node: &'a Claimant,
    /// What it is granted by this deal.
    pub(super) granted: u32,
    /// How many addresses its plan comes to, those that it has included.
    pub(super) placed: u32,
    /// It shall be granted something else, in a later deal.
    pub(super) postponed: bool,
    more: Vec<u32>,
    new: Vec<(&'a SubnetId, u32)>,
}

impl Seat<'_> {
    /// Addresses beyond what scheduled pods need.
    pub(super) fn idle(&self) -> u32 {
        self.granted.saturating_sub(self.node.scheduled)
    }

    /// How many addresses beyond the pods it could use.
    pub(super) fn spare(&self) -> u32 {
        self.node.ceiling.saturating_sub(self.node.scheduled)
    }

    /// What the node has.
    pub(super) fn bound(&self) -> u32 {
        self.node.enis.iter().map(|(_, bound)| bound).sum()
    }

    /// The subnet of each of its ENIs, those that would be made included, and what that would carry.
    pub(super) fn carried(&self) -> impl Iterator<Item = (&SubnetId, u32)> {
        let old = self.node.enis.iter().zip(&self.more);
        let old = old.map(|((subnet, bound), more)| (subnet, bound + more));
        old.chain(self.new.iter().map(|(subnet, bound)| (*subnet, *bound)))
    }

    /// What each of its ENIs can carry more, whatever the subnet has.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&SubnetId, u32)> {
        let rooms = self.carried();
        rooms.map(|(subnet, carried)| (subnet, self.node.per_eni.saturating_sub(carried)))
    }

    fn room(&self) -> u32 {
        self.rooms().map(|(_, room)| room).sum()
    }

    /// ENIs that can still be added.
    pub(super) fn slots(&self) -> u32 {
        let made = u32::try_from(self.new.len()).unwrap_or(u32::MAX);
        self.node.slots.saturating_sub(made)
    }

    /// What a plan for `upto` would take: addresses of the subnets, those of new ENIs themselves included,
    /// and how many of these there would be.
    pub(super) fn cost(&self, upto: u32) -> (u32, u32) {
        let more = upto.saturating_sub(self.placed);
        let enis = more
            .saturating_sub(self.room())
            .div_ceil(self.node.per_eni.max(1));
        (more + enis, enis)
    }

    /// The most that it could come to if subnets were endless.
    pub(super) fn attainable(&self) -> u32 {
        let more = self.room() + self.slots() * self.node.per_eni;
        (self.placed + more).min(self.node.ceiling)
    }
}

impl<'a> Table<'a> {
    pub(super) fn new(stock: &'a Stock, nodes: &'a BTreeMap<NodeName, Claimant>) -> Self {
        let mut free: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, (zone, left)) in &stock.subnets {
            free.entry(zone).or_default().push((*left, id));
        }
        let seat = |(name, node): (&'a NodeName, &'a Claimant)| {
            let mut seat = Seat {
                name,
                node,
                granted: node.granted,
                placed: 0,
                postponed: false,
                more: vec![0; node.enis.len()],
                new: Vec::new(),
            };
            seat.placed = seat.bound();
            seat
        };
        Self {
            seats: nodes.iter().map(seat).collect(),
            free,
            enis: stock.enis.unwrap_or(u32::MAX),
        }
    }

    /// The zones in order.
    pub(super) fn zones(&self) -> BTreeSet<&'a Zone> {
        self.seats.iter().map(|seat| &seat.node.zone).collect()
    }

    /// The places of a zone's nodes.
    pub(super) fn zone(&self, zone: &Zone) -> Vec<usize> {
        let here = self.seats.iter().enumerate();
        here.filter(|(_, seat)| seat.node.zone == *zone)
            .map(|(place, _)| place)
            .collect()
    }

    /// How many ENIs can still be made.
    pub(super) fn enis(&self) -> u32 {
        self.enis
    }

    /// What is left in a zone.
    pub(super) fn left(&self, zone: &Zone) -> u32 {
        let free = self.free.get(zone).into_iter().flatten();
        free.map(|(free, _)| *free).sum()
    }

    /// The most that a node could come to if it alone drew from here on.
    pub(super) fn reach(&self, place: usize) -> u32 {
        let seat = &self.seats[place];
        let mut free = self.free.get(&seat.node.zone).cloned().unwrap_or_default();
        let mut reach = seat.placed;
        for (subnet, room) in seat.rooms() {
            if let Some((left, _)) = free.iter_mut().find(|(_, id)| *id == subnet) {
                let drawn = room.min(*left);
                *left -= drawn;
                reach += drawn;
            }
        }
        for _ in 0..seat.slots().min(self.enis) {
            let Some((left, _)) = roomiest(&mut free) else {
                break;
            };
            let drawn = seat.node.per_eni.min(*left - 1);
            *left -= drawn + 1;
            reach += drawn;
        }
        reach
    }

    /// Draws for every node up to a figure, as far as there is room; with `new` also for new ENIs.
    pub(super) fn seat_all(&mut self, upto: impl Fn(&Seat<'_>) -> u32, new: bool) {
        for place in 0..self.seats.len() {
            let upto = upto(&self.seats[place]);
            self.seat(place, upto, new);
        }
    }

    /// Draws for one node up to `upto`, as far as there is room.
    pub(super) fn seat(&mut self, place: usize, upto: u32, new: bool) {
        let Seat {
            node,
            placed,
            more,
            new: made,
            ..
        } = &mut self.seats[place];
        let Some(free) = self.free.get_mut(&node.zone) else {
            return;
        };
        let old = node.enis.iter().zip(more);
        let old = old.map(|((subnet, bound), more)| (subnet, node.per_eni.saturating_sub(*bound), more));
        let added = made
            .iter_mut()
            .map(|(subnet, more)| (*subnet, node.per_eni, more));
        for (subnet, room, more) in old.chain(added) {
            let Some((left, _)) = free.iter_mut().find(|(_, id)| *id == subnet) else {
                continue;
            };
            let drawn = upto
                .saturating_sub(*placed)
                .min(room.saturating_sub(*more))
                .min(*left);
            *left -= drawn;
            *more += drawn;
            *placed += drawn;
        }
        while new && *placed < upto && self.enis > 0 && made.len() < node.slots as usize && node.per_eni > 0 {
            let Some((left, subnet)) = roomiest(free) else {
                break;
            };
            let drawn = (upto - *placed).min(node.per_eni).min(*left - 1);
            *left -= drawn + 1;
            *placed += drawn;
            self.enis -= 1;
            made.push((*subnet, drawn));
        }
    }

    /// Every node's share.
    pub(super) fn shares(self) -> BTreeMap<NodeName, Share> {
        let share = |seat: Seat<'_>| {
            let new = seat
                .new
                .into_iter()
                .map(|(subnet, count)| (subnet.clone(), count));
            let share = Share {
                granted: seat.granted,
                more: seat.more,
                new: new.collect(),
                postponed: seat.postponed,
            };
            (seat.name.clone(), share)
        };
        self.seats.into_iter().map(share).collect()
    }
}
