//! What a node needs done, decided from what is known: no clock, no I/O.

mod action;
mod claim_growth;
mod claimed;
mod growth;
mod notice;
mod progress;
mod publication;
mod view;

use std::collections::BTreeSet;

pub use action::Action;
pub use claimed::{ClaimNeed, ClaimView};
pub use notice::Notice;
pub use view::{EniView, NodeView, Observed, Remains};

use crate::{
    model::{AgentReport, EniId, EniRecord, Intent, NodeConfig, NodePool, NodeSpec, PoolEni, WarmRange},
    policy::{self, Sizing},
};

/// What a node needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now.
    pub actions: Vec<Action>,
    /// It needs more addresses than the subnets of its zone have room for: to be looked at again, as
    /// nothing tells when there is room.
    pub starved: bool,
    /// What people must be told.
    pub notices: Vec<Notice>,
}

/// What a node needs. `random` gives bits for generations.
///
/// The result is level-triggered: carrying out any part of it and planning again converges.
pub fn plan(view: &NodeView, random: &mut dyn FnMut() -> u64) -> Plan {
    let Some(config) = &view.config else {
        return configure(view, random).into_iter().collect();
    };
    if let Some(rewrite) = rewrite(view, config, random) {
        return std::iter::once(rewrite).collect();
    }
    let mut plan = Plan::default();
    let warm = policy::warm_range(config.spec.warm, view.warm).unwrap_or_else(|invalid| {
        plan.notices.push(Notice::InvalidWarmRange(invalid));
        view.warm
    });
    for (record, eni) in &view.enis {
        if record.instance == config.spec.instance {
            plan.actions.extend(progress::progress(view, config, record, eni));
        } else if view.gone.contains(&record.instance) {
            let claims = view.claims.as_ref();
            plan.actions
                .extend(progress::leave(record, eni, claims, &config.name));
        } else {
            plan.notices.push(progress::stranded(view, record));
        }
    }
    let lost = publication::unrecorded(view, config).map(|eni| restore(config, eni));
    plan.actions.extend(lost.map(Action::Restore));
    if view.claims.is_some() {
        // Others wait for what is taken off, and it is taken off once.
        let busy = plan.actions.iter().filter_map(Action::eni).cloned().collect();
        plan.actions.extend(claimed::evict(view, config, &busy));
    }
    // An ENI takes one order at a time: where somebody waits, adding goes before taking off.
    let waiting = config.agent.short > 0;
    let yields = |action: &Action| waiting && matches!(action, Action::Unassign { .. });
    let busy = plan.actions.iter().filter(|action| !yields(action));
    let busy: BTreeSet<EniId> = busy.filter_map(Action::eni).cloned().collect();
    let mut pressed = 0;
    let (growth, starved) = match &view.claims {
        None => growth::grow(view, config, warm, &busy),
        Some(claims) => {
            let grown = claim_growth::grow(view, config, claims, &busy);
            pressed = grown.pressed;
            (grown.actions, grown.starved)
        }
    };
    let growing: BTreeSet<_> = growth.iter().filter_map(Action::eni).collect();
    plan.actions
        .retain(|action| !(yields(action) && action.eni().is_some_and(|eni| growing.contains(eni))));
    if starved {
        plan.starved = true;
        plan.notices.push(Notice::Starved(view.node.zone.clone()));
    } else if growth.is_empty() && view.claims.as_ref().is_none_or(|claims| claims.needs.is_empty()) {
        plan.actions.extend(growth::retire(view, config));
    }
    plan.actions.extend(growth);
    let pool = publication::publish(view, config, warm, pressed, random);
    if pool != config.pool {
        plan.actions.push(Action::Publish(pool));
    }
    plan
}

