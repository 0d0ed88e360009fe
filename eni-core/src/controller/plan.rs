//! What a node needs done, decided from what is known: no clock, no I/O.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    model::{
        AgentReport, Eni, EniId, EniRecord, EniState, Generation, Intent, Limits, Node, NodeConfig, NodePool,
        NodeSpec, PoolAddress, PoolEni, Subnet, SubnetId, WarmRange,
    },
    policy,
};

/// An ENI as the cloud showed it last, with the orders under way on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The ENI; addresses that were assigned and not yet listed are among its addresses, not ready.
    pub eni: Eni,
    /// Addresses whose removal was ordered and that are still listed.
    pub unassigning: BTreeSet<IpAddr>,
    /// Addresses that are gone from it without an order of ours, for longer than listings lag.
    pub vanished: BTreeSet<IpAddr>,
    /// No order is under way on it; only then it gets another.
    pub settled: bool,
}

/// What is known of the ENI behind a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniView {
    /// It was not created yet, as far as we know.
    Absent,
    /// It was created and not read yet.
    Unknown,
    /// It was read.
    Known(Box<Observed>),
    /// Complete listings do not have it, for longer than they may lag or since its deletion.
    Gone,
}

/// Everything that a node's plan depends on.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The node.
    pub node: Node,
    /// The object shared with its agent.
    pub config: Option<NodeConfig>,
    /// Pods scheduled there that need an address.
    pub demand: u32,
    /// Our ENI records of the node, each with what is known of the ENI.
    pub enis: Vec<(EniRecord, EniView)>,
    /// What its instance can carry.
    pub limits: Limits,
    /// The subnets of its zone, with what is free after other nodes' plans.
    pub subnets: Vec<Subnet>,
    /// The cluster's warm range.
    pub warm: WarmRange,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Create the object shared with the agent, with all that is attached already.
    Configure(NodeSpec, NodePool),
    /// Record an ENI that shall be created.
    Plan {
        /// In which subnet.
        subnet: SubnetId,
        /// With how many addresses for pods.
        secondary: u32,
    },
    /// Create the ENI of a record, or find it again.
    Create(EniRecord),
    /// Record the id of an ENI whose creation was not answered.
    Adopt(EniRecord, EniId),
    /// Attach an ENI to the node's instance.
    Attach(EniId),
    /// Add addresses to an ENI.
    Assign {
        /// The ENI.
        eni: EniId,
        /// Its subnet.
        subnet: SubnetId,
        /// How many.
        count: u32,
    },
    /// Tell the agent what it may use.
    Publish(NodePool),
    /// Take withdrawn addresses off an ENI.
    Unassign {
        /// The ENI.
        eni: EniId,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// Record that an empty ENI shall go.
    Retire(EniRecord),
    /// Take an ENI off the instance.
    Detach(EniId),
    /// Delete an ENI.
    Delete(EniId),
    /// Delete the record of an ENI that is gone.
    Forget(EniRecord),
}

impl Action {
    /// The ENI that it gives an order about. An ENI takes one order at a time.
    pub fn eni(&self) -> Option<&EniId> {
        match self {
            Self::Attach(eni) | Self::Detach(eni) | Self::Delete(eni) => Some(eni),
            Self::Assign { eni, .. } | Self::Unassign { eni, .. } => Some(eni),
            _ => None,
        }
    }
}

/// What a node needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now.
    pub actions: Vec<Action>,
    /// It needs more addresses than the subnets of its zone have room for: to be looked at again, as
    /// nothing tells when there is room.
    pub starved: bool,
}

/// What a node needs. `random` gives bits for generations.
///
/// The result is level-triggered: carrying out any part of it and planning again converges.
pub fn plan(view: &NodeView, random: &mut dyn FnMut() -> u64) -> Plan {
    let Some(config) = &view.config else {
        return Plan {
            actions: configure(view, random).into_iter().collect(),
            starved: false,
        };
    };
    let warm = config.spec.warm.unwrap_or(view.warm);
    let mut actions = Vec::new();
    for (record, eni) in &view.enis {
        actions.extend(progress(view, config, record, eni));
    }
    let busy: BTreeSet<EniId> = actions.iter().filter_map(Action::eni).cloned().collect();
    let (growth, starved) = grow(view, config, warm, &busy);
    if growth.is_empty() && !starved {
        actions.extend(retire(view, config));
    }
    actions.extend(growth);
    let pool = publish(view, config, warm, random);
    if pool != config.pool {
        actions.push(Action::Publish(pool));
    }
    Plan { actions, starved }
}

