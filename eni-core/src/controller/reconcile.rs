//! One turn of one node: observe, plan, act.

use std::collections::BTreeSet;

use super::{
    Action, NodeView, Plan, PoolController,
    act::{ActError, Round, is_order},
    inventory::Capacity,
    plan,
    schedule::{End, Turn},
    stuck::{self, Remedy, Stuck},
};
use crate::{
    cloud::Lane,
    cluster::ClusterError,
    model::{EniId, Limits, Node},
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
                if plan.starved {
                    self.actor.starved(&round.node);
                }
                match self.actor.act(&round, plan.actions, stuck).await {
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

    /// What to do about a node; `None` if there is nothing to plan.
    async fn decide(&self, turn: &Turn) -> Result<Option<Decision>, ActError> {
        let (inventory, desk) = (&self.actor.inventory, &self.actor.desk);
        self.actor.settle(&turn.node).await?;
        // A missing node object alone removes nothing.
        let Some(node) = desk.index().node(&turn.node).cloned() else {
            return Ok(None);
        };
        let Some(Capacity { declared, usable }) = self.capacity(&node).await? else {
            return Ok(None);
        };
        let Some(mut decision) = self.plan(&node, declared, usable) else {
            return Ok(None);
        };
        if turn.resting {
            decision.plan.actions.retain(|action| !is_order(action));
            decision.plan.starved = false;
            decision.stuck.clear();
        } else if grows(&decision.plan) && inventory.refresh_subnets().await? {
            return Ok(self.plan(&node, declared, usable));
        }
        Ok(Some(decision))
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
        let (config, records, demand, waiting, subnets) = {
            let index = actor.desk.index();
            let mut subnets = actor.inventory.subnets(node.zone.as_ref()?);
            for subnet in &mut subnets {
                subnet.free = subnet.free.saturating_sub(index.reserved(&subnet.id));
            }
            (
                index.config(&node.name).cloned(),
                index.records(&node.name),
                index.demand(&node.name),
                index.need(&node.name).waiting,
                subnets,
            )
        };
        let enis = records.into_iter().map(|read| {
            let view = actor.inventory.view(read.object.id.as_ref(), &read.object.name);
            (read.object, view)
        });
        let (version, config) = config.map(|read| (read.version, read.object)).unzip();
        let view = NodeView {
            node: node.clone(),
            config: config.map(|config| actor.sanitized(node, config)),
            demand,
            enis: enis.collect(),
            limits: usable,
            subnets,
            warm: actor.config.warm,
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
            limits: declared,
            lane: if waiting > 0 { Lane::Waiting } else { Lane::Growth },
        };
        Some(Decision { round, plan, stuck })
    }
}

/// Whether a plan takes addresses out of subnets, or would if it could.
fn grows(plan: &Plan) -> bool {
    let takes = |action: &Action| matches!(action, Action::Plan { .. } | Action::Assign { .. });
    plan.starved || plan.actions.iter().any(takes)
}
