//! What is written when a node got another machine, is no more, or lost a record.

use super::{ActError, Actor, Round};
use crate::{
    cluster::{ClusterError, Versioned},
    model::{EniRecord, NodeConfig},
};

impl Actor {
    /// Writes the object for another instance or node object, if it is still what was planned from.
    pub(super) async fn readdress(&self, round: &Round, mut object: NodeConfig) -> Result<(), ActError> {
        let Some(version) = round.version.clone() else {
            return Ok(());
        };
        object.spec.limits = round.limits;
        tracing::info!(node = %object.name, instance = %object.spec.instance, uid = %object.spec.node_uid,
            "the NodeENIConfig becomes the new instance's");
        let written = self
            .cluster
            .node_configs()
            .update(Versioned { object, version })
            .await;
        self.note_config(&round.node.name, round.version.as_ref(), written)
    }

    /// Writes the record of an ENI that is on its instance and has none.
    pub(in crate::controller) async fn restore(&self, record: EniRecord) -> Result<(), ActError> {
        tracing::warn!(node = %record.node, eni = ?record.id, "an attached ENI without a record gets one");
        let written = self.cluster.eni_records().create(record.clone()).await;
        self.note_record(&record, None, written)
    }

    /// Deletes the object of a node that is gone, if it is still what was planned from.
    pub(super) async fn dismiss(&self, round: &Round, config: &NodeConfig) -> Result<(), ActError> {
        let name = &config.name;
        let store = self.cluster.node_configs();
        let deleted = store.delete(name.as_str(), round.version.as_ref()).await;
        self.desk.change(|index| match &deleted {
            Ok(()) => Some(index.deleted_config(name)),
            Err(ClusterError::Conflict { .. }) => None,
            Err(_) => Some(index.unanswered_config(name)),
        });
        deleted?;
        tracing::info!(node = %name, instance = %config.spec.instance,
            "the instance is gone and nothing is left of the node");
        Ok(())
    }
}
