//! How the programs tell Prometheus, as OpenMetrics, what they read of themselves at a scrape.
//!
//! A program keeps its counts where it works; its `Collector` reads them and writes them to [`Out`].
#![deny(missing_docs)]

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

/// What Prometheus takes OpenMetrics for.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The names and values of labels.
pub type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Everything that a registry tells.
///
/// # Errors
///
/// Writing into a string fails only by a defect of a metric, which a scrape must show.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

/// Where metrics go, all under one prefix.
#[derive(Debug)]
pub struct Out<'a, 'b> {
    prefix: &'static str,
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl<'a, 'b> Out<'a, 'b> {
    /// Metrics of the program `prefix`.
    pub fn new(prefix: &'static str, encoder: &'a mut DescriptorEncoder<'b>) -> Self {
        Self { prefix, encoder }
    }

    /// A histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let name = self.named(name);
        let encoder = self
            .encoder
            .encode_descriptor(&name, help, None, histogram.metric_type())?;
        histogram.encode(encoder)
    }

    /// A counter; `_total` is added to its name.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let metric = ConstCounter::new(value);
        let name = self.named(name);
        let encoder = self
            .encoder
            .encode_descriptor(&name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    /// A gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let metric = ConstGauge::new(value);
        let name = self.named(name);
        let encoder = self
            .encoder
            .encode_descriptor(&name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    /// A counter; `_total` is added to its name.
    pub fn counters<const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Labels<N>, V)>,
    ) -> fmt::Result
    where
        Labels<N>: EncodeLabelSet,
        ConstCounter<V>: EncodeMetric,
    {
        self.family(
            name,
            help,
            values.map(|(labels, value)| (labels, ConstCounter::new(value))),
        )
    }

    /// A gauge.
    pub fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Labels<N>, f64)>,
    ) -> fmt::Result
    where
        Labels<N>: EncodeLabelSet,
    {
        self.family(
            name,
            help,
            values.map(|(labels, value)| (labels, ConstGauge::new(value))),
        )
    }

    fn family<const N: usize, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Labels<N>, M)>,
    ) -> fmt::Result
    where
        Labels<N>: EncodeLabelSet,
    {
        let mut values = values.peekable();
        let Some((_, first)) = values.peek() else {
            return Ok(());
        };
        let name = self.named(name);
        let mut family = self
            .encoder
            .encode_descriptor(&name, help, None, first.metric_type())?;
        for (labels, metric) in values {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn named(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }
}
