//! Finds out which instances are gone.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{PoolConfig, desk::Desk};
use crate::{
    cloud::{Cloud, CloudResult, Paced},
    model::{Instance, InstanceId, NodeName},
    policy::Roll,
};

/// Ids in one reading; Tencent Cloud's limit.
const BATCH: usize = 100;

/// What is known of the instances behind the cluster's objects.
pub(super) struct Instances {
    cloud: Paced,
    desk: Arc<Desk>,
    roll: Mutex<Roll>,
}

impl Instances {
    pub(super) fn new(cloud: Paced, desk: Arc<Desk>, config: &PoolConfig) -> Self {
        let roll = Mutex::new(Roll::new(Instant::now(), config.audit_interval));
        Self { cloud, desk, roll }
    }

    /// Those of `instances` that are gone for certain.
    pub(super) fn gone<'a>(
        &self,
        instances: impl IntoIterator<Item = &'a InstanceId>,
    ) -> BTreeSet<InstanceId> {
        let roll = self.roll.lock();
        let gone = instances.into_iter().filter(|instance| roll.is_gone(instance));
        gone.cloned().collect()
    }

    /// Whether an instance is gone for certain.
    pub(super) fn is_gone(&self, instance: &InstanceId) -> bool {
        self.roll.lock().is_gone(instance)
    }

    /// Reads what is due. Returns the nodes whose instances turned out to be gone.
    pub(super) async fn round(&self) -> Vec<NodeName> {
        let (named, alive) = self.desk.index().instances();
        let begun = Instant::now();
        let asked = self.roll.lock().due(begun, &named, &alive);
        if asked.is_empty() {
            return Vec::new();
        }
        let listed = match self.read(&asked).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "instances could not be read; none is taken for gone");
                return Vec::new();
            }
        };
        match self.roll.lock().learn(begun, &asked, &listed, &alive) {
            Ok(gone) if gone.is_empty() => Vec::new(),
            Ok(gone) => {
                tracing::info!(?gone, "instances are gone; their ENIs go too");
                self.desk.index().nodes_on(&gone)
            }
            Err(error) => {
                tracing::warn!(%error, "instances could not be read");
                Vec::new()
            }
        }
    }

    /// All of them, or an error: a batch that fails voids the listing.
    async fn read(&self, ids: &BTreeSet<InstanceId>) -> CloudResult<Vec<Instance>> {
        let ids: Vec<_> = ids.iter().cloned().collect();
        let mut listed = Vec::new();
        for batch in ids.chunks(BATCH) {
            listed.extend(self.cloud.instances(batch).await?);
        }
        Ok(listed)
    }
}
