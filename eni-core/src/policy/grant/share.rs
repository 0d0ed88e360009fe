//! Who gets more, and who gives back, within one zone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    GrantPolicy,
    table::{Seat, Table},
};
use crate::model::{SubnetId, Zone};

/// Every grant as it is, as far as it can be attained, and never below the scheduled pods.
pub(super) fn keep(table: &mut Table<'_>, seats: &[usize]) {
    for place in seats {
        let seat = &mut table.seats[*place];
        if !seat.node.frozen {
            let attainable = seat.placed.max(seat.node.scheduled);
            seat.granted = seat.node.granted.min(attainable).max(seat.node.scheduled);
        }
    }
}

/// Shares what is left: everybody is lifted to the same number of idle addresses.
pub(super) fn raise(table: &mut Table<'_>, zone: &Zone, seats: &[usize], policy: &GrantPolicy) {
    let mut left = table.left(zone);
    let mut allowance = allowance(table, zone, seats);
    // Whoever cannot draw from what is left must not hold the others down.
    let reach: BTreeMap<_, _> = seats.iter().map(|place| (*place, table.reach(*place))).collect();
    let lifted = |place: usize, seat: &Seat<'_>, level: u32| {
        let idle = seat.spare().min(level).max(seat.idle());
        (seat.node.scheduled + idle).min(reach[&place]).max(seat.granted)
    };
    let mut order: Vec<_> = seats
        .iter()
        .copied()
        .filter(|place| !table.seats[*place].node.frozen)
        .collect();
    order.sort_by_key(|place| (table.seats[*place].idle(), *place));
    let enis = table.enis();
    let affordable = |level: u32| {
        let seats = order.iter().map(|place| (*place, &table.seats[*place]));
        let costs = seats.map(|(place, seat)| seat.cost(lifted(place, seat, level)));
        let (addresses, made) = costs.fold((0u64, 0u64), |(addresses, made), (more, new)| {
            (addresses + u64::from(more), made + u64::from(new))
        });
        addresses <= u64::from(left) && made <= u64::from(enis)
    };
    let most = order
        .iter()
        .map(|place| table.seats[*place].spare())
        .max()
        .unwrap_or_default();
    let level = highest(most, affordable);
    for place in order {
        let before = &table.seats[place];
        let upto = lifted(place, before, level);
        let gain = upto - before.granted;
        let worth = gain >= policy.step || upto >= before.node.ceiling || before.idle() < policy.reserve;
        if gain == 0 || !worth || before.cost(upto).0 > left {
            continue;
        }
        let stock = table.left(zone);
        table.seat(place, upto, true);
        left -= (stock - table.left(zone)).min(left);
        let seat = &mut table.seats[place];
        let counted = counted(seat).max(seat.granted);
        let attained = upto.min(seat.placed).min(counted.saturating_add(allowance));
        allowance -= attained.saturating_sub(counted);
        seat.granted = seat.granted.max(attained);
    }
}

/// Lowers the grants that are idlest by what others lack. Whether somebody lacks something.
pub(super) fn take_back(table: &mut Table<'_>, seats: &[usize], policy: &GrantPolicy) -> bool {
    let living: Vec<_> = seats
        .iter()
        .copied()
        .filter(|place| !table.seats[*place].node.frozen)
        .collect();
    let all = || living.iter().map(|place| &table.seats[*place]);
    // As much as everybody can have at the same time.
    let idle: u64 = all().map(|seat| u64::from(seat.idle())).sum();
    let average = idle / u64::try_from(living.len()).unwrap_or(1).max(1);
    let reserve = policy.reserve.min(u32::try_from(average).unwrap_or(u32::MAX));
    let pods: u64 = all().map(|seat| u64::from(unserved(seat))).sum();
    let reserves: u64 = all().map(|seat| u64::from(wanting(seat, reserve))).sum();
    let coming: u64 = all().map(|seat| u64::from(on_its_way(seat))).sum();
    let lacking = pods + reserves > 0;
    let lack = |seat: &&Seat<'_>| unserved(seat) > 0 || wanting(seat, reserve) > 0;
    let useful = Useful::to(all().filter(lack));
    // For pods that are there others give all that is idle; for a reserve, only what is above it.
    lower(table, &living, &useful, pods.saturating_sub(coming), 0);
    lower(
        table,
        &living,
        &useful,
        reserves.saturating_sub(coming.saturating_sub(pods)),
        reserve,
    );
    lacking
}