/// What is to be done about a node without a node object, or whose instance is gone: nothing, until the
/// instance is known to be gone; then its ENIs go, and the shared object last.
pub fn depart(remains: &Remains) -> Plan {
    let gone = |record: &EniRecord| remains.gone.contains(&record.instance);
    let leaving = remains.enis.iter().filter(|(record, _)| gone(record));
    let mut plan: Plan = leaving
        .filter_map(|(record, eni)| progress::leave(record, eni, remains.claims.as_ref(), &remains.node))
        .collect();
    let config = remains.config.as_ref();
    let left = config.filter(|config| remains.gone.contains(&config.spec.instance));
    // Claims may keep an ENI for long: nobody must take its addresses for used meanwhile.
    if let Some(config) = left.filter(|config| !config.pool.enis.is_empty() && remains.claims.is_some()) {
        plan.actions.push(Action::Publish(NodePool {
            enis: Vec::new(),
            ..config.pool.clone()
        }));
    }
    let dismissed = left.filter(|_| remains.enis.is_empty());
    plan.actions.extend(dismissed.cloned().map(Action::Dismiss));
    plan
}

impl FromIterator<Action> for Plan {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Self {
            actions: actions.into_iter().collect(),
            ..Self::default()
        }
    }
}

fn configure(view: &NodeView, random: &mut dyn FnMut() -> u64) -> Option<Action> {
    let spec = spec(view, None)?;
    // An object that was deleted under running pods must come back with all that they use: the agent tells a
    // pod whose address is not in it to be deleted.
    let known = |(_, eni): &(EniRecord, EniView)| match eni {
        EniView::Unknown => false,
        EniView::Known(known) => known.confirmed,
        EniView::Absent | EniView::Gone => true,
    };
    if !view.enis.iter().all(known) {
        return None;
    }
    let NodeConfig { spec, pool, .. } = anew(view, spec, random);
    Some(Action::Configure(spec, pool))
}

/// The shared object for the instance and the node object that bear the node's name now.
fn rewrite(view: &NodeView, config: &NodeConfig, random: &mut dyn FnMut() -> u64) -> Option<Action> {
    let mut spec = spec(view, config.spec.warm)?;
    if spec.instance == config.spec.instance {
        spec.limits = config.spec.limits;
    }
    if spec == config.spec {
        return None;
    }
    Some(Action::Rewrite(if spec.instance == config.spec.instance {
        NodeConfig {
            spec,
            ..config.clone()
        }
    } else {
        // What the agent of another machine reported means nothing here.
        anew(view, spec, random)
    }))
}

/// The record of a published ENI, from what is published.
fn restore(config: &NodeConfig, eni: &PoolEni) -> EniRecord {
    EniRecord {
        // The name of the lost record may be another's by now; the id is nobody else's.
        name: eni.id.to_string(),
        token: String::new(),
        node: config.name.clone(),
        instance: config.spec.instance.clone(),
        subnet: eni.subnet.clone(),
        secondary: count(&eni.attached),
        intent: Intent::Attached,
        id: Some(eni.id.clone()),
    }
}

fn spec(view: &NodeView, warm: Option<WarmRange>) -> Option<NodeSpec> {
    Some(NodeSpec {
        instance: view.node.instance.clone()?,
        node_uid: view.node.uid.clone(),
        zone: view.node.zone.clone()?,
        warm,
        limits: None,
    })
}

/// A shared object that no agent has written to, with all that is attached already.
fn anew(view: &NodeView, spec: NodeSpec, random: &mut dyn FnMut() -> u64) -> NodeConfig {
    let mut config = NodeConfig {
        name: view.node.name.clone(),
        spec,
        pool: NodePool::default(),
        agent: AgentReport::default(),
    };
    let warm = policy::warm_range(config.spec.warm, view.warm).unwrap_or(view.warm);
    config.pool = publication::publish(view, &config, warm, 0, random);
    config
}

fn sizing(view: &NodeView, warm: WarmRange, held: u32) -> Sizing {
    Sizing {
        demand: view.demand,
        held,
        warm,
        ceiling: policy::ceiling(view.limits, view.node.max_pods),
        granted: view.granted,
    }
}

/// The ENIs of the instance that the shared object is for; those of an earlier one are not the node's.
fn ours<'a>(
    view: &'a NodeView,
    config: &'a NodeConfig,
) -> impl Iterator<Item = &'a (EniRecord, EniView)> + Clone {
    view.enis
        .iter()
        .filter(|(record, _)| record.instance == config.spec.instance)
}

fn count(items: impl IntoIterator) -> u32 {
    u32::try_from(items.into_iter().count()).unwrap_or(u32::MAX)
}
