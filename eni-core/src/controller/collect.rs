//! Deletes leaked ENIs of ours, and makes records of attached ones that lack them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::act::{ActError, Actor};
use crate::{
    cloud::{Cloud, CloudResult, EniFilter, Paced},
    cluster::{ClusterError, Event, Scope, Subject},
    gc::{Collector, NoEvidence, Sweep},
    model::{Eni, EniId, EniRecord, InstanceId, Intent, NodeName},
    policy::{Judgement, Leaks, confirms_leak},
};

/// Collects leaked ENIs, once for each complete listing of the audit.
pub(super) struct EniCollector {
    cloud: Paced,
    actor: Arc<Actor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leaks: Leaks,
    /// The listing that was judged last.
    judged: Option<Instant>,
    /// Deleted by us; to be forgotten once listings lack them.
    deleted: BTreeMap<EniId, String>,
}

impl EniCollector {
    pub(super) fn new(cloud: Paced, actor: Arc<Actor>) -> Self {
        let state = Mutex::default();
        Self { cloud, actor, state }
    }

    fn judge(&self, begun: Instant, listed: &[Eni], records: &[EniRecord]) -> (Judgement, usize) {
        let hosts = self.actor.desk.index().hosts();
        let mut state = self.state.lock();
        state.judged = Some(begun);
        let forgotten = |id: &EniId| !listed.iter().any(|eni| eni.id == *id);
        state.deleted.retain(|id, name| {
            let forgotten = forgotten(id);
            if forgotten {
                self.actor.inventory.forget(Some(id), name);
            }
            !forgotten
        });
        let judgement = state.leaks.judge(begun, listed, records, &hosts);
        (judgement, state.leaks.suspected())
    }

    /// Makes a record of an attached ENI; what it did, if it did.
    async fn adopt(&self, eni: Eni, node: NodeName, instance: InstanceId) -> Option<String> {
        let record = EniRecord {
            // The name of a lost record may be another's by now; the id is nobody else's.
            name: eni.id.to_string(),
            token: String::new(),
            node,
            instance,
            subnet: eni.subnet.clone(),
            secondary: u32::try_from(eni.secondary_addresses().count()).unwrap_or(u32::MAX),
            intent: Intent::Attached,
            id: Some(eni.id.clone()),
        };
        let told = format!(
            "ENI {} on node {} had no record and has one now",
            eni.id, record.node
        );
        match self.actor.restore(record).await {
            Ok(()) => Some(told),
            // Somebody else made it.
            Err(ActError::Cluster(ClusterError::Conflict { .. })) => None,
            Err(error) => {
                tracing::warn!(eni = %eni.id, %error, "an attached ENI without a record is not adopted yet");
                None
            }
        }
    }

    /// Deletes an ENI if it is still unattached and ours right now; what it did, if it did.
    async fn delete(&self, id: EniId) -> CloudResult<Option<String>> {
        let listed = self.cloud.enis(&EniFilter::Ids(vec![id.clone()])).await?;
        let Some(eni) = listed.into_iter().find(|eni| eni.id == id) else {
            return Ok(None);
        };
        if !confirms_leak(&eni, &self.actor.config.tags) {
            tracing::info!(eni = %id, state = ?eni.state, "a suspected ENI is in use after all, or not ours");
            return Ok(None);
        }
        self.actor.inventory.delete(&id).await?;
        self.state.lock().deleted.insert(id.clone(), eni.name.clone());
        Ok(Some(format!(
            "ENI {id} ({}) had no record, was attached to nothing and is deleted",
            eni.name
        )))
    }

    /// Tells of an ENI of ours on an instance that is no node.
    fn tell(&self, eni: &EniId, instance: &InstanceId) {
        tracing::warn!(%eni, %instance, "an ENI with our tags and no record is on an instance that is no node; \
            it is left alone; detach it if nobody uses it");
        let nodes = self.actor.desk.index().nodes_on(&[instance.clone()].into());
        for node in nodes {
            self.actor.cluster.report(Event {
                subject: Subject::Node(node),
                warning: true,
                reason: "ENIWithoutNode",
                message: format!(
                    "ENI {eni} with this cluster's tags is attached to instance {instance}, which is no node; \
                     it is left alone; detach it if nobody uses it"
                ),
            });
        }
    }
}

#[async_trait]
impl Collector for EniCollector {
    async fn collect(&self) -> Result<Sweep, NoEvidence> {
        let Some((begun, listed)) = self.actor.inventory.listed() else {
            return Err(NoEvidence("our ENIs were not read whole yet".to_owned()));
        };
        if self.state.lock().judged == Some(begun) {
            let suspected = self.state.lock().leaks.suspected();
            return Ok(Sweep {
                suspected,
                ..Sweep::default()
            });
        }
        // Not the watch: what it has not told yet would look leaked.
        let records = self.actor.cluster.eni_records().list(&Scope::All).await;
        let records = records.map_err(|error| NoEvidence(error.to_string()))?;
        let records: Vec<_> = records.into_iter().map(|read| read.object).collect();
        let (judgement, suspected) = self.judge(begun, &listed, &records);
        let mut sweep = Sweep {
            suspected,
            ..Sweep::default()
        };
        for (eni, node) in judgement.adopt {
            if let Some(instance) = eni.instance.clone() {
                sweep.reclaimed.extend(self.adopt(eni, node, instance).await);
            }
        }
        for (eni, instance) in &judgement.astray {
            self.tell(eni, instance);
        }
        for id in judgement.condemned {
            match self.delete(id.clone()).await {
                Ok(done) => sweep.reclaimed.extend(done),
                // It stays under suspicion.
                Err(error) => sweep.failed.push(format!("{id}: {error}")),
            }
        }
        Ok(sweep)
    }
}