/// At most so many changes: first those that others wait for, then the neediest.
pub(super) fn bound_changes(table: &mut Table<'_>, most: usize) {
    let changed = |(_, seat): &(usize, &Seat<'_>)| seat.granted != seat.node.granted;
    let changes = table.seats.iter().enumerate().filter(changed);
    let mut changes: Vec<_> = changes
        .map(|(place, seat)| {
            let idle = seat.node.granted.saturating_sub(seat.node.scheduled);
            let lowered = seat.granted < seat.node.granted;
            (!lowered, if lowered { 0 } else { idle }, place)
        })
        .collect();
    changes.sort_unstable();
    for (_, _, place) in changes.into_iter().skip(most) {
        let seat = &mut table.seats[place];
        seat.granted = seat.node.granted;
        seat.postponed = true;
    }
}

/// The subnets whose addresses help those who lack some.
enum Useful {
    /// Somebody can make another ENI, in whichever.
    All,
    /// Nobody can: those in which their ENIs have room.
    These(BTreeSet<SubnetId>),
}

impl Useful {
    fn to<'a>(lacking: impl Iterator<Item = &'a Seat<'a>>) -> Self {
        let mut subnets = BTreeSet::new();
        for seat in lacking {
            if seat.slots() > 0 {
                return Self::All;
            }
            let rooms = seat.rooms().filter(|(_, room)| *room > 0);
            subnets.extend(rooms.map(|(subnet, _)| subnet.clone()));
        }
        Self::These(subnets)
    }

    /// How much a node may give back in vain before it gives anything of use. Which of its addresses are idle
    /// only its agent knows: it may be those that nobody else can use.
    fn in_vain(&self, seat: &Seat<'_>) -> u32 {
        match self {
            Self::All => 0,
            Self::These(subnets) => {
                let in_vain = seat.carried().filter(|(subnet, _)| !subnets.contains(*subnet));
                in_vain.map(|(_, carried)| carried).sum()
            }
        }
    }
}

/// Lowers the idlest grants until `wanted` in all is of use to others, none below `floor` idle addresses, and
/// none that gives nothing of use.
fn lower(table: &mut Table<'_>, seats: &[usize], useful: &Useful, wanted: u64, floor: u32) {
    let gives = |seat: &Seat<'_>, level: u32| {
        let idle = seat.idle().saturating_sub(level.max(floor));
        u64::from(idle.saturating_sub(useful.in_vain(seat)))
    };
    let sum = |table: &Table<'_>, level: u32| {
        seats
            .iter()
            .map(|place| gives(&table.seats[*place], level))
            .sum::<u64>()
    };
    let most = seats
        .iter()
        .map(|place| table.seats[*place].idle())
        .max()
        .unwrap_or_default();
    if wanted == 0 || most <= floor {
        return;
    }
    let level = highest(most, |level| sum(table, level) >= wanted).max(floor);
    let mut wanted = wanted;
    for place in seats {
        let seat = &mut table.seats[*place];
        let given = gives(seat, level).min(wanted);
        if given == 0 {
            continue;
        }
        wanted -= given;
        seat.granted -= useful.in_vain(seat) + u32::try_from(given).unwrap_or(u32::MAX);
    }
}

/// Scheduled pods that no plan serves.
fn unserved(seat: &Seat<'_>) -> u32 {
    let wanted = seat.node.scheduled.min(seat.node.ceiling).min(seat.attainable());
    wanted.saturating_sub(seat.placed)
}

/// What a node lacks that has less than half of its reserve; so that not every pod makes somebody give.
fn wanting(seat: &Seat<'_>, reserve: u32) -> u32 {
    let reserve = reserve.min(seat.spare());
    let upto = (seat.node.scheduled + reserve).min(seat.attainable());
    if seat.idle() < reserve.div_ceil(2) {
        upto.saturating_sub(seat.granted.max(seat.node.scheduled))
    } else {
        0
    }
}

/// What a node gives back already: lowered and still advertised, or idle and still bound.
fn on_its_way(seat: &Seat<'_>) -> u32 {
    let keeps = seat.granted.max(seat.node.scheduled);
    seat.node.committed.max(seat.bound()).saturating_sub(keeps)
}

/// What can be granted on top of what nodes are counted on to use. It is less than what is left where some
/// are counted on for what no plan has.
fn allowance(table: &Table<'_>, zone: &Zone, seats: &[usize]) -> u32 {
    let sum = |figure: fn(&Seat<'_>) -> u32| {
        let figures = seats.iter().map(|place| figure(&table.seats[*place]));
        figures.fold(0, u32::saturating_add)
    };
    let all = table.left(zone).saturating_add(sum(|seat| seat.placed));
    all.saturating_sub(sum(counted))
}

fn counted(seat: &Seat<'_>) -> u32 {
    seat.node.committed.max(seat.node.scheduled)
}

/// The highest level up to `most` that holds, given that lower ones hold if a higher one does.
fn highest(most: u32, holds: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}
