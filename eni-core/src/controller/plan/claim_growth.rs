//! Addresses by claim: where those come from that claims lack.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Action, ClaimNeed, ClaimView, EniView, NodeView, claimed::Fate, count, ours};
use crate::{
    model::{Eni, EniId, EniState, Intent, NodeConfig, Subnet, SubnetChoice, SubnetId},
    policy,
};

/// What is done for what claims lack, and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Growth {
    pub(super) actions: Vec<Action>,
    /// The subnets or the node lack room for some.
    pub(super) starved: bool,
    /// For so many the node's own ENIs are the limit.
    pub(super) pressed: u32,
}

/// Addresses for what claims lack.
pub(super) fn grow(
    view: &NodeView,
    config: &NodeConfig,
    claims: &ClaimView,
    busy: &BTreeSet<EniId>,
) -> Growth {
    let slots = view.limits.secondary_enis();
    let mut site = Site {
        subnets: &view.subnets,
        per_eni: view.limits.secondary_addresses(),
        slots: slots.saturating_sub(count(ours(view, config))),
        spare: claims.spare.clone(),
        rooms: rooms(view, config, claims, busy),
        ordered: BTreeSet::new(),
        growth: Growth::default(),
    };
    let mut exactly: BTreeMap<EniId, (SubnetId, Vec<IpAddr>)> = BTreeMap::new();
    let mut groups: BTreeMap<&SubnetChoice, u32> = BTreeMap::new();
    for need in &claims.needs {
        match need {
            ClaimNeed::Any(choice) => *groups.entry(choice).or_default() += 1,
            ClaimNeed::From(from, ip) => site.bring(from, *ip),
            ClaimNeed::This(ip, subnet) => {
                let found = site.seat(*ip, subnet.as_ref());
                if let Some((subnet, Some(eni))) = found {
                    exactly
                        .entry(eni)
                        .or_insert_with(|| (subnet, Vec::new()))
                        .1
                        .push(*ip);
                }
            }
        }
    }
    for (eni, (subnet, addresses)) in exactly {
        if site.ordered.insert(eni.clone()) {
            site.growth.actions.push(Action::AssignExactly {
                eni,
                subnet,
                addresses,
            });
        }
    }
    for (choice, missing) in groups {
        site.fill(choice, missing);
    }
    site.growth
}

/// A node while it is planned where what goes.
struct Site<'a> {
    subnets: &'a [Subnet],
    per_eni: u32,
    slots: u32,
    /// Addresses to be asked for by name, in the subnets where that is necessary.
    spare: BTreeMap<SubnetId, Vec<IpAddr>>,
    rooms: Vec<Room<'a>>,
    /// ENIs that were given an order: one at a time.
    ordered: BTreeSet<EniId>,
    growth: Growth,
}

/// An ENI that can take addresses, now or once it is there.
struct Room<'a> {
    name: &'a str,
    subnet: SubnetId,
    /// Addresses on it.
    on_it: u32,
    /// Of them nobody's.
    idle: u32,
    /// How many more it takes.
    left: u32,
    usable: Option<&'a Eni>,
}

