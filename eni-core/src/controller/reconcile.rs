//! One turn of one node: observe, plan, act.

use std::collections::BTreeSet;

use super::{
    Action, EniView, NodeView, Plan, PoolController, Remains,
    act::{ActError, Round, is_order},
    depart,
    inventory::Capacity,
    plan,
    schedule::{End, Turn},
    stuck::{self, Remedy, Stuck},
};
use crate::{
    cluster::ClusterError,
    model::{EniId, EniRecord, Limits, Node, NodeConfig, NodeName},
};

/// What to do in a turn.
struct Decision {
    round: Round,
    plan: Plan,
    stuck: Vec<Stuck>,
}

impl PoolController {
    /// One turn of one node.
    pub(super) async fn reconcile(&self, turn: Turn) -> (Turn, End) {
        self.actor.counters.turn();
        let end = match self.decide(&turn).await {
            Ok(None) => End::Done,
            Ok(Some(Decision { round, plan, stuck })) => {
                self.takings.lock().note(&turn.node, &plan.actions);
                self.hold_back(&turn.node, &plan.actions);
                for notice in &plan.notices {
                    self.actor.tell(&turn.node, notice);
                }
                let worked = self.actor.act(&round, plan.actions, stuck).await;
                self.takings.lock().settle(&turn.node);
                self.hold_back(&turn.node, &[]);
                match worked {
                    false => End::Failed(self.actor.environment.random()),
                    true if plan.starved => End::Starved(self.actor.environment.random()),
                    true => End::Done,
                }
            }
            // The watch brings what the other writer wrote, and another turn.
            Err(ActError::Cluster(ClusterError::Conflict { .. })) => End::Done,
            Err(error) => {
                tracing::warn!(node = %turn.node, %error, "the node cannot be planned yet");
                End::Failed(self.actor.environment.random())
            }
        };
        (turn, end)
    }

    /// What to do about a node; `None` if there is nothing to plan. Nothing is awaited after what is planned
    /// from was taken, so that no other plan comes between this one and its takings.
    async fn decide(&self, turn: &Turn) -> Result<Option<Decision>, ActError> {
        let (inventory, desk) = (&self.actor.inventory, &self.actor.desk);
        self.actor.settle(&turn.node).await?;
        let node = desk.index().node(&turn.node).cloned();
        let lives = |node: &Node| !node.instance.iter().any(|id| self.duties.instances.is_gone(id));
        let Some(node) = node.filter(lives) else {
            return Ok(self.depart(&turn.node).map(|decision| decision.rested(turn)));
        };
        let Some(Capacity { declared, usable }) = self.capacity(&node).await? else {
            return Ok(None);
        };
        let decision = self.plan(&node, declared, usable);
        let Some(decision) = decision.map(|decision| decision.rested(turn)) else {
            return Ok(None);
        };
        if grows(&decision.plan) && inventory.refresh_subnets().await? {
            return Ok(self.plan(&node, declared, usable));
        }
        Ok(Some(decision))
    }

    /// What is about to move is nowhere meanwhile.
    fn hold_back(&self, node: &NodeName, actions: &[Action]) {
        let leaving = actions.iter().filter_map(|action| match action {
            Action::Migrate { address, .. } => Some(*address),
            _ => None,
        });
        let evicted = actions.iter().flat_map(|action| match action {
            Action::Evict { addresses, .. } => &addresses[..],
            _ => &[],
        });
        if let Some(book) = &mut self.actor.desk.index().book {
            book.leave(node, leaving.collect());
            evicted.for_each(|ip| book.loosen(*ip, true));
        }
    }

    /// What the node's instance can carry, kept in its object; `None` if that has to come first.
    async fn capacity(&self, node: &Node) -> Result<Option<Capacity>, ActError> {
        let Some(instance) = node.instance.as_ref().filter(|_| node.zone.is_some()) else {
            tracing::debug!(node = %node.name, "the node has no instance or zone yet");
            return Ok(None);
        };
        let (config, ours) = {
            let index = self.actor.desk.index();
            let records = index.records(&node.name).into_iter();
            let ours: BTreeSet<_> = records.filter_map(|read| read.object.id).collect();
            (index.config(&node.name).cloned(), ours)
        };
        let config = config.filter(|read| read.object.spec.instance == *instance);
        let kept = config.as_ref().and_then(|read| read.object.spec.limits);
        let capacity = self.actor.inventory.capacity(instance, kept, &ours).await?;
        match config {
            Some(read) if kept != Some(capacity.declared) => {
                // Its node is due again at once.
                self.actor.keep_limits(read, capacity.declared).await?;
                Ok(None)
            }
            _ => Ok(Some(capacity)),
        }
    }