fn configure(view: &NodeView, random: &mut dyn FnMut() -> u64) -> Option<Action> {
    let (instance, zone) = (view.node.instance.clone()?, view.node.zone.clone()?);
    let spec = NodeSpec {
        instance,
        node_uid: view.node.uid.clone(),
        zone,
        warm: None,
        limits: None,
    };
    // An object that was deleted under running pods must not come back empty, not for a moment.
    let empty = NodeConfig {
        name: view.node.name.clone(),
        spec: spec.clone(),
        pool: NodePool::default(),
        agent: AgentReport::default(),
    };
    Some(Action::Configure(spec, publish(view, &empty, view.warm, random)))
}

/// The next step of one ENI towards its record's intent.
fn progress(view: &NodeView, config: &NodeConfig, record: &EniRecord, eni: &EniView) -> Option<Action> {
    let known = match eni {
        EniView::Absent if record.intent == Intent::Attached => return Some(Action::Create(record.clone())),
        EniView::Absent | EniView::Gone => return Some(Action::Forget(record.clone())),
        EniView::Unknown => return None,
        EniView::Known(known) if known.settled => &known.eni,
        EniView::Known(_) => return None,
    };
    let published = config.pool.enis.iter().find(|eni| eni.id == known.id);
    match (record.intent, known.state) {
        (Intent::Attached, _) if record.id.is_none() => Some(Action::Adopt(record.clone(), known.id.clone())),
        (Intent::Attached, EniState::Available) => Some(Action::Attach(known.id.clone())),
        (Intent::Attached, EniState::InUse) if known.instance.as_ref() == Some(&config.spec.instance) => {
            let leaving = published
                .into_iter()
                .flat_map(|eni| &eni.releasing)
                .map(|entry| entry.ip);
            let addresses: Vec<_> = leaving.filter(|ip| lists(known, *ip)).collect();
            (!addresses.is_empty()).then(|| Action::Unassign {
                eni: known.id.clone(),
                addresses,
            })
        }
        (Intent::Attached, EniState::InUse) => {
            tracing::warn!(node = %view.node.name, eni = %known.id, instance = ?known.instance,
                "our ENI is attached to another instance; it is left alone");
            None
        }
        // The agent must have let go of it first.
        (Intent::Deleted, EniState::InUse) if published.is_none() => Some(Action::Detach(known.id.clone())),
        (Intent::Deleted, EniState::Available) => Some(Action::Delete(known.id.clone())),
        _ => None,
    }
}

