//! What a node lacks, and which ENIs it does not need any more.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{Action, EniView, NodeView, count, ours, sizing};
use crate::{
    model::{EniId, EniRecord, EniState, Intent, NodeConfig, PoolAddress, WarmRange},
    policy,
};

/// Addresses for what is missing: first on ENIs with room, the fullest first, then on new ones.
pub(super) fn grow(
    view: &NodeView,
    config: &NodeConfig,
    warm: WarmRange,
    busy: &BTreeSet<EniId>,
) -> (Vec<Action>, bool) {
    let per_eni = view.limits.secondary_addresses();
    let free_in: BTreeMap<_, _> = view
        .subnets
        .iter()
        .map(|subnet| (&subnet.id, subnet.free))
        .collect();
    let mut bound = 0;
    let mut rooms = Vec::new();
    for (record, eni) in ours(view, config).filter(|(record, _)| record.intent == Intent::Attached) {
        match eni {
            EniView::Known(known) => {
                let on_it = count(known.eni.secondary_addresses());
                let leaving = config.pool.enis.iter().filter(|eni| eni.id == known.eni.id);
                // Those that a listing lacks already are not on it.
                let leaving = leaving
                    .flat_map(|eni| &eni.releasing)
                    .filter(|entry| known.keeps(entry.ip));
                bound += on_it.saturating_sub(count(leaving));
                let free = free_in.get(&record.subnet).copied().unwrap_or_default();
                let usable =
                    known.settled && known.eni.state == EniState::InUse && !busy.contains(&known.eni.id);
                let room = per_eni.saturating_sub(on_it).min(free);
                rooms.push((Reverse(on_it), &record.name, room, usable.then_some(&known.eni)));
            }
            EniView::Absent | EniView::Unknown => {
                bound += record.secondary;
                let free = free_in.get(&record.subnet).copied().unwrap_or_default();
                let room = per_eni.saturating_sub(record.secondary).min(free);
                rooms.push((Reverse(record.secondary), &record.name, room, None));
            }
            EniView::Gone => {}
        }
    }
    let attached = |entry: &&PoolAddress| config.pool.enis.iter().any(|eni| eni.attached.contains(entry));
    let fenced = count(config.agent.withdrawn.iter().filter(attached));
    let held = config.agent.held.saturating_add(fenced);
    let sizing = sizing(view, warm, held);
    let mut deficit = sizing.target().saturating_sub(bound);
    let mut actions = Vec::new();
    rooms.sort_by_key(|(on_it, name, ..)| (*on_it, *name));
    for (_, _, room, usable) in rooms {
        let share = deficit.min(room);
        deficit -= share;
        // The room of an ENI with an order under way is counted on, and used once that is done.
        if share > 0
            && let Some(eni) = usable
        {
            actions.push(Action::Assign {
                eni: eni.id.clone(),
                subnet: eni.subnet.clone(),
                count: share,
            });
        }
    }
    let slots = view
        .limits
        .secondary_enis()
        .saturating_sub(count(ours(view, config)));
    // The target is what the ENIs can carry: with all of them there, it is their subnets that lack something.
    let staying = |(record, eni): &(EniRecord, EniView)| {
        record.intent == Intent::Attached && !matches!(eni, EniView::Gone)
    };
    let full = slots == 0 && ours(view, config).all(staying);
    let mut spread = policy::spread(deficit, slots, per_eni, &view.subnets);
    spread.starved |= full && deficit > 0;
    let new = spread.enis.into_iter();
    actions.extend(new.map(|(subnet, secondary)| Action::Plan { subnet, secondary }));
    (actions, spread.starved)
}

/// ENIs that carry nothing, and that the agent knows to carry nothing.
pub(super) fn retire(view: &NodeView, config: &NodeConfig) -> Vec<Action> {
    let empty = |(record, eni): &&(EniRecord, EniView)| {
        let EniView::Known(known) = eni else { return false };
        let published = config.pool.enis.iter().find(|eni| eni.id == known.eni.id);
        record.intent == Intent::Attached
            && known.settled
            && known.eni.state == EniState::InUse
            && known.eni.secondary_addresses().next().is_none()
            && published.is_some_and(|eni| eni.attached.is_empty() && eni.releasing.is_empty())
    };
    ours(view, config)
        .filter(empty)
        .map(|(record, _)| Action::Retire(record.clone()))
        .collect()
}
