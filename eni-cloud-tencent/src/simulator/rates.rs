//! How often each action may be called.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    refusal::{Verdict, refuse},
    schema::Action,
};

/// Calls in a second where the documentation of an action was not seen to name another figure.
const USUAL: u32 = 100;

/// The limits of calls, by action and key (API documentation, "Request rate limits").
#[derive(Clone, Debug, Default)]
pub enum Rates {
    /// Those that the documentation names.
    #[default]
    Documented,
    /// Every action this often in a second.
    Each(u32),
    /// None.
    Unlimited,
}

/// The calls of the current second, by action and key. A second begins with its first call.
#[derive(Debug, Default)]
pub(super) struct Meter {
    seconds: BTreeMap<(String, String), (Instant, u32)>,
}

impl Meter {
    /// Counts a call, unless there were too many in this second.
    pub(super) fn count(
        &mut self,
        rates: &Rates,
        name: &str,
        action: &Action,
        key: &str,
        now: Instant,
    ) -> Verdict<()> {
        let limit = match rates {
            Rates::Documented => action.rate_limit_per_s.unwrap_or(USUAL),
            Rates::Each(limit) => *limit,
            Rates::Unlimited => return Ok(()),
        };
        let second = self
            .seconds
            .entry((name.to_owned(), key.to_owned()))
            .or_insert((now, 0));
        if now.duration_since(second.0) >= Duration::from_secs(1) {
            *second = (now, 0);
        }
        if second.1 >= limit {
            return refuse!(
                "RequestLimitExceeded",
                "Your current request times exceed the limit of {limit} times in a second for the action `{name}`."
            );
        }
        second.1 += 1;
        Ok(())
    }
}
