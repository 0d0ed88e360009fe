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
    controller::{Backends, ClaimConfig, PoolConfig, PoolController},
    leadership::{Leadership, Unrivalled},
    model::SubnetId,
    sim::{MemoryCluster, world::Bug},
};

/// How long a lease lasts without renewal; Kubernetes' default.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(2);

/// A leader's lease, which ends unless it is renewed.
struct Lease {
    until: Mutex<Instant>,
}

impl Lease {
    fn new() -> Self {
        Self {
            until: Mutex::new(Instant::now() + LEASE),
        }
    }

    fn renew(&self) {
        *self.until.lock() = Instant::now() + LEASE;
    }

    fn end(&self) -> Instant {
        *self.until.lock()
    }
}

impl Leadership for Lease {
    fn remaining(&self) -> Option<Duration> {
        let left = self.end().saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }
}

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
        let lease = Arc::new(Lease::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(self.serve(handle.clone(), lease.clone()));
        let renewal = async {
            loop {
                sleep(RENEWAL).await;
                lease.renew();
            }
        };
        let isolated = tokio::select! {
            biased;
            () = handle.process.until_cut() => false,
            _ = tasks.join_next() => false,
            () = self.isolated.notified() => true,
            () = renewal => false,
        };
        let end = lease.end();
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

    fn serve(&self, handle: Handle, lease: Arc<Lease>) -> impl Future<Output = ()> + use<> {
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
            claims: world.setting.claims.then(ClaimConfig::default),
            ..PoolConfig::new(self.subnets.clone(), tags)
        };
        let leadership: Arc<dyn Leadership> = if world.has(Bug::DeafLeader) {
            Arc::new(Unrivalled)
        } else {
            lease
        };
        let backends = Backends {
            cloud: Arc::new(SimCloud(handle)),
            cluster,
            environment: world.environment.clone(),
            leadership,
        };
        PoolController::new(backends, config).run()
    }
}
