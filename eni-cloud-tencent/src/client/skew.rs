//! How far this machine's clock is off, by the header `Date` of answers.

use jiff::{Timestamp, fmt::rfc2822};
use parking_lot::Mutex;

/// The difference from which on it is told: a tenth of the 300 s that the API accepts.
const NOTABLE: i64 = 30;

/// What the last answer said of the clock.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<i64>);

impl Skew {
    /// Learns from an answer; a difference that becomes notable, or ceases to be, is logged once.
    pub(super) fn note(&self, date: Option<&str>, now: Timestamp) {
        let Some(ahead) = date.and_then(|date| ahead(date, now)) else {
            return;
        };
        let before = std::mem::replace(&mut *self.0.lock(), ahead);
        match (before.abs() >= NOTABLE, ahead.abs() >= NOTABLE) {
            (false, true) => tracing::warn!(
                "{}; requests are refused from 300 s on: set the clock by NTP",
                describe(ahead)
            ),
            (true, false) => tracing::info!("this machine's clock is right again"),
            _ => {}
        }
    }

    /// The difference in words.
    pub(super) fn describe(&self) -> String {
        describe(*self.0.lock())
    }
}

/// By how many seconds the clock is ahead of the cloud's.
fn ahead(date: &str, now: Timestamp) -> Option<i64> {
    let cloud = rfc2822::parse(date).ok()?.timestamp();
    Some(now.as_second() - cloud.as_second())
}

fn describe(ahead: i64) -> String {
    match ahead {
        0.. => format!("this machine's clock is {ahead} s ahead of the cloud's"),
        _ => format!(
            "this machine's clock is {} s behind the cloud's",
            ahead.unsigned_abs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_compared_with_the_date_of_the_answer() {
        let now: Timestamp = "2026-11-23T10:10:00Z".parse().unwrap();
        let skew = Skew::default();
        skew.note(Some("Mon, 23 Nov 2026 10:03:08 GMT"), now);
        assert_eq!(
            skew.describe(),
            "this machine's clock is 412 s ahead of the cloud's"
        );
        skew.note(Some("Mon, 23 Nov 2026 10:16:40 GMT"), now);
        assert_eq!(
            skew.describe(),
            "this machine's clock is 400 s behind the cloud's"
        );
        for nothing in [None, Some(""), Some("yesterday")] {
            skew.note(nothing, now);
        }
        assert_eq!(
            skew.describe(),
            "this machine's clock is 400 s behind the cloud's"
        );
    }
}