    /// Plans a node from what is known now. Nothing is awaited between the view and the plan.
    fn plan(&self, node: &Node, declared: Limits, usable: Limits) -> Option<Decision> {
        let actor = &self.actor;
        let (config, demand, subnets) = {
            let (index, takings) = (actor.desk.index(), self.takings.lock());
            let mut subnets = actor.inventory.subnets(node.zone.as_ref()?);
            for subnet in &mut subnets {
                let taken = index.reserved(&subnet.id) + takings.on(&subnet.id);
                subnet.free = subnet.free.saturating_sub(taken);
            }
            (
                index.config(&node.name).cloned(),
                index.demand(&node.name),
                subnets,
            )
        };
        let enis = self.enis(&node.name);
        let (version, config) = config.map(|read| (read.version, read.object)).unzip();
        let instances = enis.iter().map(|(record, _)| &record.instance);
        let claims = self.claim_view(&node.name, &enis, node.zone.as_ref());
        let view = NodeView {
            gone: self.duties.instances.gone(instances),
            granted: self.duties.grants.of(&node.name),
            node: node.clone(),
            config,
            demand,
            enis,
            limits: usable,
            subnets,
            warm: actor.config.warm,
            claims,
        };
        let mut plan = plan(&view, &mut || actor.environment.random());
        let stuck = stuck::stuck(&view, |eni| actor.inventory.standing(eni, stuck::PATIENCE));
        // One order at a time on an ENI.
        let driven = |eni: &EniId| {
            let driven = stuck.iter().filter(|stuck| stuck.remedy != Remedy::Tell);
            driven.map(|stuck| &stuck.eni).any(|driven| driven == eni)
        };
        plan.actions.retain(|action| !action.eni().is_some_and(driven));
        let round = Round {
            node: node.clone(),
            version,
            limits: Some(declared),
            urgent: actor.desk.urgent(&node.name),
        };
        Some(Decision { round, plan, stuck })
    }

    /// Plans what is left of a node that has no node object or no instance, if something is.
    fn depart(&self, name: &NodeName) -> Option<Decision> {
        let config = self.actor.desk.index().config(name).cloned();
        let enis = self.enis(name);
        let (version, config) = config.map(|read| (read.version, read.object)).unzip();
        let specs = config.iter().map(|config: &NodeConfig| &config.spec.instance);
        let instances = specs.chain(enis.iter().map(|(record, _)| &record.instance));
        let gone = self.duties.instances.gone(instances);
        let node = Node {
            name: name.clone(),
            uid: config
                .as_ref()
                .map_or_else(|| "".into(), |config| config.spec.node_uid.clone()),
            instance: Some(gone.first()?.clone()),
            zone: config.as_ref().map(|config| config.spec.zone.clone()),
            max_pods: None,
            silent: None,
        };
        Some(Decision {
            round: Round {
                node,
                version,
                limits: None,
                urgent: self.actor.desk.urgent(name),
            },
            plan: depart(&Remains {
                claims: self.claim_view(name, &enis, None),
                node: name.clone(),
                config,
                enis,
                gone,
            }),
            stuck: Vec::new(),
        })
    }

    /// Our records of a node with what is known of their ENIs.
    fn enis(&self, name: &NodeName) -> Vec<(EniRecord, EniView)> {
        let (records, config) = {
            let index = self.actor.desk.index();
            (index.records(name), index.config(name).cloned())
        };
        let published = config.map_or_else(Vec::new, |read| read.object.pool.enis);
        let inventory = &self.actor.inventory;
        let view = |record: &EniRecord| inventory.view(record.id.as_ref(), &record.name, &published);
        let records = records.into_iter();
        records
            .map(|read| (view(&read.object), read.object))
            .map(|(view, record)| (record, view))
            .collect()
    }
}

impl Decision {
    /// While a node rests, the cloud is left alone and nothing is told again.
    fn rested(mut self, turn: &Turn) -> Self {
        if turn.resting {
            self.plan.actions.retain(|action| !is_order(action));
            self.plan.starved = false;
            self.plan.notices.clear();
            self.stuck.clear();
        }
        self
    }
}

/// Whether a plan takes addresses out of subnets, or would if it could.
fn grows(plan: &Plan) -> bool {
    let takes = |action: &Action| matches!(action, Action::Plan { .. } | Action::Assign { .. });
    plan.starved || plan.actions.iter().any(takes)
}
