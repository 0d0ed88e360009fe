//! What Prometheus is told, read at each scrape.

use std::{fmt, sync::Arc};

use eni_core::agent::{Counters, NotReady};
use exposition::Out;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use crate::{
    install::Installation,
    status::{Serving, Status},
};

/// The metrics of an agent.
#[derive(Debug)]
pub(crate) struct Metrics(pub(crate) Arc<Status>);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut Out::new("agent", &mut encoder);
        out.gauge(
            "ready",
            "Whether new pods are served.",
            f64::from(u8::from(self.0.ready().is_ok())),
        )?;
        if let Some(age) = self.0.cluster.heard() {
            out.gauge(
                "dialogue_age_seconds",
                "How long ago the API server was heard last.",
                age.as_secs_f64(),
            )?;
        }
        match self.0.serving() {
            Some(serving) => node(out, serving),
            None => Ok(()),
        }
    }
}

fn node(out: &mut Out<'_, '_>, serving: &Serving) -> fmt::Result {
    let fault = serving.service.status().err();
    let faults = [
        ("journal", matches!(fault, Some(NotReady::Journal(_)))),
        ("recovering", matches!(fault, Some(NotReady::Recovering))),
        ("no_eni", matches!(fault, Some(NotReady::NoEni))),
        ("full", matches!(fault, Some(NotReady::Full(_)))),
    ];
    let faults = faults.map(|(fault, holds)| ([("reason", fault)], f64::from(u8::from(holds))));
    out.gauges(
        "unserved",
        "Whether an ADD would wait or fail, and why; `full` is no fault.",
        faults.into_iter(),
    )?;
    if let Some(installer) = &serving.installer {
        let done = installer.standing() == Installation::Done;
        out.gauge(
            "installed",
            "Whether the node has the plugins and their configuration.",
            f64::from(u8::from(done)),
        )?;
    }
    counts(out, &serving.service.counters())?;
    let published = serving.service.published();
    out.gauge("enis", "ENIs that ipamd published.", published.enis.len() as f64)?;
    let limits = [
        ("granted", published.granted),
        ("maximum", published.maximum),
        ("capacity", published.capacity),
    ];
    for (name, count) in limits {
        let help = match name {
            "granted" => "Addresses that ipamd lets the node advertise.",
            "maximum" => "Addresses above which idle ones are given back.",
            _ => "Addresses that the instance can carry.",
        };
        out.gauge(name, help, f64::from(count))?;
    }
    let history = &serving.history;
    for (name, help, histogram) in [
        (
            "add_seconds",
            "What ADDs that were served took, without the wiring.",
            &history.adds,
        ),
        ("del_seconds", "What DELs that succeeded took.", &history.dels),
        (
            "journal_commit_seconds",
            "What commits of the journal took.",
            &history.commits,
        ),
    ] {
        out.histogram(name, help, histogram)?;
    }
    Ok(())
}

fn counts(out: &mut Out<'_, '_>, counters: &Counters) -> fmt::Result {
    let pool = counters.pool;
    let states = [
        ("free", pool.free),
        ("allocated", pool.allocated),
        ("cooling", pool.cooling),
        ("withdrawn", pool.withdrawn),
        ("reserved", pool.reserved),
        ("lost", pool.lost),
    ];
    let states = states.map(|(state, count)| ([("state", state)], count as f64));
    out.gauges("addresses", "Addresses of the node by state.", states.into_iter())?;
    out.gauge(
        "waiting",
        "Sandboxes that wait for an address.",
        counters.waiting as f64,
    )?;
    out.gauge(
        "longest_wait_seconds",
        "How long the first of them has waited.",
        counters.longest_wait.as_secs_f64(),
    )?;
    let outcomes = |counts: &std::collections::BTreeMap<&'static str, u64>| {
        let counts = counts.iter();
        counts
            .map(|(outcome, count)| ([("outcome", *outcome)], *count))
            .collect::<Vec<_>>()
    };
    out.counters(
        "adds",
        "ADDs that ended, by outcome.",
        outcomes(&counters.adds).into_iter(),
    )?;
    out.counters(
        "dels",
        "DELs that ended, by outcome.",
        outcomes(&counters.dels).into_iter(),
    )?;
    for (name, help, count) in [
        ("reclaimed", "Owners that were garbage.", counters.reclaimed),
        (
            "leftovers",
            "Things removed from the kernel that served nobody.",
            counters.leftovers,
        ),
        (
            "repairs",
            "Things put back into the kernel that others took away.",
            counters.repairs,
        ),
        (
            "taken_back",
            "Addresses offered back and taken back for waiters.",
            counters.taken_back,
        ),
    ] {
        out.counter(name, help, count)?;
    }
    Ok(())
}
