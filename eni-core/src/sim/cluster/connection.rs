//! One process's connection to a memory cluster: whether it holds, how slow it is and what goes wrong.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

use crate::{
    cluster::{ClusterError, ClusterResult},
    sim::{Fault, fault::Faults},
};

/// One process's connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) faults: Faults<ClusterError>,
    pub(super) latency: Mutex<Duration>,
    /// How much later than it happens a step is told by the watches.
    pub(super) watch_delay: Arc<Mutex<Duration>>,
    link: Mutex<Link>,
    /// What wakes each watch, in the order in which they began.
    watches: Mutex<Vec<Weak<Notify>>>,
}

/// Whether the cluster can be reached, and how often it could not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) up: bool,
    pub(super) interruptions: u64,
}

impl Connection {
    pub(super) fn new() -> Self {
        let link = Link {
            up: true,
            interruptions: 0,
        };
        Self {
            faults: Faults::default(),
            latency: Mutex::default(),
            watch_delay: Arc::default(),
            link: Mutex::new(link),
            watches: Mutex::default(),
        }
    }

    pub(super) fn set_available(&self, available: bool) {
        self.change(|link| {
            link.interruptions += u64::from(link.up && !available);
            link.up = available;
        });
    }

    /// Every watch breaks and begins anew.
    pub(super) fn interrupt(&self) {
        self.change(|link| link.interruptions += 1);
    }

    pub(super) fn is_available(&self) -> bool {
        self.link.lock().up
    }

    pub(super) fn link(&self) -> Link {
        *self.link.lock()
    }

    /// Wakes a watch whenever the link changes.
    pub(super) fn enroll(&self, wake: &Arc<Notify>) {
        let mut watches = self.watches.lock();
        watches.retain(|watch| watch.strong_count() > 0);
        watches.push(Arc::downgrade(wake));
    }

    // Each watch is woken by itself: tokio's own broadcast wakes in an order that no seed decides.
    fn change(&self, change: impl FnOnce(&mut Link)) {
        change(&mut self.link.lock());
        let watches = self.watches.lock();
        watches
            .iter()
            .filter_map(Weak::upgrade)
            .for_each(|watch| watch.notify_one());
    }

    /// One call: its way to the cluster, its faults and its execution.
    pub(super) async fn call<R>(
        &self,
        action: &'static str,
        resource: String,
        execute: impl FnOnce() -> ClusterResult<R>,
    ) -> ClusterResult<R> {
        let fault = self.faults.next(action, &resource);
        let mut way = *self.latency.lock();
        if let Fault::Delay(more) = fault {
            way += more;
        }
        if !way.is_zero() {
            sleep(way).await;
        }
        if !self.is_available() {
            let message = format!("{action} of {resource} met a closed connection");
            return Err(ClusterError::Unavailable { message });
        }
        match fault {
            Fault::Before(error) => Err(error),
            Fault::After(error) => execute().and(Err(error)),
            Fault::None | Fault::Delay(_) => execute(),
        }
    }
}
