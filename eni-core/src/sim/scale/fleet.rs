//! The nodes: on each the real service and its dialogue with ipamd.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use super::{Scale, region, region::Region};
use crate::{
    agent::{Dialogue, DialogueConfig, NodeService, ServiceConfig},
    journal::MemoryJournal,
    sim::{Fault, MemoryCluster},
};

/// Agents start within this time: as long as the longest interval at which they report, lest all nodes of
/// the cluster report in the same instant for ever.
const START: Duration = Duration::from_secs(30);

/// How often a node's kernel is put right. Nobody takes anything away there; looking after it every 10 s, as
/// an agent does, would be most of what is computed.
const REPAIR: Duration = Duration::from_secs(60);

/// All nodes.
pub(super) struct Fleet {
    services: Vec<Arc<NodeService>>,
    writes: Arc<AtomicU64>,
}

impl Fleet {
    /// Every node's service, at once; each dialogue a little later than the one before.
    pub(super) async fn start(scale: &Scale, region: &Region) -> Arc<Self> {
        let writes: Arc<AtomicU64> = Arc::default();
        let cluster = connect(&region.cluster, &writes);
        let mut services = Vec::new();
        for number in 0..scale.nodes {
            let journal = Arc::new(MemoryJournal::new());
            let service = NodeService::open(journal, region.environment.clone(), ServiceConfig::default());
            let service = service.await.expect("a journal in memory can be read");
            let dialogue = Dialogue::new(
                region::node(number),
                region::instance(number),
                service.clone(),
                cluster.clone(),
                region.fabric.network(&region::instance(number)),
                DialogueConfig {
                    repair_interval: REPAIR,
                    ..DialogueConfig::default()
                },
            );
            let later = START.mul_f64(f64::from(number) / f64::from(scale.nodes));
            tokio::spawn(async move {
                sleep(later).await;
                dialogue.run().await;
            });
            let waiters = service.clone();
            tokio::spawn(async move { waiters.run().await });
            services.push(service);
        }
        Arc::new(Self { services, writes })
    }

    /// A node's service.
    pub(super) fn service(&self, node: u32) -> &Arc<NodeService> {
        &self.services[node as usize]
    }

    /// Addresses that nobody uses, and those of the node that has most.
    pub(super) fn addresses(&self) -> (usize, usize) {
        let counts = self.services.iter().map(|service| service.counts());
        counts.fold((0, 0), |(idle, most), counts| {
            (idle + counts.total() - counts.allocated, most.max(counts.total()))
        })
    }

    /// Writes of agents since the last time.
    pub(super) fn take_writes(&self) -> u64 {
        self.writes.swap(0, Ordering::Relaxed)
    }
}

/// A connection whose writes are counted.
pub(super) fn connect(cluster: &MemoryCluster, writes: &Arc<AtomicU64>) -> Arc<MemoryCluster> {
    let (connection, writes) = (cluster.connect(), writes.clone());
    connection.set_fault(Arc::new(move |action, _| {
        if matches!(action, "create" | "update" | "delete") {
            writes.fetch_add(1, Ordering::Relaxed);
        }
        Fault::None
    }));
    Arc::new(connection)
}
