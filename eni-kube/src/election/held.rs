//! The right to act, by a clock that does not jump.

use std::time::Duration;

use eni_core::leadership::Leadership;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// A lease that this process holds, or has lost for good.
#[derive(Debug)]
pub(super) struct Held {
    /// When the last renewal that succeeded was sent; `None` once it is lost.
    sent: Mutex<Option<Instant>>,
    lease_duration: Duration,
    renew_deadline: Duration,
    given_up: Notify,
}

impl Held {
    pub(super) fn new(sent: Instant, lease_duration: Duration, renew_deadline: Duration) -> Self {
        // The object says whole seconds, and others wait no longer than that.
        let lease_duration = Duration::from_secs(lease_duration.as_secs());
        Self {
            sent: Mutex::new(Some(sent)),
            lease_duration,
            renew_deadline: renew_deadline.min(lease_duration),
            given_up: Notify::new(),
        }
    }

    /// A renewal that was sent then succeeded. One that came too late changes nothing.
    pub(super) fn renewed(&self, then: Instant) {
        let mut sent = self.sent.lock();
        *sent = self.valid(*sent).map(|last| last.max(then));
    }

    /// It is lost, for good.
    pub(super) fn lose(&self) {
        *self.sent.lock() = None;
        self.given_up.notify_waiters();
    }

    /// Until it is lost.
    pub(super) async fn lost(&self) {
        loop {
            // Before looking, or what happens in between would not wake us.
            let given_up = self.given_up.notified();
            let Some(last) = *self.sent.lock() else {
                return;
            };
            let deadline = last + self.renew_deadline;
            if deadline <= Instant::now() {
                return self.lose();
            }
            tokio::select! {
                biased;
                () = given_up => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// The last renewal, unless nobody may act on it any more.
    fn valid(&self, sent: Option<Instant>) -> Option<Instant> {
        sent.filter(|last| Instant::now() < *last + self.renew_deadline)
    }
}

impl Leadership for Held {
    fn remaining(&self) -> Option<Duration> {
        let mut sent = self.sent.lock();
        *sent = self.valid(*sent);
        let end = (*sent)? + self.lease_duration;
        Some(end.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn held() -> Held {
        Held::new(Instant::now(), Duration::from_secs(20), Duration::from_secs(10))
    }

    fn left(held: &Held) -> Option<u64> {
        held.remaining().map(|left| left.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_remains_is_counted_from_when_the_renewal_was_sent() {
        let held = held();
        advance(Duration::from_secs(4)).await;
        assert_eq!(left(&held), Some(16));
        let sent = Instant::now();
        advance(Duration::from_secs(3)).await;
        held.renewed(sent);
        assert_eq!(left(&held), Some(17));
    }

    #[tokio::test(start_paused = true)]
    async fn past_the_renew_deadline_it_is_lost_and_no_late_renewal_brings_it_back() {
        let held = held();
        advance(Duration::from_secs(9)).await;
        let sent = Instant::now();
        advance(Duration::from_secs(1)).await;
        held.renewed(sent);
        assert_eq!(left(&held), None);
        held.renewed(Instant::now());
        assert_eq!(left(&held), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_setting_makes_it_outlast_the_lease_that_others_see() {
        let held = Held::new(
            Instant::now(),
            Duration::from_millis(2900),
            Duration::from_secs(60),
        );
        advance(Duration::from_millis(1999)).await;
        assert_eq!(held.remaining(), Some(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(held.remaining(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_loss_is_woken_by_either_cause() {
        let held = held();
        let begun = Instant::now();
        held.lost().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        let held = self::held();
        let begun = Instant::now();
        let give_up = async {
            tokio::task::yield_now().await;
            held.lose();
        };
        tokio::join!(held.lost(), give_up);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
