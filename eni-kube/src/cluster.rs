//! A Kubernetes cluster as the core wants it.

use std::{sync::Arc, time::Duration};

use eni_core::{
    cluster::{Cluster, Event, Reader, Store},
    env::Environment,
    model::{AddressRecord, Claim, ClaimDefaults, EniRecord, Node, NodeConfig, Pod},
};
use kube::Client;

use crate::{
    calls::Calls,
    events::Reporter,
    informer::{Backing, Heard},
    view::View,
};

/// How a process appears to the cluster.
#[derive(Clone, Debug)]
pub struct KubeOptions {
    /// The source of its events, such as `tke-eni-ipamd`.
    pub component: &'static str,
    /// The repetitions of an event are counted up at most once in this time.
    pub event_window: Duration,
}

impl KubeOptions {
    /// The options of a component, with repeated events counted up once a minute.
    pub fn new(component: &'static str) -> Self {
        Self {
            component,
            event_window: Duration::from_secs(60),
        }
    }
}

/// [`Cluster`] over the Kubernetes API.
///
/// * `get` and `list` ask the API server's store: they see every write that was acknowledged, to whomever.
/// * All watches of one kind and scope share one list and one connection, which end with the last of them. A
///   node's scope is selected by the server, so that an agent is sent its own objects alone.
/// * An update changes what the core knows of an object and keeps everything else in it.
/// * An object that cannot be read (somebody edited it) is told of by an event and in the log. Its last readable
///   state stays in force; `get` of it is [`Refused`](eni_core::cluster::ClusterError::Refused). One that never
///   was readable holds up the first `Reset` of a watch, and fails a `list`: neither may say that it does not exist.
///   Watches that are under way go on.
pub struct KubeCluster {
    node_configs: Arc<View<NodeConfig>>,
    eni_records: Arc<View<EniRecord>>,
    claims: Arc<View<Claim>>,
    address_records: Arc<View<AddressRecord>>,
    claim_defaults: Arc<View<ClaimDefaults>>,
    pods: Arc<View<Pod>>,
    nodes: Arc<View<Node>>,
    reporter: Reporter,
    heard: Heard,
}

impl KubeCluster {
    /// The cluster that `client` talks to. To be called within a tokio runtime.
    pub fn new(client: Client, options: &KubeOptions, environment: Arc<dyn Environment>) -> Self {
        let calls = Calls::new(client);
        let reporter = Reporter::start(
            calls.clone(),
            options.component,
            options.event_window,
            environment.clone(),
        );
        let backing = Backing {
            calls,
            reporter: reporter.clone(),
            environment,
            heard: Heard::default(),
        };
        let heard = backing.heard.clone();
        Self {
            node_configs: Arc::new(View::new(backing.clone())),
            eni_records: Arc::new(View::new(backing.clone())),
            claims: Arc::new(View::new(backing.clone())),
            address_records: Arc::new(View::new(backing.clone())),
            claim_defaults: Arc::new(View::new(backing.clone())),
            pods: Arc::new(View::new(backing.clone())),
            nodes: Arc::new(View::new(backing)),
            reporter,
            heard,
        }
    }

    /// How long ago the API server said anything on a watch that is under way: an idle one is sent a bookmark about
    /// once a minute. `None`: nothing yet.
    pub fn heard(&self) -> Option<Duration> {
        self.heard.age()
    }
}

impl Cluster for KubeCluster {
    fn node_configs(&self) -> Arc<dyn Store<NodeConfig>> {
        self.node_configs.clone()
    }

    fn eni_records(&self) -> Arc<dyn Store<EniRecord>> {
        self.eni_records.clone()
    }

    fn claims(&self) -> Arc<dyn Store<Claim>> {
        self.claims.clone()
    }

    fn address_records(&self) -> Arc<dyn Store<AddressRecord>> {
        self.address_records.clone()
    }

    fn claim_defaults(&self) -> Arc<dyn Reader<ClaimDefaults>> {
        self.claim_defaults.clone()
    }

    fn pods(&self) -> Arc<dyn Reader<Pod>> {
        self.pods.clone()
    }

    fn nodes(&self) -> Arc<dyn Reader<Node>> {
        self.nodes.clone()
    }

    fn report(&self, event: Event) {
        self.reporter.report(event);
    }
}

impl std::fmt::Debug for KubeCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeCluster").finish_non_exhaustive()
    }
}
