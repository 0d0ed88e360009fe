//! The line before the cloud and the tokens that move it. Pure: time is an argument.

use tokio::time::Instant;

use super::{
    Lane, PaceConfig,
    adaptive::Adaptive,
    bucket::Bucket,
    lines::{Lines, Ticket},
};
use crate::cloud::Call;

/// Every bucket and everyone who waits for them.
///
/// A start takes a token of the cluster and one of the call, and in [`Lane::Audit`] one of that lane.
#[derive(Debug)]
pub(super) struct Gate<W> {
    /// Fixed: it is a limit that was agreed on. Only the calls' own buckets learn.
    cluster: Bucket,
    audit: Bucket,
    calls: [Adaptive; Call::ALL.len()],
    lines: Lines<W>,
}

impl<W> Gate<W> {
    pub(super) fn new(config: &PaceConfig, now: Instant) -> Self {
        let all = u64::from(config.calls_per_second) * 1_000;
        let audit = all * u64::from(config.audit_percent) / 100;
        let calls = Call::ALL.map(|call| {
            let own = config.call_limits.get(&call).copied();
            let ceiling = own.map_or(all, |own| all.min(u64::from(own) * 1_000));
            Adaptive::new(PaceConfig::FLOOR_PER_SECOND * 1_000, ceiling, now)
        });
        Self {
            cluster: Bucket::new(all, now),
            audit: Bucket::new(audit, now),
            calls,
            lines: Lines::default(),
        }
    }

    pub(super) fn enter(&mut self, call: Call, lane: Lane, waiter: W) -> Ticket {
        self.lines.push(call, lane, waiter)
    }

    /// Lets one waiter through, if there are tokens for one.
    pub(super) fn next(&mut self, now: Instant) -> Option<W> {
        if !self.cluster.ready(now) {
            return None;
        }
        let audit = self.audit.ready(now);
        let ticket = self.lines.next(|call, lane| {
            (lane != Lane::Audit || audit) && self.calls[call as usize].bucket.ready(now)
        })?;
        self.cluster.take(now);
        self.calls[ticket.call as usize].bucket.take(now);
        if ticket.lane == Lane::Audit {
            self.audit.take(now);
        }
        self.lines.start(ticket)
    }

    /// When the next waiter can go; `None` without waiters. Later than `now` after a vain
    /// [`next`](Self::next).
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let heads = Call::ALL.into_iter().flat_map(|call| self.lines.heads(call));
        heads
            .map(|head| self.earliest(head.call, head.lane, 0, now))
            .min()
    }

    /// When a call that enters now can start at the earliest, given who is ahead of it.
    pub(super) fn expected(&self, call: Call, lane: Lane, now: Instant) -> Instant {
        self.earliest(call, lane, self.lines.ahead(call, lane), now)
    }

    /// A waiter leaves: its place if it still waits, otherwise the tokens that it did not use.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Instant) {
        if self.lines.remove(ticket).is_some() {
            return;
        }
        self.cluster.put_back(now);
        self.calls[ticket.call as usize].bucket.put_back(now);
        if ticket.lane == Lane::Audit {
            self.audit.put_back(now);
        }
    }

    /// The rate of a call, to be told what the cloud says.
    pub(super) fn rate(&mut self, call: Call) -> &mut Adaptive {
        &mut self.calls[call as usize]
    }

    /// The calls per second that the cloud is believed to take of `call`.
    pub(super) fn per_second(&self, call: Call) -> f64 {
        self.calls[call as usize].bucket.rate() as f64 / 1_000.0
    }

    /// The waiters in a lane.
    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.lines.waiting(lane)
    }

    fn earliest(&self, call: Call, lane: Lane, ahead: usize, now: Instant) -> Instant {
        let own = self.calls[call as usize].bucket.ready_at(ahead + 1, now);
        let at = own.max(self.cluster.ready_at(ahead + 1, now));
        match lane {
            Lane::Audit => at.max(self.audit.ready_at(1, now)),
            _ => at,
        }
    }
}
