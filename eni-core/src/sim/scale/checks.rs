//! What must hold at any scale.

use super::{Report, Scale};

/// How much of the budget must be used while there is work. The pacer lets 46 of 50 calls a second pass in
/// the long run, as a burst of 5 shall never make it more than 50.
const USED: f64 = 0.85;
/// How long one node takes from its first order to its last address, apart from the waiting for its turn,
/// and how long it may be until the first order.
const ONE_NODE: f64 = 20.0;
/// Calls per needed one, readings apart.
const WASTE: f64 = 1.02;

/// What does not hold.
pub(super) fn broken(scale: &Scale, report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    let growth = &report.growth;
    let limit = growth.needed_seconds / USED + ONE_NODE;
    check(
        growth.seconds <= limit,
        format!(
            "growth took {:.0} s, and its {} calls should take no more than {limit:.0} s",
            growth.seconds, growth.needed
        ),
    );
    // A small cluster ends before the budget matters, and one call may have a smaller budget of its own.
    let matters = growth.needed_seconds >= ONE_NODE && scale.budget_seconds() >= growth.needed_seconds;
    let used = growth.calls.utilisation(scale.calls_per_second);
    check(
        used >= USED || !matters,
        format!(
            "only {:.0} % of the budget were used while there was work",
            used * 100.0
        ),
    );
    let orders = growth.calls.orders();
    check(
        orders as f64 <= growth.needed as f64 * WASTE,
        format!(
            "growth took {orders} calls besides readings, and {} are needed",
            growth.needed
        ),
    );
    for (phase, calls) in [
        ("growth", &growth.calls),
        ("the steady state", &report.steady.calls),
        ("the churn", &report.churn.calls),
        ("the restart", &report.restart.calls),
    ] {
        check(
            calls.peak <= scale.calls_per_second as usize,
            format!("{phase} had {} calls in one second", calls.peak),
        );
    }
    let audits = &report.steady.audits;
    let mut calls = report.steady.calls.by_action.iter();
    check(
        calls.all(|(action, count)| audits.get(action).is_some_and(|most| count <= most)),
        format!(
            "the steady state made these calls: {}; its audits make {:?} at most",
            report.steady.calls, report.steady.audits
        ),
    );
    let warm = scale.nodes as usize * scale.warm.max as usize;
    for (phase, idle) in [
        ("during growth", growth.most_idle),
        ("after the churn", report.churn.idle),
    ] {
        check(
            idle <= warm,
            format!("{idle} addresses were idle {phase}, and {warm} may be"),
        );
    }
    let ceiling = scale.ceiling() as usize;
    check(
        growth.fullest <= ceiling,
        format!("a node had {} addresses and takes {ceiling} pods", growth.fullest),
    );
    // At worst a pod takes one address from where it was, and one to where it is.
    let replaced = report.churn.replaced;
    let moved = report.churn.calls.orders();
    check(
        moved <= replaced * 2,
        format!("{replaced} pods were replaced, and that took {moved} calls besides readings"),
    );
    let waited = report.churn.waits.longest;
    check(
        waited <= ONE_NODE,
        format!("a pod waited {waited:.0} s for its address, with warm ones on every node"),
    );
    let restarted = report.restart.calls.orders();
    check(
        restarted == 0,
        format!("a new controller made {restarted} calls that change something"),
    );
    broken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sim::scale::{Calls, Churn, Cost, Growth, Restart, Steady, Waits};

    /// 5,000 nodes as they shall be.
    fn report() -> Report {
        let calls = |by_action: &[(&'static str, u64)]| Calls {
            by_action: by_action.iter().copied().collect(),
            peak: 50,
            worked_seconds: 550.0,
            worked_calls: 25_300,
        };
        let cost = Cost::default();
        let growth = Growth {
            needed: 25_000,
            needed_seconds: 500.0,
            seconds: 560.0,
            calls: calls(&[
                ("limits", 5_000),
                ("create_eni", 10_000),
                ("attach_eni", 10_000),
                ("enis", 600),
            ]),
            waits: Waits::default(),
            idle: 25_000,
            most_idle: 25_000,
            fullest: 25,
            cost,
        };
        let steady = Steady {
            seconds: 1_800.0,
            audits: [("enis", 3), ("subnets", 3), ("instances", 150)].into(),
            calls: calls(&[("enis", 3), ("instances", 100)]),
            cost,
        };
        let churn = Churn {
            replaced: 10_000,
            calls: calls(&[
                ("assign_addresses", 9_000),
                ("unassign_addresses", 9_000),
                ("enis", 700),
            ]),
            waits: Waits::default(),
            idle: 25_000,
            cost,
        };
        let restart = Restart {
            seconds: 1.0,
            calls: calls(&[("enis", 1)]),
            bytes: 0,
            cost,
        };
        Report {
            nodes: 5_000,
            pods: 100_000,
            calls_per_second: 50,
            growth,
            steady,
            churn,
            restart,
            broken: Vec::new(),
        }
    }

    #[test]
    fn what_is_as_it_shall_be_breaks_nothing() {
        assert_eq!(broken(&Scale::default(), &report()), [""; 0]);
    }

    #[test]
    fn whatever_is_beyond_its_limit_is_said() {
        let spoils: BTreeMap<&str, fn(&mut Report)> = BTreeMap::from([
            (
                "growth took 700 s",
                (|report| report.growth.seconds = 700.0) as fn(&mut Report),
            ),
            ("only 40 % of the budget", |report| {
                report.growth.calls.worked_calls = 11_000
            }),
            ("growth took 26000 calls", |report| {
                report.growth.calls.by_action.insert("assign_addresses", 1_000);
            }),
            ("the churn had 51 calls", |report| report.churn.calls.peak = 51),
            ("the steady state made", |report| {
                report.steady.calls.by_action.insert("assign_addresses", 1);
            }),
            ("25001 addresses were idle during growth", |report| {
                report.growth.most_idle += 1
            }),
            ("25001 addresses were idle after the churn", |report| {
                report.churn.idle += 1
            }),
            ("a node had 96 addresses", |report| report.growth.fullest = 96),
            ("10000 pods were replaced", |report| {
                report.churn.calls.by_action.insert("create_eni", 3_000);
            }),
            ("a pod waited 30 s", |report| report.churn.waits.longest = 30.0),
            ("a new controller made 1 calls", |report| {
                report.restart.calls.by_action.insert("detach_eni", 1);
            }),
        ]);
        for (said, spoil) in spoils {
            let mut report = report();
            spoil(&mut report);
            let broken = broken(&Scale::default(), &report);
            assert!(
                broken.len() == 1 && broken[0].starts_with(said),
                "{said}: {broken:?}"
            );
        }
    }
}
