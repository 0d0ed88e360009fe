//! Marks nodes that have no addresses for pods, by a condition and a taint.

mod decide;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::pending,
    sync::Arc,
    time::Duration,
};

use eni_core::{
    cluster::{Reader, Scope, Versioned, WatchEvent},
    env::Environment,
    leadership::Leadership,
};
use futures::StreamExt;
use k8s_openapi::api::core::v1;
use kube::{
    Client,
    core::params::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::{
    KubeOptions,
    calls::{CallError, Calls, PATIENCE},
    events::Reporter,
    informer::{Backing, Heard},
    kind::{Kind, Selector, requests},
    view::View,
};
use decide::{Change, MarkedNode, decide};

/// The extended resource that the agents advertise, one for each address of the node's pool.
const RESOURCE: &str = "tke.cloud.tencent.com/eni-ip";

/// The taint of TKE's nodes that have none yet; node pools set it too.
const TAINT: &str = "tke.cloud.tencent.com/eni-ip-unavailable";

/// The type of the condition, which TKE does not publish.
const CONDITION: &str = "tke.cloud.tencent.com/ENIIPUnavailable";

/// How long after a failure a node is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Which marks are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeMarkOptions {
    /// The condition `tke.cloud.tencent.com/ENIIPUnavailable`: `True` on a node that advertises no address.
    pub condition: bool,
    /// The taint `tke.cloud.tencent.com/eni-ip-unavailable` (`NoSchedule`) on such a node.
    pub taint: bool,
}

/// Keeps the marks of all nodes that have an instance.
///
/// A node has addresses once it advertises the resource `tke.cloud.tencent.com/eni-ip`. Marks that are not asked for
/// are left as they are, and so is everything that others set.
pub struct NodeMarks {
    nodes: View<MarkedNode>,
    calls: Calls,
    options: NodeMarkOptions,
    environment: Arc<dyn Environment>,
    leadership: Arc<dyn Leadership>,
}

impl NodeMarks {
    /// For as long as `leadership` is held. To be called within a tokio runtime.
    pub fn new(
        client: Client,
        as_whom: &KubeOptions,
        options: NodeMarkOptions,
        environment: Arc<dyn Environment>,
        leadership: Arc<dyn Leadership>,
    ) -> Self {
        let calls = Calls::new(client);
        let reporter = Reporter::start(
            calls.clone(),
            as_whom.component,
            as_whom.event_window,
            environment.clone(),
        );
        Self {
            nodes: View::new(Backing {
                calls: calls.clone(),
                reporter,
                environment: environment.clone(),
                heard: Heard::default(),
            }),
            calls,
            options,
            environment,
            leadership,
        }
    }

    /// Runs until it is dropped, which whoever loses leadership does; nothing is written without it.
    pub async fn run(self) -> Infallible {
        if self.options == NodeMarkOptions::default() {
            return pending().await;
        }
        let mut watch = self.nodes.watch(Scope::All);
        let mut known: BTreeMap<String, Versioned<MarkedNode>> = BTreeMap::new();
        let (mut due, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let mut again = Instant::now();
        loop {
            tokio::select! {
                biased;
                event = watch.next() => match event {
                    Some(WatchEvent::Reset(all)) => {
                        known = all.into_iter().map(|node| (node.object.name.to_string(), node)).collect();
                        due = known.keys().cloned().collect();
                    }
                    Some(WatchEvent::Applied(node)) => {
                        due.insert(node.object.name.to_string());
                        known.insert(node.object.name.to_string(), node);
                    }
                    Some(WatchEvent::Deleted(node)) => {
                        known.remove(node.name.as_str());
                    }
                    None => return pending().await,
                },
                // What is known already is known before anything is written.
                name = async { due.pop_first() }, if !due.is_empty() => {
                    if let Some(node) = name.as_ref().and_then(|name| known.get(name))
                        && let Err(error) = self.mark(node).await
                    {
                        tracing::warn!(%error, node = %node.object.name, "node not marked");
                        failed.extend(name);
                        again = Instant::now() + PAUSE;
                    }
                }
                () = sleep_until(again), if !failed.is_empty() => due.append(&mut failed),
            }
        }
    }

    async fn mark(&self, node: &Versioned<MarkedNode>) -> Result<(), CallError> {
        if self.leadership.remaining().is_none() {
            return Ok(());
        }
        let Change { taints, condition } = decide(&node.object, self.options);
        let name = node.object.name.as_str();
        let (requests, how) = (requests::<MarkedNode>(None), PatchParams::default());
        if let Some(taints) = taints {
            // The list is replaced whole: never one that somebody changed since.
            let version = &node.version.0;
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
            let request = requests.patch(name, &how, &Patch::Merge(patch));
            self.calls.send::<Value>(request, PATIENCE).await?;
            tracing::info!(node = name, lacks = ?node.object.lacks, "node's taint changed");
        }
        if let Some(lacks) = condition {
            let patch = json!({"status": {"conditions": [self.condition(lacks)]}});
            let request = requests.patch_subresource("status", name, &how, &Patch::Strategic(patch));
            self.calls.send::<Value>(request, PATIENCE).await?;
            tracing::info!(node = name, lacks, "node's condition changed");
        }
        Ok(())
    }

    fn condition(&self, lacks: bool) -> Value {
        let now = self.environment.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (status, reason, message) = match lacks {
            true => (
                "True",
                "NoAddresses",
                format!("the node does not advertise {RESOURCE}"),
            ),
            false => (
                "False",
                "AddressesAdvertised",
                format!("the node advertises {RESOURCE}"),
            ),
        };
        json!({
            "type": CONDITION, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    }
}

impl Kind for MarkedNode {
    type Wire = v1::Node;
    const PLURAL: &'static str = "nodes";
    const OF_NODE: Selector = Selector::Field("metadata.name");

    fn api_version() -> String {
        "v1".to_owned()
    }

    fn read(wire: &v1::Node) -> Result<Self, String> {
        Self::read(wire)
    }
}

impl std::fmt::Debug for NodeMarks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeMarks")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
