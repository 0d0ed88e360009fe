//! ipamd: one leads, another takes over when its lease has ended, and for a while both may live.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    core::{TAG, World},
    handles::{Handle, SimCloud, SimCluster},
    process::Who,
};
use crate::{
    controller::{PoolConfig, PoolController},
    model::SubnetId,
    sim::MemoryCluster,
};

/// How long a lease lasts without renewal; Kubernetes' default.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(2);

/// The ipamd of a cluster.
pub(super) struct Ipamd {
    world: Arc<World>,
    subnets: Vec<SubnetId>,
    pub(super) connection: Mutex<Option<MemoryCluster>>,
    /// The leader shall lose touch.
    isolated: Notify,
}

impl Ipamd {
    pub(super) fn new(world: &Arc<World>, subnets: Vec<SubnetId>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            subnets,
            connection: Mutex::default(),
            isolated: Notify::new(),
        })
    }

    /// The leader cannot renew its lease any more, and goes on for a while.
    pub(super) fn isolate(&self) {
        self.isolated.notify_waiters();
    }

    /// One leader after the other, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        for number in 1.. {
            self.world.truth(|truth| truth.leader = number);
            self.lead(number).await;
        }
    }

    /// One leader's time: it returns when another one may lead.
    async fn lead(&self, number: u32) {
        let world = &self.world;
        let handle = Handle::new(world, Who::Ipamd(number));
        world.step(&handle.process.who, "lead", String::new(), "");
        let until = Mutex::new(Instant::now() + LEASE);
        let mut tasks = JoinSet::new();
        tasks.spawn(self.serve(handle.clone()));
        let renewal = async {
            loop {
                sleep(RENEWAL).await;
                *until.lock() = Instant::now() + LEASE;
            }
        };
        let isolated = tokio::select! {
            biased;
            () = handle.process.until_cut() => false,
            _ = tasks.join_next() => false,
            () = self.isolated.notified() => true,
            () = renewal => false,
        };
        let end = *until.lock();
        if !isolated {
            handle.process.cut();
            tasks.shutdown().await;
            sleep_until(end).await;
            sleep(world.dice.millis(100, 3_000)).await;
            return;
        }
        // It lives on beside its successor.
        world.step(&handle.process.who, "isolated", String::new(), "");
        let more = world.dice.millis(1_000, 60_000);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = handle.process.until_cut() => {}
                () = sleep_until(end + more) => {}
            }
            handle.process.cut();
            tasks.shutdown().await;
        });
        sleep_until(end).await;
    }

    fn serve(&self, handle: Handle) -> impl Future<Output = ()> + use<> {
        let world = &self.world;
        let connection = world.cluster.connect();
        *self.connection.lock() = Some(connection.clone());
        let cluster = Arc::new(SimCluster {
            handle: handle.clone(),
            connection,
        });
        let tags = BTreeMap::from([(TAG.0.to_owned(), TAG.1.to_owned())]);
        let config = PoolConfig {
            warm: world.setting.warm,
            ..PoolConfig::new(self.subnets.clone(), tags)
        };
        let cloud = Arc::new(SimCloud(handle));
        let controller = PoolController::new(cloud, cluster, world.environment.clone(), config);
        controller.run()
    }
}
