//! The shared object of a node that got another machine, and of one that is no more.

use super::act::{ActError, Actor};
use crate::{
    cluster::{ClusterError, Version, Versioned},
    model::NodeConfig,
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
