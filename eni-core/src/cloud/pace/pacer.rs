//! The shared part: lets waiting calls through as tokens come, and learns from their answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Lane, LaneCounts, PaceConfig, PaceCounts, Paced, gate::Gate, latency::Latency, lines::Ticket,
    retry::RetryBudget,
};
use crate::{
    cloud::{Call, Cloud, CloudErrorKind},
    env::Environment,
};

/// Paces all calls of a cluster to its cloud. See the [module](super) for how it is used.
///
/// It needs a tokio runtime with a timer; while calls wait, one task of its own lets them through.
pub struct Pacer {
    pub(super) cloud: Arc<dyn Cloud>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) config: PaceConfig,
    state: Mutex<State>,
    /// Somebody could go earlier than the task sleeps.
    earlier: Notify,
}

struct State {
    gate: Gate<oneshot::Sender<()>>,
    latencies: [Latency; Call::ALL.len()],
    budget: RetryBudget,
    counts: BTreeMap<(Call, Lane), LaneCounts>,
    /// Until when the task sleeps; `None` without one.
    driven: Option<Instant>,
}

/// What the answer to a call, or its absence, teaches.
pub(super) enum Lesson<'a> {
    /// The cloud took the call and answered.
    Answered,
    /// It failed.
    Failed(&'a CloudErrorKind),
    /// Nobody waits for its answer any longer.
    GivenUp,
}

impl Pacer {
    /// Stands before `cloud`; `environment` gives the jitter.
    pub fn new(cloud: Arc<dyn Cloud>, environment: Arc<dyn Environment>, config: PaceConfig) -> Arc<Self> {
        let state = State {
            gate: Gate::new(&config, Instant::now()),
            latencies: Default::default(),
            budget: RetryBudget::new(config.retry_percent),
            counts: BTreeMap::new(),
            driven: None,
        };
        Arc::new(Self {
            cloud,
            environment,
            config,
            state: Mutex::new(state),
            earlier: Notify::new(),
        })
    }

    /// The cloud for calls in `lane`, without a deadline.
    pub fn on(self: &Arc<Self>, lane: Lane) -> Paced {
        Paced::new(self.clone(), lane)
    }

    /// What was called, how it went, and what waits now.
    pub fn counts(&self) -> PaceCounts {
        let state = self.state.lock();
        PaceCounts {
            calls: state.counts.clone(),
            rates: Call::ALL.map(|call| (call, state.gate.per_second(call))).into(),
            queued: Lane::ALL.map(|lane| (lane, state.gate.waiting(lane))).into(),
        }
    }

    /// Waits for the turn of a call. False if it could not end by `deadline`: it must not be sent.
    ///
    /// Whoever stops waiting loses nothing for the others: a token that was not used is put back.
    pub(super) async fn admit(self: &Arc<Self>, call: Call, lane: Lane, deadline: Option<Instant>) -> bool {
        let entered = Instant::now();
        // Declared before the waiter, so that it outlives the waiter's place in the line.
        let (sender, mut turn) = oneshot::channel();
        let waiter = {
            let mut state = self.state.lock();
            let takes = state.latencies[call as usize].expected(entered);
            let start = state.gate.expected(call, lane, entered);
            if deadline.is_some_and(|deadline| start + takes > deadline) {
                state.count(call, lane).not_started += 1;
                return false;
            }
            let ticket = state.gate.enter(call, lane, sender);
            self.advance(state, entered);
            Waiter {
                pacer: self,
                ticket,
                entered,
                admitted: false,
            }
        };
        waiter.wait(&mut turn, deadline).await
    }

    /// Lets through whoever can go, and sees to those who cannot yet.
    fn advance(self: &Arc<Self>, mut state: MutexGuard<'_, State>, now: Instant) {
        let next = state.let_through(now);
        match (state.driven, next) {
            (_, None) => {}
            (Some(driven), Some(next)) if driven <= next => {}
            (Some(_), Some(_)) => self.earlier.notify_one(),
            (None, Some(next)) => {
                state.driven = Some(next);
                tokio::spawn(self.clone().drive());
            }
        }
    }