impl Site<'_> {
    /// A place for this very address: its subnet, and the ENI if it can take an order. `None` if there is no
    /// place yet.
    fn seat(&mut self, ip: IpAddr, subnet: Option<&SubnetId>) -> Option<(SubnetId, Option<EniId>)> {
        let by_range = || self.subnets.iter().find(|subnet| subnet.cidr.contains(&ip));
        let subnet = subnet
            .cloned()
            .or_else(|| by_range().map(|subnet| subnet.id.clone()));
        let Some(subnet) = subnet else {
            self.growth.starved = true;
            return None;
        };
        let fits = |room: &&mut Room<'_>| room.subnet == subnet && room.left > 0;
        if let Some(room) = self.rooms.iter_mut().find(fits) {
            room.left -= 1;
            let eni = room.usable.map(|eni| eni.id.clone());
            return Some((subnet, eni));
        }
        if self.slots == 0 || self.per_eni == 0 {
            self.growth.pressed += 1;
            self.growth.starved = true;
            return None;
        }
        // The ENI's own address comes from the subnet.
        if !self
            .subnets
            .iter()
            .any(|known| known.id == subnet && known.free > 0)
        {
            self.growth.starved = true;
            return None;
        }
        self.slots -= 1;
        self.growth.actions.push(Action::Plan {
            subnet: subnet.clone(),
            secondary: 0,
        });
        self.rooms.push(Room {
            name: "",
            subnet,
            on_it: 0,
            idle: 0,
            left: self.per_eni - 1,
            usable: None,
        });
        None
    }

    /// Brings an address from an ENI that is elsewhere.
    fn bring(&mut self, from: &EniId, ip: IpAddr) {
        if let Some((_, Some(to))) = self.seat(ip, None)
            && !self.ordered.contains(from)
            && !self.ordered.contains(&to)
        {
            self.ordered.extend([from.clone(), to.clone()]);
            self.growth.actions.push(Action::Migrate {
                from: from.clone(),
                to,
                address: ip,
            });
        }
    }

    /// Any addresses of such subnets.
    fn fill(&mut self, choice: &SubnetChoice, mut missing: u32) {
        let fits = |id: &SubnetId| choice.allows(id);
        for room in self.rooms.iter_mut().filter(|room| fits(&room.subnet)) {
            let idle = missing.min(room.idle);
            (room.idle, missing) = (room.idle - idle, missing - idle);
        }
        for room in self.rooms.iter_mut().filter(|room| fits(&room.subnet)) {
            let share = missing.min(room.left);
            (room.left, missing) = (room.left - share, missing - share);
            // The rest of what is counted on comes once the ENI takes another order.
            if share > 0
                && let Some(eni) = room.usable
                && self.ordered.insert(eni.id.clone())
            {
                let (eni, subnet) = (eni.id.clone(), eni.subnet.clone());
                let named = self.spare.get_mut(&subnet);
                let named = named.map(|spare| spare.split_off(spare.len().saturating_sub(share as usize)));
                self.growth.actions.push(match named {
                    Some(addresses) if addresses.is_empty() => {
                        self.growth.starved = true;
                        continue;
                    }
                    Some(addresses) => Action::AssignExactly {
                        eni,
                        subnet,
                        addresses,
                    },
                    None => Action::Assign {
                        eni,
                        subnet,
                        count: share,
                    },
                });
            }
        }
        let subnets = self.subnets.iter().filter(|subnet| fits(&subnet.id));
        let subnets: Vec<_> = subnets.cloned().collect();
        let spread = policy::spread(missing, self.slots, self.per_eni, &subnets);
        self.slots = self.slots.saturating_sub(count(&spread.enis));
        let new: u32 = spread.enis.iter().map(|(_, secondary)| secondary).sum();
        if new < missing && self.slots == 0 {
            self.growth.pressed += missing - new;
        }
        self.growth.starved |= spread.starved || new < missing;
        let new = spread.enis.into_iter();
        // What is asked for by name is asked for once the ENI is there.
        let new = new.map(|(subnet, secondary)| Action::Plan {
            secondary: if self.spare.contains_key(&subnet) {
                0
            } else {
                secondary
            },
            subnet,
        });
        self.growth.actions.extend(new);
    }
}

/// The node's ENIs, the fullest first.
fn rooms<'a>(
    view: &'a NodeView,
    config: &'a NodeConfig,
    claims: &ClaimView,
    busy: &BTreeSet<EniId>,
) -> Vec<Room<'a>> {
    let per_eni = view.limits.secondary_addresses();
    let staying = ours(view, config).filter(|(record, _)| record.intent == Intent::Attached);
    let rooms = staying.filter_map(|(record, eni)| {
        let (on_it, idle, usable) = match eni {
            EniView::Known(known) => {
                let published = config.pool.enis.iter().find(|eni| eni.id == known.eni.id);
                let told = |ip: &IpAddr| published.is_some_and(|eni| eni.names(*ip));
                let addresses = known.eni.secondary_addresses().map(|address| address.ip);
                let idle = addresses.filter(|ip| {
                    claims.fate(*ip, &config.name) == Fate::Unclaimed
                        && !told(ip)
                        && !known.unassigning.contains(ip)
                });
                let usable =
                    known.settled && known.eni.state == EniState::InUse && !busy.contains(&known.eni.id);
                let on_it = count(known.eni.secondary_addresses());
                (on_it, count(idle), usable.then_some(&known.eni))
            }
            EniView::Absent | EniView::Unknown => (record.secondary, record.secondary, None),
            EniView::Gone => return None,
        };
        Some(Room {
            name: &record.name,
            subnet: record.subnet.clone(),
            on_it,
            idle,
            left: per_eni.saturating_sub(on_it),
            usable,
        })
    });
    let mut rooms: Vec<_> = rooms.collect();
    rooms.sort_by_key(|room| (Reverse(room.on_it), room.name));
    rooms
}
