//! What a seed decides before the first step: the cluster, the cloud's speed, and how often what goes wrong.

use std::time::Duration;

use super::{Scenario, dice::Dice};
use crate::{
    model::{Limits, WarmRange},
    sim::Latency,
};

/// What can go wrong, by the names that [`Scenario::without`] and [`Scenario::often`] take.
pub const FAULTS: [&str; 28] = [
    "throttled",
    "before",
    "after",
    "slow",
    "stuck",
    "partial",
    "conflict",
    "journal",
    "kernel",
    "agent-crash",
    "ipamd-crash",
    "late-del",
    "double-del",
    "lost-del",
    "orphan",
    "stale",
    "outage",
    "by-hand",
    "exhaustion",
    "watch-lag",
    "relist",
    "partition",
    "leader-change",
    "reboot",
    "journal-loss",
    "termination",
    "clock-jump",
    "object-loss",
];

/// The cluster and its luck.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) nodes: usize,
    pub(super) limits: Limits,
    /// Prefix lengths of the pods' subnets.
    pub(super) subnets: Vec<u8>,
    pub(super) warm: WarmRange,
    /// Every pod has a claim on a static address.
    pub(super) claims: bool,
    /// Workloads, each one pod at a time.
    pub(super) workloads: usize,
    /// How long a pod lives at most, in milliseconds.
    pub(super) lifetime: u64,
    pub(super) quick_release: bool,
    pub(super) release_interval: Duration,
    /// The collectors' pause.
    pub(super) collection: Duration,
    pub(super) latency: Latency,
    /// The longest way of a call to the cloud and to the cluster, in milliseconds.
    pub(super) way: u64,
    pub(super) safety: Duration,
    pub(super) rates: Rates,
}

/// Probabilities: of a call, unless something else is said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    pub(super) throttled: f64,
    pub(super) before: f64,
    pub(super) after: f64,
    pub(super) slow: f64,
    /// An order that never ends.
    pub(super) stuck: f64,
    /// An entry of a listing that is left out.
    pub(super) partial: f64,
    pub(super) conflict: f64,
    pub(super) journal: f64,
    pub(super) kernel: f64,
    pub(super) agent_crash: f64,
    pub(super) ipamd_crash: f64,
    /// Of a DEL.
    pub(super) late_del: f64,
    pub(super) double_del: f64,
    pub(super) lost_del: f64,
    /// Of an ADD.
    pub(super) orphan: f64,
    /// Of each tick of the driver (a second).
    pub(super) stale: f64,
    pub(super) outage: f64,
    pub(super) by_hand: f64,
    pub(super) exhaustion: f64,
    pub(super) watch_lag: f64,
    pub(super) relist: f64,
    pub(super) partition: f64,
    pub(super) leader_change: f64,
    pub(super) reboot: f64,
    pub(super) journal_loss: f64,
    pub(super) termination: f64,
    pub(super) clock_jump: f64,
    pub(super) object_loss: f64,
}

impl Setting {
    pub(super) fn draw(dice: &Dice, scenario: &Scenario) -> Self {
        let nodes = dice.between(1, 6) as usize;
        let limits = Limits {
            enis: dice.between(2, 4) as u32,
            addresses_per_eni: dice.between(3, 10) as u32,
        };
        let tight = dice.chance(0.4);
        let subnets = (0..dice.between(1, 3))
            .map(|_| if tight { dice.between(26, 28) as u8 } else { 24 })
            .collect();
        let capacity = limits.pods() as usize * nodes;
        let min = dice.between(0, 5) as u32;
        let order = dice.between(100, 4000);
        let orders = Latency::orders(Duration::from_millis(order));
        let setting = Self {
            nodes,
            limits,
            claims: scenario.claims,
            subnets,
            warm: WarmRange {
                min,
                max: min + dice.between(0, 4) as u32,
            },
            workloads: (dice.between(1, 12) as usize * nodes).min(capacity),
            lifetime: {
                // Garbage collection judges nobody before the age of two minutes.
                let long = if dice.chance(0.3) { 4 } else { 1 };
                dice.between(5_000, 120_000) * long
            },
            quick_release: dice.chance(0.7),
            release_interval: Duration::from_secs(dice.between(3, 30)),
            collection: Duration::from_secs(dice.between(2, 30)),
            latency: Latency {
                call: Duration::ZERO,
                attach: orders.attach * 3,
                ..orders
            },
            way: dice.between(0, 400),
            safety: Duration::from_secs(dice.between(60, 420)),
            rates: if scenario.faults {
                Rates::draw(dice, scenario)
            } else {
                Rates::default()
            },
        };
        if scenario.claims {
            setting.with_claims()
        } else {
            setting
        }
    }

    /// The same with static addresses: no pool, and one subnet, in which every address can go to every node.
    fn with_claims(self) -> Self {
        Self {
            subnets: self.subnets[..1].to_vec(),
            warm: WarmRange { min: 0, max: 0 },
            ..self
        }
    }
}

impl Rates {
    fn draw(dice: &Dice, scenario: &Scenario) -> Self {
        let among = |names: &[String], name: &str| names.iter().any(|other| other == name);
        // Everything is drawn, whatever becomes of it, so that the rest of the seed stays as it is.
        let rate = |name: &str, high| {
            let drawn = dice.rate(high);
            if among(&scenario.without, name) {
                0.0
            } else if among(&scenario.often, name) {
                high
            } else {
                drawn
            }
        };
        Self {
            throttled: rate("throttled", 0.2),
            before: rate("before", 0.1),
            after: rate("after", 0.1),
            slow: rate("slow", 0.1),
            stuck: rate("stuck", 0.02),
            partial: rate("partial", 0.2),
            conflict: rate("conflict", 0.1),
            journal: rate("journal", 0.05),
            kernel: rate("kernel", 0.05),
            agent_crash: rate("agent-crash", 0.01),
            ipamd_crash: rate("ipamd-crash", 0.01),
            late_del: rate("late-del", 0.3),
            double_del: rate("double-del", 0.3),
            lost_del: rate("lost-del", 0.2),
            orphan: rate("orphan", 0.05),
            stale: rate("stale", 0.02),
            outage: rate("outage", 0.005),
            by_hand: rate("by-hand", 0.01),
            exhaustion: rate("exhaustion", 0.01),
            watch_lag: rate("watch-lag", 0.03),
            relist: rate("relist", 0.03),
            partition: rate("partition", 0.01),
            leader_change: rate("leader-change", 0.01),
            reboot: rate("reboot", 0.005),
            journal_loss: rate("journal-loss", 0.5),
            termination: rate("termination", 0.003),
            clock_jump: rate("clock-jump", 0.02),
            object_loss: rate("object-loss", 0.003),
        }
    }
}
