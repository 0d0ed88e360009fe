//! The whole system on this machine, and whether its own report is a good one.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    run::{capture, cargo, succeeded},
    stage::{Failure, Outcome, Workspace},
};

/// The exit status by which the playground says that this machine does not allow it.
const NOT_ALLOWED: i32 = 77;

/// 3 nodes and 60 pods.
pub(super) fn play(workspace: &Workspace) -> Result<Outcome, Failure> {
    run(workspace, 3, 60)
}

/// 8 nodes and 400 pods.
pub(super) fn play_large(workspace: &Workspace) -> Result<Outcome, Failure> {
    run(workspace, 8, 400)
}

fn run(workspace: &Workspace, nodes: u32, pods: u32) -> Result<Outcome, Failure> {
    let (nodes_text, pods_text) = (nodes.to_string(), pods.to_string());
    let options = [
        "play",
        "--",
        "--nodes",
        &nodes_text,
        "--pods",
        &pods_text,
        "--json",
    ];
    let mut command = cargo(options);
    let (status, output) = capture(&mut command)?;
    println!("{}", output.trim_end());
    if status.code() == Some(NOT_ALLOWED) && !workspace.kernel_required {
        return Ok(Outcome::noted(
            "did not run: this machine does not let this user make networks",
        ));
    }
    // Also of a run that failed: its report says more than its exit status.
    let report = serde_json::from_str::<Report>(&output);
    let wrong = report
        .as_ref()
        .map(|report| report.wrong(nodes, pods))
        .unwrap_or_default();
    succeeded(&command, status, wrong.clone())?;
    let report = report.map_err(|error| {
        let shown = output.lines().map(str::to_owned).collect();
        Failure::rule(format!("the playground's report cannot be read: {error}"), shown)
    })?;
    match wrong.is_empty() {
        true => Ok(Outcome::noted(report.summary())),
        false => Err(Failure::rule("the playground's report is not a good one", wrong)),
    }
}

/// The playground's report, as far as it is judged or shown here.
#[derive(Debug, Deserialize)]
struct Report {
    nodes: u32,
    pods_requested: u32,
    pods_ready: u32,
    pings_ok: u64,
    pings_failed: u64,
    duplicate_addresses: u64,
    leaks_after_drain: u64,
    add_ms: Times,
    del_ms: Times,
    /// By action.
    cloud_calls: BTreeMap<String, u64>,
    /// What the playground itself found wrong.
    errors: Vec<String>,
}

/// Milliseconds.
#[derive(Debug, Deserialize)]
struct Times {
    p50: f64,
    p99: f64,
}

impl Report {
    /// What is not as it must be.
    fn wrong(&self, nodes: u32, pods: u32) -> Vec<String> {
        // Every ordered pair of pods; the playground adds the nodes.
        let pairs = u64::from(pods) * u64::from(pods.saturating_sub(1));
        let is = |name: &str, found: u64, wanted: u64| {
            (found != wanted).then(|| format!("{name}: {found} instead of {wanted}"))
        };
        let few = (self.pings_ok < pairs).then(|| format!("pings_ok: {} of {pairs} or more", self.pings_ok));
        [
            is("nodes", self.nodes.into(), nodes.into()),
            is("pods_requested", self.pods_requested.into(), pods.into()),
            is("pods_ready", self.pods_ready.into(), pods.into()),
            few,
            is("pings_failed", self.pings_failed, 0),
            is("duplicate_addresses", self.duplicate_addresses, 0),
            is("leaks_after_drain", self.leaks_after_drain, 0),
        ]
        .into_iter()
        .flatten()
        .chain(self.errors.iter().cloned())
        .collect()
    }

    fn summary(&self) -> String {
        format!(
            "{} pods ready, {} pings; ADD {:.1} ms (p99 {:.1}), DEL {:.1} ms (p99 {:.1}), {} cloud calls",
            self.pods_ready,
            self.pings_ok,
            self.add_ms.p50,
            self.add_ms.p99,
            self.del_ms.p50,
            self.del_ms.p99,
            self.cloud_calls.values().sum::<u64>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ready: u32, failed: u32) -> Report {
        let text = format!(
            r#"{{"nodes": 3, "pods_requested": 60, "pods_ready": {ready}, "pings_ok": 3540,
                "pings_failed": {failed}, "duplicate_addresses": 0, "leaks_after_drain": 0,
                "add_ms": {{"p50": 12.5, "p99": 40}}, "del_ms": {{"p50": 5, "p99": 9}},
                "cloud_calls": {{"describe": 20, "create": 1}}, "errors": [], "something_else": true}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_good_report_is_good() {
        assert!(report(60, 0).wrong(3, 60).is_empty());
    }

    #[test]
    fn each_thing_that_is_wrong_is_named() {
        let wrong = report(59, 2).wrong(3, 60);
        assert_eq!(
            wrong,
            ["pods_ready: 59 instead of 60", "pings_failed: 2 instead of 0"]
        );
        assert_eq!(report(60, 0).wrong(4, 60), ["nodes: 3 instead of 4"]);
        let mut report = report(60, 0);
        report.errors.push("an agent ended".into());
        report.pings_ok = 1;
        let wrong = ["pings_ok: 1 of 3540 or more", "an agent ended"];
        assert_eq!(report.wrong(3, 60), wrong);
    }
}