/// Addresses for what is missing: first on ENIs with room, the fullest first, then on new ones.
fn grow(
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
    let live = view
        .enis
        .iter()
        .filter(|(record, _)| record.intent == Intent::Attached);
    for (record, eni) in live.clone() {
        match eni {
            EniView::Known(known) => {
                let on_it = count(known.eni.secondary_addresses());
                let leaving = config.pool.enis.iter().filter(|eni| eni.id == known.eni.id);
                // Those that a listing lacks already are not on it, and wait for the next publication.
                let leaving = leaving
                    .flat_map(|eni| &eni.releasing)
                    .filter(|entry| lists(&known.eni, entry.ip));
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
    let mut deficit = policy::target(view.demand, held, warm, view.limits).saturating_sub(bound);
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
    let mut slots = view.limits.secondary_enis().saturating_sub(count(&view.enis));
    let mut subnets = view.subnets.clone();
    while deficit > 0 && slots > 0 {
        let Some((subnet, free)) = policy::roomiest(&subnets) else {
            break;
        };
        let (subnet, secondary) = (subnet.clone(), deficit.min(per_eni).min(free - 1));
        for other in subnets.iter_mut().filter(|other| other.id == subnet) {
            other.free -= secondary + 1;
        }
        actions.push(Action::Plan { subnet, secondary });
        deficit -= secondary;
        slots -= 1;
    }
    (actions, deficit > 0 && slots > 0)
}

/// ENIs that carry nothing, and that the agent knows to carry nothing.
fn retire(view: &NodeView, config: &NodeConfig) -> Vec<Action> {
    let empty = |(record, eni): &&(EniRecord, EniView)| {
        let EniView::Known(known) = eni else { return false };
        let published = config.pool.enis.iter().find(|eni| eni.id == known.eni.id);
        record.intent == Intent::Attached
            && known.settled
            && known.eni.state == EniState::InUse
            && known.eni.secondary_addresses().next().is_none()
            && published.is_some_and(|eni| eni.attached.is_empty() && eni.releasing.is_empty())
    };
    view.enis
        .iter()
        .filter(empty)
        .map(|(record, _)| Action::Retire(record.clone()))
        .collect()
}

/// What the agent may use: the ENIs on its instance with their addresses.
fn publish(
    view: &NodeView,
    config: &NodeConfig,
    warm: WarmRange,
    random: &mut dyn FnMut() -> u64,
) -> NodePool {
    let mut enis = Vec::new();
    for (record, eni) in view
        .enis
        .iter()
        .filter(|(record, _)| record.intent == Intent::Attached)
    {
        let before = config
            .pool
            .enis
            .iter()
            .find(|before| Some(&before.id) == record.id.as_ref());
        match eni {
            EniView::Known(known)
                if known.eni.state == EniState::InUse
                    && known.eni.instance.as_ref() == Some(&config.spec.instance) =>
            {
                enis.extend(in_service(view, config, before, known, random));
            }
            // Not read yet, or off the instance for a moment: it is attached again, and pods use it.
            EniView::Unknown | EniView::Known(_) => enis.extend(before.cloned()),
            EniView::Absent | EniView::Gone => {}
        }
    }
    enis.sort_by(|a, b| a.id.cmp(&b.id));
    NodePool {
        enis,
        maximum: policy::maximum(view.demand, warm),
        capacity: view.limits.pods(),
        granted: config.pool.granted,
    }
}

fn in_service(
    view: &NodeView,
    config: &NodeConfig,
    before: Option<&PoolEni>,
    known: &Observed,
    random: &mut dyn FnMut() -> u64,
) -> Option<PoolEni> {
    let eni = &known.eni;
    let primary = eni.primary_address()?;
    let (cidr, gateway) = match (before, view.subnets.iter().find(|subnet| subnet.id == eni.subnet)) {
        (Some(before), _) => (before.cidr, before.gateway),
        (None, Some(subnet)) => (subnet.cidr, subnet.gateway),
        (None, None) => {
            tracing::warn!(node = %view.node.name, eni = %eni.id, subnet = %eni.subnet,
                "the ENI's subnet is not among the configured subnets of its zone; add it to serve pods from it");
            return None;
        }
    };
    let withdrawn = |entry: &PoolAddress| config.agent.withdrawn.contains(entry);
    let (mut attached, mut releasing) = (Vec::new(), Vec::new());
    if let Some(before) = before {
        // Attached stays until the agent withdraws it, even if a listing lacks it, for only the agent knows
        // whether somebody uses it; unless it is certainly gone, and may be somebody else's.
        let vanished = |entry: &&PoolAddress| known.vanished.contains(&entry.ip);
        attached.extend(
            before
                .attached
                .iter()
                .filter(|entry| !withdrawn(entry) && !vanished(entry)),
        );
        releasing.extend(before.attached.iter().filter(|entry| withdrawn(entry)));
        // A releasing address goes once a listing after the order lacks it.
        releasing.extend(before.releasing.iter().filter(|entry| lists(eni, entry.ip)));
    }
    let held: BTreeSet<IpAddr> = attached
        .iter()
        .chain(&releasing)
        .map(|entry: &PoolAddress| entry.ip)
        .collect();
    let fresh = eni.secondary_addresses().filter(|address| {
        address.ready && !held.contains(&address.ip) && !known.unassigning.contains(&address.ip)
    });
    let mut generation = || Generation::from_random(random());
    attached.extend(fresh.map(|address| PoolAddress {
        ip: address.ip,
        generation: generation(),
    }));
    attached.sort_unstable();
    releasing.sort_unstable();
    Some(PoolEni {
        id: eni.id.clone(),
        mac: eni.mac,
        subnet: eni.subnet.clone(),
        cidr,
        gateway,
        primary,
        attached,
        releasing,
    })
}

/// Whether the cloud lists an address for pods on an ENI.
fn lists(eni: &Eni, ip: IpAddr) -> bool {
    eni.secondary_addresses().any(|address| address.ip == ip)
}

fn count(items: impl IntoIterator) -> u32 {
    u32::try_from(items.into_iter().count()).unwrap_or(u32::MAX)
}
