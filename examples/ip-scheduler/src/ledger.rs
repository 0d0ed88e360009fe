//! What is known of nodes and pods: the core's book of rooms, kept by watches.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use eni_core::{
    cluster::{Cluster, ClusterResult, Scope, WatchEvent},
    model::{Claim, NodeConfig, NodeName, Pod},
    predicate::{Room, Rooms},
};
use futures::StreamExt;
use parking_lot::RwLock;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often bindings are looked for of which nothing was heard.
const LOOK: Duration = Duration::from_secs(5);

/// The book, which filters read and bindings write.
#[derive(Debug, Default)]
pub struct Ledger {
    rooms: RwLock<Rooms>,
    pods_known: AtomicBool,
    nodes_known: AtomicBool,
    claims_known: AtomicBool,
}

impl Ledger {
    /// Looks something up.
    pub fn read<T>(&self, look: impl FnOnce(&Rooms) -> T) -> T {
        look(&self.rooms.read())
    }

    /// Changes something.
    pub fn write<T>(&self, change: impl FnOnce(&mut Rooms) -> T) -> T {
        change(&mut self.rooms.write())
    }

    /// Whether everything was read once.
    pub fn is_known(&self) -> bool {
        let known = [&self.pods_known, &self.nodes_known, &self.claims_known];
        known.into_iter().all(|known| known.load(Ordering::Relaxed))
    }

    /// Follows a cluster for ever.
    pub async fn follow(&self, cluster: &dyn Cluster) -> Infallible {
        let (mut pods, mut configs) = (
            cluster.pods().watch(Scope::All),
            cluster.node_configs().watch(Scope::All),
        );
        let mut claims = cluster.claims().watch(Scope::All);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(event) = pods.next() => self.pod(event),
                Some(event) = configs.next() => self.node(event),
                Some(event) = claims.next() => self.claim(event),
                _ = look.tick() => self.write(|rooms| rooms.expire(Instant::now())),
            }
        }
    }

    /// Reads every pod and every node as they are now: what another leader bound is among them.
    pub async fn refresh(&self, cluster: &dyn Cluster) -> ClusterResult<()> {
        let pods = cluster.pods().list(&Scope::All).await?;
        let configs = cluster.node_configs().list(&Scope::All).await?;
        let pods: Vec<Pod> = pods.into_iter().map(|read| read.object).collect();
        self.write(|rooms| rooms.confirm_pods(pods.iter(), Instant::now()));
        let configs: Vec<NodeConfig> = configs.into_iter().map(|read| read.object).collect();
        self.write(|rooms| rooms.confirm_nodes(by_name(&configs)));
        Ok(())
    }

    fn pod(&self, event: WatchEvent<Pod>) {
        match event {
            WatchEvent::Reset(pods) => {
                self.set_pods(pods.into_iter().map(|read| read.object).collect());
                self.pods_known.store(true, Ordering::Relaxed);
            }
            WatchEvent::Applied(read) => self.write(|rooms| rooms.set_pod(&read.object)),
            WatchEvent::Deleted(pod) => self.write(|rooms| rooms.remove_pod(&pod)),
        }
    }

    fn node(&self, event: WatchEvent<NodeConfig>) {
        match event {
            WatchEvent::Reset(configs) => {
                self.set_nodes(configs.into_iter().map(|read| read.object).collect());
                self.nodes_known.store(true, Ordering::Relaxed);
            }
            WatchEvent::Applied(read) => {
                let config = read.object;
                self.write(|rooms| rooms.set_node(&config.name, Some(Room::from(&config))));
            }
            WatchEvent::Deleted(config) => self.write(|rooms| rooms.set_node(&config.name, None)),
        }
    }

    fn set_pods(&self, pods: Vec<Pod>) {
        self.write(|rooms| rooms.set_pods(pods.iter(), Instant::now()));
    }

    fn set_nodes(&self, configs: Vec<NodeConfig>) {
        self.write(|book| book.set_nodes(by_name(&configs)));
    }

    fn claim(&self, event: WatchEvent<Claim>) {
        match event {
            WatchEvent::Reset(claims) => {
                self.write(|rooms| rooms.set_claims(claims.iter().map(|read| &read.object)));
                self.claims_known.store(true, Ordering::Relaxed);
            }
            WatchEvent::Applied(read) => self.write(|rooms| rooms.set_claim(&read.object)),
            WatchEvent::Deleted(claim) => self.write(|rooms| rooms.remove_claim(&claim.key)),
        }
    }
}

fn by_name(configs: &[NodeConfig]) -> BTreeMap<NodeName, Room> {
    let rooms = configs
        .iter()
        .map(|config| (config.name.clone(), Room::from(config)));
    rooms.collect()
}
