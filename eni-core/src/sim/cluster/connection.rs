//! One process's connection to a memory cluster: whether it holds, how slow it is and what goes wrong.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};

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
    pub(super) watch_delay: Mutex<Duration>,
    link: watch::Sender<Link>,
}

/// Whether the cluster can be reached, and how often it could not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) up: bool,
    pub(super) interruptions: u64,
}

impl Connection {
    pub(super) fn new() -> Self {
        let link = watch::Sender::new(Link {
            up: true,
            interruptions: 0,
        });
        Self {
            faults: Faults::default(),
            latency: Mutex::default(),
            watch_delay: Mutex::default(),
            link,
        }
    }

    pub(super) fn set_available(&self, available: bool) {
        self.link.send_if_modified(|link| {
            let changed = link.up != available;
            link.up = available;
            link.interruptions += u64::from(changed && !available);
            changed
        });
    }

    pub(super) fn is_available(&self) -> bool {
        self.link.borrow().up
    }

    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
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
