//! Why a pod has no address: facts are read here, and judged in [`decide()`].

mod decide;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

pub use decide::{Cause, Facts, PodFacts, Told, decide};

use crate::{addresses::owners, cluster::Cluster, error::Error, nodes::Counts};

/// Reads what is known of a pod.
///
/// # Errors
///
/// [`Error::Api`].
pub async fn read(cluster: &Cluster, namespace: &str, name: &str) -> Result<Facts, Error> {
    let Some(object) = cluster.pod(namespace, name).await? else {
        return Ok(Facts::default());
    };
    let events = cluster.events("Pod", name).await?;
    let events = events
        .into_iter()
        .filter(|event| event.metadata.namespace.as_deref() == Some(namespace));
    let mut facts = Facts {
        pod: Some(PodFacts::of(&object)),
        pod_told: told(events),
        ..Facts::default()
    };
    let Some(node) = facts.pod.as_ref().and_then(|pod| pod.node.clone()) else {
        return Ok(facts);
    };
    if let Some(object) = cluster.node(&node).await? {
        facts.node_uid = object.metadata.uid.clone();
        facts.instance = eni_kube::node(&object)
            .ok()
            .and_then(|node| node.instance)
            .map(|id| id.to_string());
    }
    if let Some(config) = cluster.config(&node).await? {
        let used: BTreeSet<_> = owners(&cluster.pods(Some(&node)).await?).into_keys().collect();
        facts.counts = config
            .status
            .as_ref()
            .map(|pool| Counts::of(&config, pool, &used));
        facts.config = Some(config);
        let records = cluster.records().await?;
        facts.creating = records
            .iter()
            .filter(|record| {
                record.spec.node == node && record.spec.intent == "Attached" && record.id().is_none()
            })
            .count();
    }
    facts.node_told = told(cluster.events("Node", &node).await?);
    Ok(facts)
}

/// What events tell, the latest first.
fn told(events: impl IntoIterator<Item = Event>) -> Vec<Told> {
    let told = |event: Event| {
        let last = event.last_timestamp.map(|time| time.0);
        Told {
            at: last
                .or(event.event_time.map(|time| time.0))
                .unwrap_or(Timestamp::UNIX_EPOCH),
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        }
    };
    let mut told: Vec<Told> = events.into_iter().map(told).collect();
    told.sort_by_key(|told| Reverse(told.at));
    told
}