    async fn drive(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                state.driven = state.let_through(Instant::now());
                state.driven
            };
            let Some(next) = next else { return };
            tokio::select! {
                biased;
                () = self.earlier.notified() => {}
                () = sleep_until(next) => {}
            }
        }
    }

    /// A call begins; `retry` if it was sent before. Its first sending earns a part of a repetition.
    pub(super) fn started(&self, call: Call, lane: Lane, retry: bool) {
        let mut state = self.state.lock();
        let counts = state.count(call, lane);
        counts.calls += 1;
        counts.retries += u64::from(retry);
        if !retry {
            state.budget.earn();
        }
    }

    /// A call that was sent at `sent` has ended.
    pub(super) fn ended(&self, call: Call, lane: Lane, sent: Instant, lesson: Lesson<'_>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        match lesson {
            Lesson::Answered => {
                state.latencies[call as usize].answered(now - sent, now);
                state.gate.rate(call).taken(now);
            }
            Lesson::GivenUp => {
                state.latencies[call as usize].given_up(now - sent, now);
                state.count(call, lane).failures += 1;
            }
            Lesson::Failed(kind) => {
                let counts = state.count(call, lane);
                counts.failures += 1;
                match kind {
                    CloudErrorKind::Throttled { retry_after } => {
                        counts.throttled += 1;
                        if state.gate.rate(call).refused(sent, *retry_after, now) {
                            let rate = state.gate.per_second(call);
                            tracing::info!(%call, rate, ?retry_after, "the cloud throttles; the rate is lowered");
                        }
                    }
                    CloudErrorKind::Unavailable => {}
                    _ => state.gate.rate(call).taken(now),
                }
            }
        }
    }

    /// Whether a repetition that begins after `pause` is within the budget and can end by `deadline`.
    pub(super) fn may_retry(&self, call: Call, pause: Duration, deadline: Option<Instant>) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        let end = now + pause + state.latencies[call as usize].expected(now);
        deadline.is_none_or(|deadline| end <= deadline) && state.budget.spend()
    }
}

impl State {
    /// Lets through whoever can go; when the next one can.
    fn let_through(&mut self, now: Instant) -> Option<Instant> {
        while let Some(turn) = self.gate.next(now) {
            // A waiter leaves the line before its receiver is dropped.
            let told = turn.send(());
            debug_assert!(told.is_ok(), "the line holds only those who wait");
        }
        self.gate.ready_at(now)
    }

    fn count(&mut self, call: Call, lane: Lane) -> &mut LaneCounts {
        self.counts.entry((call, lane)).or_default()
    }
}

/// A call in the line. Dropped before it is admitted, it leaves the line or puts its tokens back.
struct Waiter<'a> {
    pacer: &'a Arc<Pacer>,
    ticket: Ticket,
    entered: Instant,
    admitted: bool,
}

impl Waiter<'_> {
    async fn wait(mut self, turn: &mut oneshot::Receiver<()>, deadline: Option<Instant>) -> bool {
        self.admitted = match deadline {
            None => turn.await.is_ok(),
            Some(deadline) => tokio::select! {
                biased;
                // What the call takes may be known better by now than when it entered.
                turn = turn => turn.is_ok() && Instant::now() + self.takes() <= deadline,
                () = sleep_until(deadline - self.takes()) => false,
            },
        };
        if !self.admitted {
            let mut state = self.pacer.state.lock();
            state.count(self.ticket.call, self.ticket.lane).not_started += 1;
        }
        self.admitted
    }

    fn takes(&self) -> Duration {
        self.pacer.state.lock().latencies[self.ticket.call as usize].expected(Instant::now())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.pacer.state.lock();
        state.count(self.ticket.call, self.ticket.lane).waited += now - self.entered;
        if !self.admitted {
            state.gate.leave(self.ticket, now);
            self.pacer.advance(state, now);
        }
    }
}

impl std::fmt::Debug for Pacer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pacer")
            .field("config", &self.config)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
