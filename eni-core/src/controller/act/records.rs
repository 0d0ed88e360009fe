//! Actions that write the cluster's objects.
//!
//! Whatever is written is told to the index at once; what was written without an answer is read before the
//! node is planned again.

use super::{ActError, Actor, Round};
use crate::{
    cluster::{ClusterError, ClusterResult, Object, Version, Versioned},
    controller::index::Index,
    model::{
        AgentReport, EniRecord, Intent, Limits, Node, NodeConfig, NodeName, NodePool, NodeSpec, SubnetId,
    },
};

impl Actor {
    pub(super) async fn configure(
        &self,
        round: &Round,
        spec: NodeSpec,
        pool: NodePool,
    ) -> Result<(), ActError> {
        let spec = NodeSpec {
            limits: round.limits,
            ..spec
        };
        let config = NodeConfig {
            name: round.node.name.clone(),
            spec,
            pool,
            agent: AgentReport::default(),
        };
        let written = self.cluster.node_configs().create(config).await;
        self.note_config(&round.node.name, None, written)
    }

    /// Keeps what the cloud declares that the instance can carry, so that nobody has to ask again.
    pub(in crate::controller) async fn keep_limits(
        &self,
        mut read: Versioned<NodeConfig>,
        limits: Limits,
    ) -> Result<(), ActError> {
        let name = read.object.name.clone();
        read.object.spec.limits = Some(limits);
        let base = read.version.clone();
        let written = self.cluster.node_configs().update(read).await;
        self.note_config(&name, Some(&base), written)
    }

    pub(super) async fn publish(&self, round: &Round, pool: NodePool) -> Result<(), ActError> {
        let name = &round.node.name;
        let read = self.desk.index().config(name).cloned();
        // The pool was planned from one version; what the agent wrote since must be planned with.
        let Some(mut read) = read.filter(|read| Some(&read.version) == round.version.as_ref()) else {
            return Ok(());
        };
        read.object.pool = pool;
        let written = self.cluster.node_configs().update(read).await;
        self.note_config(name, round.version.as_ref(), written)
    }

    pub(super) fn note_config(
        &self,
        name: &NodeName,
        base: Option<&Version>,
        written: ClusterResult<Versioned<NodeConfig>>,
    ) -> Result<(), ActError> {
        self.desk.change(|index| match &written {
            Ok(written) => Some(index.wrote_config(base, written.clone())),
            Err(error) if is_to_be_read(error) => Some(index.unanswered_config(name)),
            Err(_) => None,
        });
        written?;
        Ok(())
    }

    pub(super) async fn plan_eni(
        &self,
        node: &Node,
        subnet: SubnetId,
        secondary: u32,
    ) -> Result<(), ActError> {
        let (name, token) = (self.environment.random() as u32, self.environment.random());
        let record = EniRecord {
            name: format!("{}-{name:08x}", node.name),
            token: format!("{token:016x}"),
            node: node.name.clone(),
            instance: node.instance.clone().unwrap_or_else(|| "".into()),
            subnet,
            secondary,
            intent: Intent::Attached,
            id: None,
        };
        self.inventory.planned(&record.name);
        let written = self.cluster.eni_records().create(record.clone()).await;
        self.note_record(&record, None, written)
    }

    /// Records that an ENI shall go.
    pub(super) async fn retire(&self, record: EniRecord) -> Result<(), ActError> {
        self.rewrite(record, |record| record.intent = Intent::Deleted)
            .await
    }

    /// Deletes the record of an ENI that is gone, or that will never be.
    pub(super) async fn forget(&self, record: &EniRecord) -> Result<(), ActError> {
        let key = record.key();
        let deleted = self.cluster.eni_records().delete(&key, None).await;
        self.desk.change(|index| match &deleted {
            Ok(()) => index.change_record(|records| records.deleted(&key)),
            Err(_) => index.change_record(|records| records.unanswered(key.clone(), &record.node)),
        });
        deleted?;
        self.inventory.forget(record.id.as_ref(), &record.name);
        Ok(())
    }

    /// Changes a record at the version that was planned with.
    pub(super) async fn rewrite(
        &self,
        record: EniRecord,
        change: impl FnOnce(&mut EniRecord) + Send,
    ) -> Result<(), ActError> {
        let read = self.desk.index().record(&record.name).cloned();
        let Some(Versioned { mut object, version }) = read.filter(|read| read.object == record) else {
            return Ok(());
        };
        change(&mut object);
        let base = version.clone();
        let written = self
            .cluster
            .eni_records()
            .update(Versioned { object, version })
            .await;
        self.note_record(&record, Some(&base), written)
    }

    pub(super) fn note_record(
        &self,
        record: &EniRecord,
        base: Option<&Version>,
        written: ClusterResult<Versioned<EniRecord>>,
    ) -> Result<(), ActError> {
        self.desk.change(|index| match &written {
            Ok(written) => index.change_record(|records| records.wrote(base, written.clone())),
            Err(error) if is_to_be_read(error) => {
                index.change_record(|records| records.unanswered(record.key(), &record.node))
            }
            Err(_) => None,
        });
        written?;
        Ok(())
    }

    /// Reads the objects of a node that the watch left in doubt.
    pub(in crate::controller) async fn settle(&self, node: &NodeName) -> ClusterResult<()> {
        let configs = self.desk.index().doubted_configs(node);
        let records = self.desk.index().doubted_records(node);
        for (key, doubt) in configs {
            let read = found(self.cluster.node_configs().get(&key).await)?;
            self.settled(|index| index.settle_config(&key, &doubt, read));
        }
        for (key, doubt) in records {
            let read = found(self.cluster.eni_records().get(&key).await)?;
            self.settled(|index| index.settle_record(&key, &doubt, read));
        }
        Ok(())
    }

    fn settled(&self, settle: impl FnOnce(&mut Index)) {
        self.desk.change(|index| {
            settle(index);
            None
        });
    }
}

/// Whether a write that failed so leaves in doubt what the object is now: nobody knows whether it worked, or
/// another writer was first, and the watch may have told of that already.
fn is_to_be_read(error: &ClusterError) -> bool {
    matches!(
        error,
        ClusterError::Unavailable { .. } | ClusterError::Conflict { .. }
    )
}

fn found<T>(read: ClusterResult<T>) -> ClusterResult<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ClusterError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
