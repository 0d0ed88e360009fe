//! ipamd: the real controller, and what it costs.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{Observer, Scale, fleet::connect, region::Region};
use crate::{
    cloud::PaceConfig,
    controller::{Backends, PoolConfig, PoolController, PoolMonitor},
    leadership::Unrivalled,
};

/// A controller that runs.
pub(super) struct Ipamd {
    pub(super) monitor: PoolMonitor,
    computed: Arc<Mutex<Duration>>,
    writes: Arc<AtomicU64>,
    task: JoinSet<()>,
}

impl Ipamd {
    pub(super) fn start(scale: &Scale, region: &Region, observer: Arc<dyn Observer>) -> Self {
        let tags = BTreeMap::from([("cluster".to_owned(), "scale".to_owned())]);
        let config = PoolConfig {
            warm: scale.warm,
            pace: PaceConfig {
                calls_per_second: scale.calls_per_second,
                ..PaceConfig::default()
            },
            ..PoolConfig::new(region.subnets.clone(), tags)
        };
        let writes: Arc<AtomicU64> = Arc::default();
        let backends = Backends {
            cloud: Arc::new(region.cloud.clone()),
            cluster: connect(&region.cluster, &writes),
            environment: region.environment.clone(),
            leadership: Arc::new(Unrivalled),
        };
        let controller = PoolController::new(backends, config);
        let monitor = controller.monitor();
        let computed: Arc<Mutex<Duration>> = Arc::default();
        let mut task = JoinSet::new();
        task.spawn(Timed {
            future: Box::pin(controller.run()),
            observer,
            computed: computed.clone(),
        });
        Self {
            monitor,
            computed,
            writes,
            task,
        }
    }

    /// Nothing is left to do that it knows of.
    pub(super) fn is_settled(&self) -> bool {
        let stats = self.monitor.stats();
        let known = stats.nodes > 0 && stats.audit_age.is_some();
        known
            && (
                stats.due,
                stats.busy,
                stats.paused,
                stats.in_flight,
                stats.deficit,
            ) == (0, 0, 0, 0, 0)
    }

    /// What it has computed since the last time, with what the memory backends did in its calls.
    pub(super) fn take_computed(&self) -> Duration {
        std::mem::take(&mut *self.computed.lock())
    }

    /// Its writes of objects since the last time.
    pub(super) fn take_writes(&self) -> u64 {
        self.writes.swap(0, Ordering::Relaxed)
    }

    /// Ends it; nothing is left of it.
    pub(super) async fn stop(mut self) {
        self.task.shutdown().await;
    }
}

/// A future whose computing is added up.
struct Timed<F> {
    future: Pin<Box<F>>,
    observer: Arc<dyn Observer>,
    computed: Arc<Mutex<Duration>>,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = self.observer.computed();
        let polled = self.future.as_mut().poll(context);
        *self.computed.lock() += self.observer.computed().saturating_sub(before);
        polled
    }
}
