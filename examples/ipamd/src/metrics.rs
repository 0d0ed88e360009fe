//! What Prometheus is told, read at each scrape. Candidates tell only that they are none.

use std::{collections::BTreeMap, fmt, sync::Arc};

use eni_cloud_tencent::ActionCounts;
use eni_core::{cloud::LaneCounts, controller::PoolStats};
use exposition::Out;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use crate::status::Status;

/// The metrics of a replica.
#[derive(Debug)]
pub(crate) struct Metrics(pub(crate) Arc<Status>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut Out::new("ipamd", &mut encoder);
        let term = self.0.term();
        let left = term.as_ref().and_then(|term| term.leadership.remaining());
        out.gauge(
            "leader",
            "Whether this replica leads.",
            f64::from(u8::from(left.is_some())),
        )?;
        let left = left.map_or(0.0, |left| left.as_secs_f64());
        out.gauge(
            "lease_remaining_seconds",
            "How long it leads without a renewal.",
            left,
        )?;
        out.counter("terms", "How often this replica has led.", self.0.terms())?;
        if let Some(cloud) = &self.0.tencent {
            requests(out, &cloud.counts())?;
        }
        match term {
            Some(term) => pools(out, &term.pools.stats()),
            None => Ok(()),
        }
    }
}

fn requests(out: &mut Out<'_, '_>, counts: &BTreeMap<&'static str, ActionCounts>) -> fmt::Result {
    type Read = fn(&ActionCounts) -> u64;
    let figures: [(_, _, Read); 3] = [
        ("cloud_requests", "Requests to the cloud's API.", |action| {
            action.requests
        }),
        (
            "cloud_request_failures",
            "Requests that failed, throttled ones included.",
            |action| action.failures,
        ),
        (
            "cloud_request_throttled",
            "Requests that the API refused as too many.",
            |action| action.throttled,
        ),
    ];
    let actions = || {
        let actions = counts.iter();
        actions.map(|(action, counts)| ([("action", *action)], counts))
    };
    for (name, help, read) in figures {
        let each = actions().map(|(labels, counts)| (labels, read(counts)));
        out.counters(name, help, each)?;
    }
    let took = actions().map(|(labels, counts)| (labels, counts.took.as_secs_f64()));
    out.counters("cloud_request_seconds", "What requests took.", took)
}

fn pools(out: &mut Out<'_, '_>, stats: &PoolStats) -> fmt::Result {
    for (name, help, count) in [
        ("nodes", "Nodes that are known.", stats.nodes as u64),
        ("nodes_due", "Nodes that wait for their turn.", stats.due as u64),
        ("nodes_busy", "Nodes that are being worked on.", stats.busy as u64),
        (
            "nodes_paused",
            "Nodes that failed and are tried later.",
            stats.paused as u64,
        ),
        (
            "nodes_waiting",
            "Nodes where a sandbox waits for an address.",
            stats.waiting_nodes as u64,
        ),
        (
            "addresses_lacking",
            "Addresses that scheduled pods lack.",
            stats.deficit,
        ),
        (
            "enis_in_flight",
            "ENIs with an order under way.",
            stats.in_flight as u64,
        ),
        (
            "enis_stuck",
            "ENIs that the cloud takes too long for.",
            stats.stuck as u64,
        ),
        (
            "subnets_resting",
            "Subnets left alone: full, or refusing.",
            stats.breakers_open as u64,
        ),
    ] {
        out.gauge(name, help, count as f64)?;
    }
    if let Some(age) = stats.audit_age {
        out.gauge(
            "audit_age_seconds",
            "How long ago all ENIs were read.",
            age.as_secs_f64(),
        )?;
    }
    out.counter("turns", "Turns of nodes in this term.", stats.turns)?;
    let actions = stats.actions.iter();
    let actions = actions.map(|((kind, outcome), count)| ([("kind", *kind), ("outcome", *outcome)], *count));
    out.counters("actions", "Actions in this term.", actions)?;
    calls(out, stats)
}

fn calls(out: &mut Out<'_, '_>, stats: &PoolStats) -> fmt::Result {
    type Read = fn(&LaneCounts) -> u64;
    let counts: [(_, _, Read); 5] = [
        (
            "cloud_calls",
            "Calls to the cloud, repetitions included.",
            |lane| lane.calls,
        ),
        (
            "cloud_failures",
            "Calls that failed, throttled ones included.",
            |lane| lane.failures,
        ),
        (
            "cloud_throttled",
            "Calls that the cloud refused as too many.",
            |lane| lane.throttled,
        ),
        ("cloud_retries", "Calls that were repetitions.", |lane| {
            lane.retries
        }),
        (
            "cloud_not_started",
            "Calls that could not have ended in time.",
            |lane| lane.not_started,
        ),
    ];
    let lanes = || {
        let calls = stats.calls.calls.iter();
        calls.map(|((call, lane), counts)| ([("call", call.name()), ("lane", lane.name())], counts))
    };
    for (name, help, read) in counts {
        out.counters(name, help, lanes().map(|(labels, lane)| (labels, read(lane))))?;
    }
    let waited = lanes().map(|(labels, lane)| (labels, lane.waited.as_secs_f64()));
    out.counters("cloud_wait_seconds", "What calls waited for their turn.", waited)?;
    let rates = stats.calls.rates.iter();
    let rates = rates.map(|(call, rate)| ([("call", call.name())], *rate));
    out.gauges(
        "cloud_rate",
        "Calls a second that the cloud is believed to take.",
        rates,
    )?;
    let queued = stats.calls.queued.iter();
    let queued = queued.map(|(lane, queued)| ([("lane", lane.name())], *queued as f64));
    out.gauges("cloud_queued", "Calls that wait for their turn.", queued)
}
