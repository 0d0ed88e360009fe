//! Percentiles of measured durations.

use std::time::Duration;

use serde::Serialize;

/// Two percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Ninety-nine of a hundred are not above it.
    pub p99: f64,
    /// How many were measured.
    pub count: usize,
}

impl Percentiles {
    /// The nearest-rank percentiles of `samples`; zeros if there is none.
    pub fn of(samples: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<Duration> = samples.into_iter().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map_or(0.0, |sample| millis(*sample))
        };
        Self {
            p50: at(50),
            p99: at(99),
            count: sorted.len(),
        }
    }
}

/// Milliseconds with two decimals, which is as much as one run can claim.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let percentiles = Percentiles::of((1..=200).rev().map(Duration::from_millis));
        assert_eq!(
            percentiles,
            Percentiles {
                p50: 100.0,
                p99: 198.0,
                count: 200
            }
        );
    }

    #[test]
    fn one_sample_is_every_percentile() {
        let percentiles = Percentiles::of([Duration::from_micros(1234)]);
        assert_eq!(
            percentiles,
            Percentiles {
                p50: 1.23,
                p99: 1.23,
                count: 1
            }
        );
    }

    #[test]
    fn none_is_zero() {
        assert_eq!(Percentiles::of([]), Percentiles::default());
    }
}
