//! Carries out what was planned for a node.

use std::{net::IpAddr, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;

use super::{Action, PoolConfig, index::Index, inventory::Inventory};
use crate::{
    cloud::{CloudError, CloudErrorKind, CreateEni},
    cluster::{Cluster, ClusterError, Event, Object, Subject, Version, Versioned},
    env::Environment,
    model::{AgentReport, EniId, EniRecord, Intent, Node, NodeConfig, NodePool, NodeSpec, PoolAddress},
};

/// Why an action could not be carried out. The node is planned again, later.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActError {
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Carries out actions.
pub(super) struct Actor {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) inventory: Arc<Inventory>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) config: PoolConfig,
}

impl Actor {
    /// Carries out all actions side by side (they concern different ENIs); whether everything worked.
    pub(super) async fn act(&self, node: &Node, version: Option<Version>, actions: Vec<Action>) -> bool {
        let run = |action: Action| {
            let version = version.clone();
            async move {
                tracing::debug!(node = %node.name, ?action, "acting");
                match self.act_one(node, version, action.clone()).await {
                    Ok(()) => true,
                    // Nothing is wrong: the watch brings what the other writer wrote, and a new plan.
                    Err(ActError::Cluster(ClusterError::Conflict { .. })) => true,
                    Err(error) => {
                        tracing::warn!(node = %node.name, ?action, %error, "action failed");
                        self.explain(node, &error);
                        false
                    }
                }
            }
        };
        let outcomes = actions.into_iter().map(run).collect::<FuturesUnordered<_>>();
        outcomes
            .fold(true, |all, worked| async move { all && worked })
            .await
    }

    async fn act_one(&self, node: &Node, version: Option<Version>, action: Action) -> Result<(), ActError> {
        match action {
            Action::Configure(spec, pool) => self.configure(node, spec, pool).await,
            Action::Rewrite(config) => self.readdress(version, config).await,
            Action::Dismiss(config) => self.dismiss(version, &config).await,
            Action::Plan { subnet, secondary } => {
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
                let written = self.cluster.eni_records().create(record).await?;
                self.index.lock().put_record(written);
                Ok(())
            }
            Action::Restore(record) => self.restore(record).await,
            Action::Create(record) => self.create(record).await,
            Action::Adopt(record, id) => self.rewrite(record, |record| record.id = Some(id)).await,
            Action::Attach(eni) => {
                let instance = self
                    .index
                    .lock()
                    .config(&node.name)
                    .map(|read| read.object.spec.instance.clone());
                let Some(instance) = instance else { return Ok(()) };
                Ok(self.inventory.attach(&eni, &instance).await?)
            }
            Action::Assign { eni, subnet, count } => {
                self.inventory.assign(&eni, &subnet, count).await?;
                Ok(())
            }
            Action::Publish(pool) => self.publish(node, version, pool).await,
            Action::Unassign { eni, addresses } => self.unassign(node, &eni, addresses).await,
            Action::Retire(record) => {
                self.rewrite(record, |record| record.intent = Intent::Deleted)
                    .await
            }
            Action::Detach(eni) => Ok(self.inventory.detach(&eni).await?),
            Action::Delete(eni) => Ok(self.inventory.delete(&eni).await?),
            Action::Forget(record) => {
                self.cluster.eni_records().delete(&record.key(), None).await?;
                if let Some(id) = &record.id {
                    self.inventory.forget(id, &record.name);
                }
                self.index.lock().remove_record(&record.key());
                Ok(())
            }
        }
    }

    async fn configure(&self, node: &Node, spec: NodeSpec, pool: NodePool) -> Result<(), ActError> {
        let config = NodeConfig {
            name: node.name.clone(),
            spec,
            pool,
            agent: AgentReport::default(),
        };
        let written = self.cluster.node_configs().create(config).await?;
        self.index.lock().put_config(written);
        Ok(())
    }

    async fn create(&self, record: EniRecord) -> Result<(), ActError> {
        let request = CreateEni {
            name: record.name.clone(),
            subnet: record.subnet.clone(),
            secondary: record.secondary,
            security_groups: Vec::new(),
            tags: self.config.tags.clone(),
            token: record.token.clone(),
        };
        match self.inventory.create(&request).await {
            Ok(eni) => {
                self.rewrite(record, |record| record.id = Some(eni.id.clone()))
                    .await
            }
            // No ENI can come of this plan any more; the next plan takes another subnet.
            Err(error) if matches!(error.kind, CloudErrorKind::Exhausted { .. }) => {
                self.cluster.eni_records().delete(&record.key(), None).await?;
                self.index.lock().remove_record(&record.key());
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn publish(&self, node: &Node, version: Option<Version>, pool: NodePool) -> Result<(), ActError> {
        let read = self.index.lock().config(&node.name).cloned();
        // The pool was planned from one version; what the agent wrote since must be planned with.
        let Some(mut read) = read.filter(|read| Some(&read.version) == version.as_ref()) else {
            return Ok(());
        };
        read.object.pool = pool;
        let written = self.cluster.node_configs().update(read).await?;
        let mut index = self.index.lock();
        // The watch may already have told of what the agent wrote after this.
        if index.config(&node.name).map(|read| &read.version) == version.as_ref() {
            index.put_config(written);
        }
        Ok(())
    }

    /// Takes addresses off an ENI, if the shared object still says now that nobody can use them.
    async fn unassign(&self, node: &Node, eni: &EniId, mut addresses: Vec<IpAddr>) -> Result<(), ActError> {
        let config = self.cluster.node_configs().get(node.name.as_str()).await?.object;
        let published = config.pool.enis.iter().find(|published| published.id == *eni);
        addresses.retain(|ip| {
            published.is_some_and(|eni| {
                let names = |list: &[PoolAddress]| list.iter().any(|entry| entry.ip == *ip);
                names(&eni.releasing) && !names(&eni.attached)
            })
        });
        if addresses.is_empty() {
            return Ok(());
        }
        Ok(self.inventory.unassign(eni, &addresses).await?)
    }

    /// Changes a record at the version that was planned with.
    async fn rewrite(&self, record: EniRecord, change: impl FnOnce(&mut EniRecord)) -> Result<(), ActError> {
        let read = self
            .index
            .lock()
            .records(&record.node)
            .into_iter()
            .find(|read| read.object == record);
        let Some(Versioned { mut object, version }) = read else {
            return Ok(());
        };
        change(&mut object);
        let written = self
            .cluster
            .eni_records()
            .update(Versioned { object, version })
            .await?;
        self.index.lock().put_record(written);
        Ok(())
    }

    /// Tells people at the node what only they can mend.
    fn explain(&self, node: &Node, error: &ActError) {
        let ActError::Cloud(error) = error else { return };
        let reason = match error.kind {
            CloudErrorKind::Quota => "ENILimit",
            CloudErrorKind::Exhausted { .. } => "SubnetExhausted",
            CloudErrorKind::Denied => "CloudPermissionDenied",
            _ => return,
        };
        let (subject, message) = (Subject::Node(node.name.clone()), error.to_string());
        self.cluster.report(Event {
            subject,
            warning: true,
            reason,
            message,
        });
    }
}
