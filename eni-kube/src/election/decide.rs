//! Whether a lease may be taken. Pure.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// What a candidate saw of a lease.
#[derive(Debug, Default)]
pub(super) struct Observation {
    /// Its holder and renewal, as written; `None` while there is no lease.
    state: Option<Value>,
    /// When it was first seen like this.
    since: Option<Instant>,
}

/// What a candidate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody has the lease, or it is our own from a write without an answer.
    Take,
    /// Somebody has it.
    Wait,
}

impl Observation {
    /// The lease was read, and the answer is there `now`.
    pub(super) fn observe(&mut self, lease: Option<&Value>, now: Instant) {
        // The annotations that somebody else may write do not keep a dead holder's lease.
        let state = lease.map(|lease| lease["spec"].clone());
        if self.since.is_none() || self.state != state {
            self.since = Some(now);
            self.state = state;
        }
    }
}

/// Whether `me` may take the lease. `usual` is how long leases hold that do not say so themselves.
pub(super) fn decide(observation: &Observation, me: &str, usual: Duration, now: Instant) -> Step {
    let (Some(state), Some(since)) = (&observation.state, observation.since) else {
        return Step::Take;
    };
    match state["holderIdentity"].as_str().unwrap_or_default() {
        "" => return Step::Take,
        holder if holder == me => return Step::Take,
        _ => {}
    }
    // By the duration that its holder goes by.
    let duration = state["leaseDurationSeconds"].as_u64();
    let duration = duration.map_or(usual, Duration::from_secs);
    if since + duration <= now {
        Step::Take
    } else {
        Step::Wait
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USUAL: Duration = Duration::from_secs(20);

    fn lease(holder: &str, renewed: &str) -> Value {
        json!({"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}})
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn what_nobody_has_is_taken() {
        let (mut seen, now) = (Observation::default(), Instant::now());
        seen.observe(None, now);
        assert_eq!(decide(&seen, "me", USUAL, now), Step::Take);
        seen.observe(Some(&lease("", "1")), now);
        assert_eq!(decide(&seen, "me", USUAL, now), Step::Take);
        seen.observe(Some(&lease("me", "1")), now);
        assert_eq!(
            decide(&seen, "me", USUAL, now),
            Step::Take,
            "a write of ours without an answer"
        );
    }

    #[test]
    fn anothers_lease_is_waited_out_from_when_its_renewal_was_seen() {
        let (mut seen, begun) = (Observation::default(), Instant::now());
        seen.observe(Some(&lease("other", "1")), begun);
        assert_eq!(decide(&seen, "me", USUAL, begun + seconds(14)), Step::Wait);
        seen.observe(Some(&lease("other", "2")), begun + seconds(14));
        seen.observe(Some(&lease("other", "2")), begun + seconds(20));
        assert_eq!(decide(&seen, "me", USUAL, begun + seconds(28)), Step::Wait);
        assert_eq!(decide(&seen, "me", USUAL, begun + seconds(29)), Step::Take);
    }

    #[test]
    fn a_lease_that_was_never_seen_before_is_waited_out_however_old_it_says_it_is() {
        let (mut seen, now) = (Observation::default(), Instant::now());
        seen.observe(Some(&lease("other", "1970-01-01T00:00:00.000000Z")), now);
        assert_eq!(decide(&seen, "me", USUAL, now), Step::Wait);
    }

    #[test]
    fn a_lease_without_a_duration_holds_as_long_as_ours() {
        let (mut seen, begun) = (Observation::default(), Instant::now());
        seen.observe(Some(&json!({"spec": {"holderIdentity": "other"}})), begun);
        assert_eq!(decide(&seen, "me", USUAL, begun + seconds(19)), Step::Wait);
        assert_eq!(decide(&seen, "me", USUAL, begun + seconds(20)), Step::Take);
    }
}
