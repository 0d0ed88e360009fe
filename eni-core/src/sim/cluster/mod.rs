//! A cluster in memory: its objects, and connections that can break.

mod by_node;
mod connection;
mod table;
#[cfg(test)]
mod tests;
mod view;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use connection::Connection;
use table::Table;
use view::View;

use super::{Fault, FaultHook};
use crate::{
    cluster::{Cluster, ClusterError, Event, Object, Reader, Store, Versioned},
    model::{AddressRecord, Claim, ClaimDefaults, EniRecord, Node, NodeConfig, NodeName, Pod, PodKey},
};

/// A cluster in memory, seen through one connection. Clones share both.
///
/// A watcher that is slow gets merged steps, and the whole state when it is far behind, so that its
/// memory is bounded.
#[derive(Clone, Debug)]
pub struct MemoryCluster {
    objects: Arc<Objects>,
    connection: Arc<Connection>,
}

#[derive(Debug, Default)]
struct Objects {
    node_configs: Arc<Table<NodeConfig>>,
    eni_records: Arc<Table<EniRecord>>,
    claims: Arc<Table<Claim>>,
    address_records: Arc<Table<AddressRecord>>,
    claim_defaults: Arc<Table<ClaimDefaults>>,
    pods: Arc<Table<Pod>>,
    nodes: Arc<Table<Node>>,
    events: Mutex<Vec<Event>>,
}

impl MemoryCluster {
    /// An empty cluster.
    pub fn new() -> Self {
        Self {
            objects: Arc::default(),
            connection: Arc::new(Connection::new()),
        }
    }

    /// Another process's connection to the same cluster, with faults of its own.
    pub fn connect(&self) -> Self {
        Self {
            objects: self.objects.clone(),
            connection: Arc::new(Connection::new()),
        }
    }

    fn view<T: Object>(&self, table: &Arc<Table<T>>) -> Arc<View<T>> {
        Arc::new(View {
            table: table.clone(),
            connection: self.connection.clone(),
        })
    }
}

/// Faults of this connection.
impl MemoryCluster {
    /// While unavailable, calls fail, events are dropped and watches stall, to begin anew later.
    pub fn set_available(&self, available: bool) {
        self.connection.set_available(available);
    }

    /// Every watch breaks and begins anew with the whole state.
    pub fn interrupt_watches(&self) {
        self.connection.interrupt();
    }

    /// How much later than it happens each step is told by the watches of this connection.
    pub fn set_watch_delay(&self, delay: Duration) {
        *self.connection.watch_delay.lock() = delay;
    }

    /// How long each call is on its way.
    pub fn set_latency(&self, latency: Duration) {
        *self.connection.latency.lock() = latency;
    }

    /// The next call of `action` (the trait method's name) fails without effect.
    pub fn fail_next(&self, action: &'static str, error: ClusterError) {
        self.inject(action, Fault::Before(error));
    }

    /// The next call of `action` (the trait method's name) meets `fault`; several are met in order.
    pub fn inject(&self, action: &'static str, fault: Fault<ClusterError>) {
        self.connection.faults.queue(action, fault);
    }

    /// Asks `hook` for the fault of each call that meets no injected one. The resource is the kind, a
    /// space and the key, or `list` for a listing.
    pub fn set_fault(&self, hook: FaultHook<ClusterError>) {
        self.connection.faults.set_hook(Some(hook));
    }

    /// Asks no hook any more.
    pub fn clear_fault(&self) {
        self.connection.faults.set_hook(None);
    }
}

/// What others in the cluster do; no connection is needed for it.
impl MemoryCluster {
    /// Creates or replaces a pod.
    pub fn put_pod(&self, pod: Pod) -> Versioned<Pod> {
        self.objects.pods.put(pod)
    }

    /// Deletes a pod; nothing if it is gone.
    pub fn delete_pod(&self, key: &PodKey) {
        self.objects.pods.remove(&key.to_string());
    }

    /// Creates or replaces what pods ask of their static addresses that say nothing.
    pub fn put_claim_defaults(&self, defaults: ClaimDefaults) -> Versioned<ClaimDefaults> {
        self.objects.claim_defaults.put(defaults)
    }

    /// Deletes a claim as everybody but ipamd does, whose finalizer it bears: it is marked. Nothing if it is gone.
    pub fn ask_to_delete_claim(&self, key: &PodKey) {
        if let Ok(mut read) = self.objects.claims.get(&key.to_string()) {
            read.object.deleting = true;
            self.objects.claims.put(read.object);
        }
    }

    /// Creates or replaces a node.
    pub fn put_node(&self, node: Node) -> Versioned<Node> {
        self.objects.nodes.put(node)
    }

    /// Deletes a node; nothing if it is gone.
    pub fn delete_node(&self, name: &NodeName) {
        self.objects.nodes.remove(name.as_str());
    }

    /// The events reported through all connections, in order.
    pub fn events(&self) -> Vec<Event> {
        self.objects.events.lock().clone()
    }

    /// Takes the events reported so far, so that the log begins anew.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.objects.events.lock())
    }
}

impl Default for MemoryCluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster for MemoryCluster {
    fn node_configs(&self) -> Arc<dyn Store<NodeConfig>> {
        self.view(&self.objects.node_configs)
    }

    fn eni_records(&self) -> Arc<dyn Store<EniRecord>> {
        self.view(&self.objects.eni_records)
    }

    fn claims(&self) -> Arc<dyn Store<Claim>> {
        self.view(&self.objects.claims)
    }

    fn address_records(&self) -> Arc<dyn Store<AddressRecord>> {
        self.view(&self.objects.address_records)
    }

    fn claim_defaults(&self) -> Arc<dyn Reader<ClaimDefaults>> {
        self.view(&self.objects.claim_defaults)
    }

    fn pods(&self) -> Arc<dyn Reader<Pod>> {
        self.view(&self.objects.pods)
    }

    fn nodes(&self) -> Arc<dyn Reader<Node>> {
        self.view(&self.objects.nodes)
    }

    fn report(&self, event: Event) {
        if self.connection.is_available() {
            self.objects.events.lock().push(event);
        }
    }
}
