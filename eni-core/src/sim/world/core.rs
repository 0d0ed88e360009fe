//! What everybody in a simulation shares: the truth, the chance, the record of steps and the backends.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{
    Bug, Violation, Wire,
    dice::Dice,
    event::Event,
    invariants,
    setting::Setting,
    trace::{Step, Trace},
    truth::Truth,
};
use crate::{
    cloud::Cloud,
    model::{Eni, SubnetId},
    sim::{Fabric, FabricChange, MemoryCloud, MemoryCluster, MemoryFabric, SimEnvironment},
};

/// The tag that our ENIs bear.
pub(super) const TAG: (&str, &str) = ("cluster", "simulation");

/// What everybody shares.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
    pub(super) dice: Dice,
    pub(super) setting: Setting,
    pub(super) cloud: MemoryCloud,
    /// How processes reach it, if not by calls.
    wire: Option<Arc<dyn Wire>>,
    /// The world's own connection.
    pub(super) cluster: MemoryCluster,
    pub(super) fabric: Arc<MemoryFabric>,
    pub(super) environment: Arc<SimEnvironment>,
    truth: Arc<Mutex<Truth>>,
    trace: Mutex<Trace>,
    start: Instant,
    calm: AtomicBool,
    numbers: AtomicU64,
    /// How long listings may lag behind; each by a time of its own.
    lag: Mutex<Duration>,
    /// Until when the cloud answers nobody.
    outage: Mutex<Option<Instant>>,
    violation: Mutex<Option<Violation>>,
    over: Notify,
}

/// The data plane, which the truth learns from.
pub(super) struct Witness {
    pub(super) fabric: Arc<MemoryFabric>,
    pub(super) truth: Arc<Mutex<Truth>>,
}

impl Fabric for Witness {
    fn apply(&self, change: &FabricChange) {
        self.truth.lock().deliver(change, is_ours);
        self.fabric.apply(change);
    }
}

fn is_ours(eni: &Eni) -> bool {
    eni.tags.get(TAG.0).map(String::as_str) == Some(TAG.1)
}

impl World {
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts are made one by one, in order of what they need"
    )]
    pub(super) fn new(
        seed: u64,
        bug: Option<Bug>,
        print: bool,
        dice: Dice,
        setting: Setting,
        cloud: MemoryCloud,
        fabric: Arc<MemoryFabric>,
        truth: Arc<Mutex<Truth>>,
        wire: impl FnOnce(&MemoryCloud, Arc<SimEnvironment>) -> Option<Arc<dyn Wire>>,
    ) -> Self {
        let environment = Arc::new(SimEnvironment::new(seed));
        Self {
            seed,
            bug,
            dice,
            setting,
            wire: wire(&cloud, environment.clone()),
            cloud,
            cluster: MemoryCluster::new(),
            fabric,
            environment,
            truth,
            trace: Mutex::new(Trace::new(print)),
            start: Instant::now(),
            calm: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            lag: Mutex::new(Duration::ZERO),
            outage: Mutex::new(None),
            violation: Mutex::new(None),
            over: Notify::new(),
        }
    }

    /// The cloud as processes reach it.
    pub(super) fn wire(&self) -> Arc<dyn Cloud> {
        match &self.wire {
            Some(wire) => wire.cloud(),
            None => Arc::new(self.cloud.clone()),
        }
    }

    /// Looks at the truth, or changes it. Never while the cloud is called.
    pub(super) fn truth<R>(&self, look: impl FnOnce(&mut Truth) -> R) -> R {
        look(&mut self.truth.lock())
    }

    /// Judges what is about to happen, and takes it over.
    pub(super) fn observe(&self, event: &Event<'_>) {
        let now = Instant::now();
        let mut truth = self.truth.lock();
        let broken = invariants::judge(&truth, event, now);
        truth.apply(event, now);
        drop(truth);
        if let Some((invariant, how)) = broken {
            self.fail(invariant, how);
        }
    }

    /// Records a step.
    pub(super) fn step(
        &self,
        who: &impl ToString,
        action: &'static str,
        resource: String,
        outcome: &'static str,
    ) {
        self.trace.lock().push(Step {
            at: self.elapsed(),
            who: who.to_string(),
            action,
            resource,
            outcome,
        });
    }

    /// Something that must not be is: the simulation ends.
    pub(super) fn fail(&self, invariant: &'static str, how: String) {
        let mut violation = self.violation.lock();
        if violation.is_none() {
            *violation = Some(Violation {
                invariant,
                how,
                at: self.elapsed(),
                last: self.trace.lock().last(),
            });
            self.over.notify_one();
        }
    }

    /// Until something failed.
    pub(super) async fn until_over(&self) {
        self.over.notified().await;
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.violation.lock().take()
    }

    /// The hash of the trace and the number of its steps.
    pub(super) fn summary(&self) -> (u64, u64) {
        let trace = self.trace.lock();
        (trace.hash(), trace.steps())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        if let Some(wire) = &self.wire {
            wire.calm_down();
        }
        *self.outage.lock() = None;
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// True with this probability, never once nothing goes wrong any more.
    pub(super) fn strikes(&self, rate: f64) -> bool {
        !self.is_calm() && self.dice.chance(rate)
    }

    /// A number that nobody had.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) fn set_lag(&self, most: Duration) {
        *self.lag.lock() = most;
        self.cloud.set_listing_lag(Duration::ZERO);
    }

    /// The next listing may be older than the one before it.
    pub(super) fn vary_lag(&self) {
        let most = u64::try_from(self.lag.lock().as_millis()).unwrap_or(u64::MAX);
        if most > 0 {
            self.cloud.set_listing_lag(self.dice.millis(0, most));
        }
    }

    pub(super) fn set_outage(&self, length: Duration) {
        *self.outage.lock() = Some(Instant::now() + length);
    }

    pub(super) fn is_out(&self) -> bool {
        self.outage.lock().is_some_and(|until| until > Instant::now())
    }

    /// How many addresses are free in each of these subnets.
    pub(super) fn free(&self, subnets: &[SubnetId]) -> BTreeMap<SubnetId, u32> {
        let listed = self.cloud.subnets(subnets).now_or_never();
        let listed = listed
            .and_then(Result::ok)
            .expect("the subnets exist, and the cloud has no latency");
        listed
            .into_iter()
            .map(|subnet| (subnet.id, subnet.free))
            .collect()
    }

    /// Changes the cloud behind everybody's back.
    pub(super) fn by_hand<R>(&self, change: impl FnOnce(&MemoryCloud) -> R) -> R {
        self.truth(|truth| truth.by_hand = true);
        let result = change(&self.cloud);
        self.truth(|truth| truth.by_hand = false);
        result
    }
}
