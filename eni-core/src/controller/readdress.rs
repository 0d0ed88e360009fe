//! What is written when a node got another machine, is no more, or lost a record.

use super::act::{ActError, Actor};
use crate::{
    cluster::{ClusterError, Version, Versioned},
    model::{EniRecord, NodeConfig},
};

impl Actor {
    /// Writes the object for another instance or node object, if it is still what was planned from.
    pub(super) async fn readdress(
        &self,
        version: Option<Version>,
        object: NodeConfig,
    ) -> Result<(), ActError> {
        let Some(version) = version else { return Ok(()) };
        let store = self.cluster.node_configs();
        let written = store.update(Versioned { object, version }).await?;
        tracing::info!(node = %written.object.name, instance = %written.object.spec.instance,
            uid = %written.object.spec.node_uid, "the NodeENIConfig is the new instance's now");
        self.index.lock().put_config(written);
        Ok(())
    }

    /// Writes the record of an ENI that is in service and lost it.
    pub(super) async fn restore(&self, record: EniRecord) -> Result<(), ActError> {
        let written = self.cluster.eni_records().create(record).await?;
        tracing::warn!(node = %written.object.node, eni = ?written.object.id,
            "the record of an ENI in service was deleted and is made anew");
        self.index.lock().put_record(written);
        Ok(())
    }

    /// Deletes the object of a node that is gone, if it is still what was planned from.
    pub(super) async fn dismiss(
        &self,
        version: Option<Version>,
        config: &NodeConfig,
    ) -> Result<(), ActError> {
        let store = self.cluster.node_configs();
        match store.delete(config.name.as_str(), version.as_ref()).await {
            Ok(()) | Err(ClusterError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        tracing::info!(node = %config.name, instance = %config.spec.instance,
            "the instance is gone and nothing is left of the node");
        self.index.lock().remove_config(&config.name);
        Ok(())
    }
}
