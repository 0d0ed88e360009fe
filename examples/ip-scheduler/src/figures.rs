//! What is counted.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Bounds of answers, in seconds: a scheduler waits ten at most.
const SECONDS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0];

/// The figures of a replica.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) leader: Gauge,
    pub(crate) nodes: Gauge,
    pub(crate) pods: Gauge,
    pub(crate) bindings_under_way: Gauge,
    /// Nodes that did not fit, by reason.
    pub(crate) rejected: Family<Reason, Counter>,
    /// Requests, by verb and what came of them.
    pub(crate) requests: Family<Request, Counter>,
    pub(crate) filter_seconds: Histogram,
}

/// Why a node did not fit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// A request and its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    pub(crate) verb: &'static str,
    pub(crate) outcome: &'static str,
}

impl Figures {
    /// New figures in `registry`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let figures = Self {
            leader: Gauge::default(),
            nodes: Gauge::default(),
            pods: Gauge::default(),
            bindings_under_way: Gauge::default(),
            rejected: Family::default(),
            requests: Family::default(),
            filter_seconds: Histogram::new(SECONDS),
        };
        registry.register("leader", "1 if this replica answers", figures.leader.clone());
        registry.register("nodes", "Nodes with a NodeENIConfig", figures.nodes.clone());
        registry.register(
            "pods",
            "Pods that take an address of a node",
            figures.pods.clone(),
        );
        registry.register(
            "bindings_under_way",
            "Pods among them that do not show their node yet",
            figures.bindings_under_way.clone(),
        );
        registry.register(
            "nodes_rejected",
            "Nodes that did not fit a pod, by reason",
            figures.rejected.clone(),
        );
        registry.register(
            "requests",
            "Requests of the scheduler, by verb and outcome",
            figures.requests.clone(),
        );
        registry.register(
            "filter_seconds",
            "What filtering takes",
            figures.filter_seconds.clone(),
        );
        figures
    }

    /// Counts a request.
    pub(crate) fn count(&self, verb: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&Request { verb, outcome }).inc();
    }
}
