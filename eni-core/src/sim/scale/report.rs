//! What a run has measured.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

/// What a run has measured. Seconds are virtual ones, microseconds those that this process has computed,
/// and both computing and bytes are zero where nobody measured them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nodes.
    pub nodes: u32,
    /// Pods.
    pub pods: u32,
    /// The budget of cloud calls.
    pub calls_per_second: u32,
    /// From nothing until every pod has an address and every node its warm ones.
    pub growth: Growth,
    /// While nothing happens.
    pub steady: Steady,
    /// While pods are replaced.
    pub churn: Churn,
    /// A new controller takes over.
    pub restart: Restart,
    /// What does not hold that should; empty if everything is right.
    pub broken: Vec<String>,
}

/// Calls to the cloud.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Calls {
    /// How many of which.
    pub by_action: BTreeMap<&'static str, u64>,
    /// In the busiest second.
    pub peak: usize,
    /// From the first call to the last one that is no reading.
    pub worked_seconds: f64,
    /// How many calls that was.
    pub worked_calls: u64,
}

/// What it took in computing and in writes of objects.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// What the controller has computed, with what the memory backends did in its calls.
    pub controller_microseconds: u64,
    /// Objects that the controller wrote.
    pub controller_writes: u64,
    /// Objects that all agents together wrote.
    pub agent_writes: u64,
}

/// How long pods waited for their addresses, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Waits {
    /// Half of them not longer.
    pub p50: f64,
    /// 99 of a hundred not longer.
    pub p99: f64,
    /// The longest.
    pub longest: f64,
    /// ADDs that ended without an address and were repeated.
    pub repeated: u64,
}

/// From nothing until every pod has an address and every node its warm ones.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    /// Calls that it takes at least.
    pub needed: u64,
    /// The time that these take at least: at the full budget, or at the rate that the cloud takes of one of
    /// them.
    pub needed_seconds: f64,
    /// Until the last pod had its address.
    pub seconds: f64,
    /// The calls.
    pub calls: Calls,
    /// How long pods waited.
    pub waits: Waits,
    /// Addresses that nobody uses, at the end.
    pub idle: usize,
    /// As many as that were at most, looked at every second.
    pub most_idle: usize,
    /// Addresses that one node had at most, looked at every second.
    pub fullest: usize,
    /// What it took.
    pub cost: Cost,
}

/// While nothing happens.
#[derive(Clone, Debug, Serialize)]
pub struct Steady {
    /// How long.
    pub seconds: f64,
    /// The calls that the audits of that time make at most.
    pub audits: BTreeMap<&'static str, u64>,
    /// All calls.
    pub calls: Calls,
    /// What it took.
    pub cost: Cost,
}

/// While pods are replaced.
#[derive(Clone, Debug, Serialize)]
pub struct Churn {
    /// How many.
    pub replaced: u64,
    /// The calls, until nothing was left to do.
    pub calls: Calls,
    /// How long the new pods waited.
    pub waits: Waits,
    /// Addresses that nobody uses, at the end.
    pub idle: usize,
    /// What it took.
    pub cost: Cost,
}

/// A new controller takes over.
#[derive(Clone, Debug, Serialize)]
pub struct Restart {
    /// Until nothing was left to do.
    pub seconds: f64,
    /// The calls.
    pub calls: Calls,
    /// What the process has allocated then, beyond what it had without a controller.
    pub bytes: u64,
    /// What it took.
    pub cost: Cost,
}

impl Waits {
    pub(super) fn new(mut waits: Vec<Duration>, repeated: u64) -> Self {
        waits.sort_unstable();
        let at = |part: f64| {
            let place = (waits.len() as f64 * part) as usize;
            let wait = waits.get(place.min(waits.len().saturating_sub(1)));
            wait.map_or(0.0, Duration::as_secs_f64)
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            longest: at(1.0),
            repeated,
        }
    }
}

