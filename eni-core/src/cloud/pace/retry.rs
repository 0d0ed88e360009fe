//! Whether, and when, a failed call is sent again. Pure: randomness is an argument.

use std::time::Duration;

use crate::cloud::{Call, CloudErrorKind};

/// The shortest pause before a repetition.
const SHORTEST: Duration = Duration::from_millis(100);
/// The longest pause before a repetition.
const LONGEST: Duration = Duration::from_secs(5);

/// A repetition cannot do a thing twice: the call was refused unseen, or it only reads.
pub(super) fn is_safe(call: Call, kind: &CloudErrorKind) -> bool {
    match kind {
        CloudErrorKind::Throttled { .. } => true,
        CloudErrorKind::Unavailable => call.reads(),
        _ => false,
    }
}

/// The pause before the next repetition, given the last one: between the shortest and three times the
/// last (decorrelated jitter), so that callers who failed together do not come back together.
pub(super) fn pause(last: Option<Duration>, random: u64) -> Duration {
    let highest = (last.unwrap_or(SHORTEST) * 3).min(LONGEST);
    let span = highest.saturating_sub(SHORTEST).as_nanos() as u64;
    SHORTEST + Duration::from_nanos(random % (span + 1))
}

/// How many repetitions the calls so far have earned.
///
/// Each call earns a part of one; a reserve is there from the start and is never exceeded. So a cloud
/// that fails every call gets that part more calls, not a multiple.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// Hundredths of a repetition.
    balance: u32,
    percent: u32,
}

impl RetryBudget {
    /// Repetitions that may be made at once.
    pub(super) const RESERVE: u32 = 10;

    /// `percent` repetitions per hundred calls.
    pub(super) fn new(percent: u32) -> Self {
        Self {
            balance: Self::RESERVE * 100,
            percent,
        }
    }

    /// A call is made for the first time.
    pub(super) fn earn(&mut self) {
        self.balance = (self.balance + self.percent).min(Self::RESERVE * 100);
    }

    /// Pays for a repetition; false if nothing is left.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.balance.checked_sub(100);
        self.balance = left.unwrap_or(self.balance);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_cannot_be_done_twice_is_repeated() {
        let throttled = CloudErrorKind::Throttled { retry_after: None };
        let exhausted = CloudErrorKind::Exhausted {
            subnet: "subnet-a".into(),
        };
        for call in Call::ALL {
            assert!(is_safe(call, &throttled));
            assert_eq!(is_safe(call, &CloudErrorKind::Unavailable), call.reads());
            for kind in [
                &exhausted,
                &CloudErrorKind::Quota,
                &CloudErrorKind::NotFound,
                &CloudErrorKind::Conflict,
                &CloudErrorKind::Denied,
                &CloudErrorKind::Invalid,
                &CloudErrorKind::NotStarted,
            ] {
                assert!(!is_safe(call, kind), "{call}: {kind:?}");
            }
        }
    }

    #[test]
    fn the_budget_holds_its_share_and_its_reserve() {
        let mut budget = RetryBudget::new(10);
        let mut repetitions = 0;
        for _ in 0..1_000 {
            budget.earn();
            while budget.spend() {
                repetitions += 1;
            }
        }
        // The first call finds the reserve full and earns nothing.
        assert_eq!(repetitions, 10 + 99);
    }

    proptest! {
        #[test]
        fn a_pause_is_between_the_shortest_and_three_times_the_last(last in 100..5_000_u64, random: u64) {
            let pause = pause(Some(Duration::from_millis(last)), random);
            prop_assert!(pause >= SHORTEST);
            prop_assert!(pause <= LONGEST.min(Duration::from_millis(last * 3)));
        }
    }
}
