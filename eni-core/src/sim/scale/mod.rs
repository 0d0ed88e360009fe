//! A large cluster in virtual time: the real pool controller, and the real node service with its dialogue on
//! every node, over the memory backends. It measures what a cluster of that size costs, and judges that.
//!
//! Nothing goes wrong here; that is what [`world`](super::world) is for. What stands in for something else:
//! the memory backends for the cloud, the cluster, each node's kernel and its journal on disk; and a task
//! for each pod's runtime, which asks for an address until it has one.

mod calls;
mod checks;
mod fleet;
mod ipamd;
mod phases;
mod pods;
mod region;
mod report;

use std::{sync::Arc, time::Duration};

pub use report::{Calls, Churn, Cost, Growth, Report, Restart, Steady, Waits};

use crate::{
    cloud::{Call, PaceConfig},
    model::{Limits, WarmRange},
    policy,
};

/// How large the cluster is, and what happens in it.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Nodes, in two zones. All of them join at the same moment.
    pub nodes: u32,
    /// Pods, spread evenly over the nodes. All of them are scheduled at that moment, too.
    pub pods: u32,
    /// The budget of cloud calls.
    pub calls_per_second: u32,
    /// Idle addresses per node.
    pub warm: WarmRange,
    /// What an instance carries.
    pub limits: Limits,
    /// Pods that each kubelet takes at most, if that is less than what the instance carries.
    pub max_pods: Option<u32>,
    /// For how long nothing happens, once every pod has its address.
    pub steady: Duration,
    /// For how many minutes pods are replaced after that.
    pub churn_minutes: u32,
    /// Pods per thousand that are replaced in such a minute.
    pub churn_per_mille: u32,
    /// Decides which pods are replaced, and where their successors go.
    pub seed: u64,
}

impl Default for Scale {
    /// 5,000 nodes that carry 95 pods each, as an instance with 6 ENIs of 20 addresses does, and 100,000
    /// pods.
    fn default() -> Self {
        Self {
            nodes: 5_000,
            pods: 100_000,
            calls_per_second: 50,
            warm: WarmRange::default(),
            limits: Limits {
                enis: 6,
                addresses_per_eni: 20,
            },
            max_pods: None,
            steady: Duration::from_secs(30 * 60),
            churn_minutes: 10,
            churn_per_mille: 10,
            seed: 1,
        }
    }
}

/// What a run cannot know by itself: what it costs this process.
pub trait Observer: Send + Sync {
    /// What the calling thread has computed so far, by its own clock; zero if nobody measures it.
    fn computed(&self) -> Duration {
        Duration::ZERO
    }

    /// Bytes that this process has allocated and not freed; zero if nobody measures it.
    fn allocated(&self) -> u64 {
        0
    }

    /// Something went on: what is being done, how long that has taken in virtual time, and how many pods
    /// have addresses.
    fn progress(&self, _phase: &'static str, _elapsed: Duration, _served: usize) {}
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Runs a cluster through its growth, a steady state, a churn and a restart of its controller.
///
/// # Panics
///
/// If no runtime can be made, or pods get no address within hours, as there are more than the nodes carry.
pub fn scale(scale: &Scale, observer: Arc<dyn Observer>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(phases::run(scale, observer))
}

impl Scale {
    /// Pods that a node takes at most.
    fn ceiling(&self) -> u32 {
        policy::ceiling(self.limits, self.max_pods)
    }

    /// The pods of the node that has most.
    fn most_pods(&self) -> u32 {
        self.pods.div_ceil(self.nodes.max(1))
    }

    /// The calls that it takes at least until every node has the addresses that it shall have: the limits
    /// of each instance, and for each ENI its creation, with all of its addresses, and its attachment.
    fn needed_calls(&self) -> u64 {
        let per_node = |pods: u32| {
            let wanted = (pods + self.warm.min).min(self.ceiling());
            let enis = wanted.div_ceil(self.limits.secondary_addresses());
            1 + 2 * u64::from(enis)
        };
        let fuller = self.pods % self.nodes;
        let fewer = self.pods / self.nodes;
        u64::from(fuller) * per_node(fewer + 1) + u64::from(self.nodes - fuller) * per_node(fewer)
    }
    /// How long they take at least: at the full budget, and with no more readings of limits than the cloud
    /// takes of them.
    fn needed_seconds(&self) -> f64 {
        let pace = PaceConfig::default();
        let limits = pace.call_limits.get(&Call::Limits).copied();
        let limits = limits.map_or(0.0, |most| f64::from(self.nodes) / f64::from(most));
        limits.max(self.budget_seconds())
    }

    /// How long they take at the full budget, if nothing else holds them up.
    fn budget_seconds(&self) -> f64 {
        self.needed_calls() as f64 / f64::from(self.calls_per_second)
    }
}