impl Calls {
    /// How much of the budget was used while there was work, from 0 to 1.
    pub fn utilisation(&self, calls_per_second: u32) -> f64 {
        self.worked_calls as f64 / (self.worked_seconds * f64::from(calls_per_second)).max(1.0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_action.values().sum()
    }

    /// Those that are no readings of what changes: orders, and the limits of an instance, which are read once.
    pub fn orders(&self) -> u64 {
        let orders = self.by_action.iter().filter(|(action, _)| !is_reading(action));
        orders.map(|(_, count)| count).sum()
    }
}

/// Whether a call only reads what may have changed.
pub(super) fn is_reading(action: &str) -> bool {
    matches!(action, "enis" | "instances" | "subnets")
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self
            .by_action
            .iter()
            .map(|(action, count)| format!("{action} {count}"));
        let each: Vec<_> = each.collect();
        write!(f, "{} ({})", self.total(), each.join(", "))
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            p50,
            p99,
            longest,
            repeated,
        } = self;
        write!(
            f,
            "p50 {p50:.1} s, p99 {p99:.1} s, longest {longest:.1} s; {repeated} ADDs repeated"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, pods) = (f64::from(self.nodes), f64::from(self.pods).max(1.0));
        let Self {
            growth,
            steady,
            churn,
            restart,
            ..
        } = self;
        writeln!(
            f,
            "{} nodes, {} pods, {} cloud calls a second; all times are virtual",
            self.nodes, self.pods, self.calls_per_second
        )?;
        let used = growth.calls.utilisation(self.calls_per_second) * 100.0;
        writeln!(
            f,
            "growth   every pod has an address after {:.0} s; {} calls are needed, which take {:.0} s at least",
            growth.seconds, growth.needed, growth.needed_seconds
        )?;
        writeln!(f, "         calls {}", growth.calls)?;
        writeln!(
            f,
            "         {:.2} calls per pod, {used:.0} % of the budget used, at most {} in a second",
            growth.calls.total() as f64 / pods,
            growth.calls.peak
        )?;
        writeln!(
            f,
            "         waits: {}; {} addresses idle in the end",
            growth.waits, growth.idle
        )?;
        writeln!(
            f,
            "         controller: {:.0} us per pod; {:.1} writes per node, {:.1} of the agent",
            growth.cost.controller_microseconds as f64 / pods,
            growth.cost.controller_writes as f64 / nodes,
            growth.cost.agent_writes as f64 / nodes
        )?;
        let minutes = steady.seconds / 60.0;
        writeln!(
            f,
            "steady   {minutes:.0} minutes: calls {}, the audits'",
            steady.calls
        )?;
        writeln!(
            f,
            "         controller: {:.1} us per node and minute, {} writes; {} of agents",
            steady.cost.controller_microseconds as f64 / nodes / minutes.max(1.0),
            steady.cost.controller_writes,
            steady.cost.agent_writes
        )?;
        let replaced = (churn.replaced as f64).max(1.0);
        writeln!(
            f,
            "churn    {} pods replaced: calls {}",
            churn.replaced, churn.calls
        )?;
        writeln!(
            f,
            "         {:.2} calls per pod, at most {} in a second",
            churn.calls.total() as f64 / replaced,
            churn.calls.peak
        )?;
        writeln!(
            f,
            "         waits: {}; {} addresses idle in the end",
            churn.waits, churn.idle
        )?;
        writeln!(
            f,
            "         controller: {:.0} us per pod; {} writes, {} of agents",
            churn.cost.controller_microseconds as f64 / replaced,
            churn.cost.controller_writes,
            churn.cost.agent_writes
        )?;
        writeln!(
            f,
            "restart  a new controller is at rest after {:.0} s; calls {}",
            restart.seconds, restart.calls
        )?;
        write!(
            f,
            "         controller: {:.1} MiB, {:.0} bytes per node; {:.0} us per node",
            restart.bytes as f64 / f64::from(1 << 20),
            restart.bytes as f64 / nodes,
            restart.cost.controller_microseconds as f64 / nodes
        )?;
        self.broken
            .iter()
            .try_for_each(|line| write!(f, "\nbroken: {line}"))
    }
}
