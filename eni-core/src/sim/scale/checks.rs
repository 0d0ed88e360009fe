//! What must hold at any scale.

use super::{Calls, Report, Scale};

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
    // A small cluster ends before the budget matters.
    let used = growth.calls.utilisation(scale.calls_per_second);
    check(
        used >= USED || growth.needed_seconds < ONE_NODE,
        format!(
            "only {:.0} % of the budget were used while there was work",
            used * 100.0
        ),
    );
    let orders = orders(&growth.calls);
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
    for (phase, idle) in [("growth", growth.idle), ("the churn", report.churn.idle)] {
        check(
            idle <= warm,
            format!("{idle} addresses are idle after {phase}, and {warm} may be"),
        );
    }
    // At worst a pod takes one address from where it was, and one to where it is.
    let replaced = report.churn.replaced;
    let moved = self::orders(&report.churn.calls);
    check(
        moved <= replaced * 2,
        format!("{replaced} pods were replaced, and that took {moved} calls besides readings"),
    );
    let waited = report.churn.waits.longest;
    check(
        waited <= ONE_NODE,
        format!("a pod waited {waited:.0} s for its address, with warm ones on every node"),
    );
    let restarted = self::orders(&report.restart.calls);
    check(
        restarted == 0,
        format!("a new controller made {restarted} calls that change something"),
    );
    broken
}

/// Calls that are no readings.
fn orders(calls: &Calls) -> u64 {
    let readings = ["enis", "instances", "subnets"];
    let orders = calls
        .by_action
        .iter()
        .filter(|(action, _)| !readings.contains(action));
    orders.map(|(_, count)| count).sum()
}
