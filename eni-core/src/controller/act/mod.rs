//! Carries out what was planned for a node.

mod explain;
mod orders;
mod readdress;
mod records;

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    Action, PoolConfig,
    desk::Desk,
    inventory::{Inventory, Urgent},
    stats::{Counters, kind},
    stuck::{Remedy, Stuck},
};
use crate::{
    cloud::{CloudError, CloudErrorKind},
    cluster::{Cluster, ClusterError, Version},
    env::Environment,
    model::{Limits, Node},
};

/// Why an action could not be carried out. The node is planned again, later.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActError {
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was carried out, or nothing was left to do.
    Done,
    /// Another writer was first: the watch brings what it wrote, and a new plan.
    Conflict,
    /// Nothing was sent, as it was not the time for it.
    Postponed,
    /// It failed.
    Failed,
}

impl Outcome {
    /// Its name in counts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Postponed => "postponed",
            Self::Failed => "failed",
        }
    }
}

/// A node's turn, as its actions need to know it.
pub(super) struct Round {
    pub(super) node: Node,
    /// The version of the shared object that was planned from.
    pub(super) version: Option<Version>,
    /// What the cloud declares that the instance can carry; `None` if the instance is gone.
    pub(super) limits: Option<Limits>,
    /// How urgent growth is; it may become so during the turn.
    pub(super) urgent: Urgent,
}

/// Carries out actions.
pub(super) struct Actor {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) desk: Arc<Desk>,
    pub(super) counters: Arc<Counters>,
    pub(super) config: PoolConfig,
}

impl Actor {
    /// Carries out all actions side by side (they concern different ENIs); whether everything worked.
    pub(super) async fn act(&self, round: &Round, actions: Vec<Action>, stuck: Vec<Stuck>) -> bool {
        let planned = actions.into_iter().map(|action| self.act_one(round, action));
        let planned: FuturesUnordered<_> = planned.collect();
        let driven = stuck.into_iter().map(|stuck| self.drive_on(round, stuck));
        let driven: FuturesUnordered<_> = driven.collect();
        let worked = |outcome| matches!(outcome, Outcome::Done | Outcome::Conflict);
        let all = |all, outcome| std::future::ready(all && worked(outcome));
        let (planned, driven) = futures::join!(planned.fold(true, all), driven.fold(true, all));
        planned && driven
    }

    async fn act_one(&self, round: &Round, action: Action) -> Outcome {
        let kind = kind(&action);
        tracing::debug!(node = %round.node.name, ?action, "acting");
        let result = self.carry_out(round, action).await;
        self.conclude(round, kind, result)
    }

    async fn drive_on(&self, round: &Round, Stuck { eni, what, remedy }: Stuck) -> Outcome {
        tracing::warn!(node = %round.node.name, %eni, what, ?remedy, "an ENI is stuck");
        self.tell_stuck(&round.node, &eni, &what, &remedy);
        let action = match remedy {
            Remedy::Tell => return Outcome::Done,
            Remedy::Replace(record) => Action::Retire(record),
            Remedy::Delete(eni) => Action::Delete(eni),
            Remedy::Detach(eni) => Action::Detach(eni),
            Remedy::Unassign(eni, addresses) => {
                let result = self.unassign_unpublished(&round.node, &eni, addresses).await;
                return self.conclude(round, "unassign", result);
            }
        };
        self.act_one(round, action).await
    }

    fn conclude(&self, round: &Round, kind: &'static str, result: Result<(), ActError>) -> Outcome {
        let node = &round.node;
        let outcome = match &result {
            Ok(()) => Outcome::Done,
            Err(ActError::Cluster(ClusterError::Conflict { .. })) => Outcome::Conflict,
            Err(ActError::Cloud(error)) if error.kind == CloudErrorKind::NotStarted => {
                tracing::debug!(node = %node.name, kind, %error, "action postponed");
                Outcome::Postponed
            }
            Err(error) => {
                tracing::warn!(node = %node.name, kind, %error, "action failed");
                self.explain(node, error);
                Outcome::Failed
            }
        };
        self.counters.count(kind, outcome);
        outcome
    }

    async fn carry_out(&self, round: &Round, action: Action) -> Result<(), ActError> {
        let node = &round.node;
        match action {
            Action::Configure(spec, pool) => self.configure(round, spec, pool).await,
            Action::Rewrite(config) => self.readdress(round, config).await,
            Action::Dismiss(config) => self.dismiss(round, &config).await,
            Action::Restore(record) => self.restore(record).await,
            Action::Plan { subnet, secondary } => self.plan_eni(node, subnet, secondary).await,
            Action::Create(record) => self.create(round, record).await,
            Action::Adopt(record, id) => self.rewrite(record, |record| record.id = Some(id)).await,
            Action::Attach(eni) => self.attach(round, &eni).await,
            Action::Assign { eni, subnet, count } => self.assign(round, &eni, &subnet, count).await,
            Action::AssignExactly {
                eni,
                subnet,
                addresses,
            } => self.assign_exactly(round, &eni, &subnet, addresses).await,
            Action::Migrate { from, to, address } => self.migrate(round, &from, &to, address).await,
            Action::Publish(pool) => self.publish(round, pool).await,
            Action::Unassign { eni, addresses } => self.unassign(node, &eni, addresses).await,
            Action::Evict { eni, addresses } => self.unassign_unpublished(node, &eni, addresses).await,
            Action::Retire(record) => self.retire(record).await,
            Action::Detach(eni) => Ok(self.inventory.detach(&eni).await?),
            Action::Delete(eni) => Ok(self.inventory.delete(&eni).await?),
            Action::Forget(record) => self.forget(&record).await,
        }
    }
}

/// Whether an action gives the cloud an order, or makes one follow.
pub(super) fn is_order(action: &Action) -> bool {
    matches!(action, Action::Plan { .. } | Action::Create(_)) || action.eni().is_some()
}
