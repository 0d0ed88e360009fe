//! What a run found, as JSON and as text.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::stats::Percentiles;

/// Lines of one kind that are printed before the rest is only counted.
const PRINTED: usize = 40;

/// What a run found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Everything is as it should be; decides the exit status.
    pub ok: bool,
    /// The seed of the random choices.
    pub seed: u64,
    /// Nodes.
    pub nodes: u32,
    /// Pods that were asked for.
    pub pods_requested: u32,
    /// Pods that ran when the checks began.
    pub pods_ready: usize,
    /// Pods that were replaced by the churn.
    pub pods_replaced: usize,
    /// Ordered pairs of pods and nodes that got an answer.
    pub pings_ok: usize,
    /// Ordered pairs that got none.
    pub pings_failed: usize,
    /// Those pairs, source first.
    pub failed_pairs: Vec<(String, String)>,
    /// Addresses that a pod got while another had them.
    pub duplicate_addresses: usize,
    /// Packets that the router dropped since their source was not assigned to the sending ENI.
    pub spoofed_drops: u64,
    /// Things of ours that are left after the drain.
    pub leaks_after_drain: usize,
    /// Their names.
    pub leaks: Vec<String>,
    /// Wall time of ADD, from the execution of the plugin to its end.
    pub add_ms: Percentiles,
    /// Wall time of DEL.
    pub del_ms: Percentiles,
    /// Calls of plugins that failed, whether or not a repetition succeeded.
    pub cni_failures: usize,
    /// What they said.
    pub failures: Vec<String>,
    /// Calls that reached the cloud, by action.
    pub cloud_calls: BTreeMap<&'static str, u64>,
    /// Wall seconds of each stage.
    pub seconds: BTreeMap<&'static str, f64>,
    /// What the nodes had when the checks began.
    pub per_node: Vec<NodeReport>,
    /// Everything that went wrong.
    pub errors: Vec<String>,
}

/// What a node had when the checks began.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeReport {
    /// Its name.
    pub node: String,
    /// Its zone.
    pub zone: String,
    /// Its own address.
    pub address: String,
    /// Secondary ENIs in service.
    pub enis: usize,
    /// Pods that it can carry; 0 before ipamd has published a pool.
    pub capacity: usize,
    /// Addresses bound to them for pods.
    pub bound: usize,
    /// Of those, with pods.
    pub used: usize,
    /// Of those, without.
    pub idle: usize,
    /// Wall time of ADD.
    pub add_ms: Percentiles,
}

impl Report {
    /// Judges the run.
    pub fn judge(&mut self) {
        self.ok = self.pods_ready == self.pods_requested as usize
            && self.pings_ok > 0
            && self.pings_failed == 0
            && self.duplicate_addresses == 0
            && self.spoofed_drops == 0
            && self.leaks_after_drain == 0
            && self.errors.is_empty();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.pods_requested;
        writeln!(
            f,
            "pods ready        {} of {asked}, {} replaced by churn",
            self.pods_ready, self.pods_replaced
        )?;
        writeln!(
            f,
            "pings             {} ok, {} failed",
            self.pings_ok, self.pings_failed
        )?;
        writeln!(f, "duplicates        {}", self.duplicate_addresses)?;
        writeln!(
            f,
            "spoofed packets   {} dropped by the router",
            self.spoofed_drops
        )?;
        writeln!(
            f,
            "ADD               p50 {} ms, p99 {} ms of {}",
            self.add_ms.p50, self.add_ms.p99, self.add_ms.count
        )?;
        writeln!(
            f,
            "DEL               p50 {} ms, p99 {} ms of {}",
            self.del_ms.p50, self.del_ms.p99, self.del_ms.count
        )?;
        if self.cni_failures > 0 {
            writeln!(
                f,
                "plugin calls      {} failed and were repeated",
                self.cni_failures
            )?;
        }
        let calls: Vec<String> = self
            .cloud_calls
            .iter()
            .map(|(action, count)| format!("{action} {count}"))
            .collect();
        writeln!(f, "cloud calls       {}", calls.join(", "))?;
        writeln!(f, "left after drain  {}", self.leaks_after_drain)?;
        list(
            f,
            "no answer",
            self.failed_pairs
                .iter()
                .map(|(from, to)| format!("{from} -> {to}")),
        )?;
        list(f, "repeated", self.failures.iter().cloned())?;
        list(f, "left over", self.leaks.iter().cloned())?;
        list(f, "error", self.errors.iter().cloned())?;
        write!(
            f,
            "{}",
            if self.ok {
                "everything is right"
            } else {
                "SOMETHING IS WRONG"
            }
        )
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, lines: impl ExactSizeIterator<Item = String>) -> fmt::Result {
    let count = lines.len();
    for line in lines.take(PRINTED) {
        writeln!(f, "{what}: {line}")?;
    }
    match count.saturating_sub(PRINTED) {
        0 => Ok(()),
        more => writeln!(f, "{what}: and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flaw_is_enough() {
        let mut report = Report {
            pods_requested: 1,
            pods_ready: 1,
            pings_ok: 2,
            ..Report::default()
        };
        report.judge();
        assert!(report.ok);
        report.leaks_after_drain = 1;
        report.judge();
        assert!(!report.ok);
    }
}
