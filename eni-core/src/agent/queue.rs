//! Sandboxes that wait: for an address, in the order in which they asked, or for one that is theirs alone: that
//! they own and whose ENI is out of service, or that is to be reserved for them.

use std::collections::VecDeque;

use tokio::{sync::oneshot, time::Instant};

use super::AddError;
use crate::{
    allocator::AddressRequest,
    model::{Allocation, SandboxKey},
};

/// What a waiter is told.
pub(super) type Answer = Result<Allocation, AddError>;

/// The queue. A waiter whose place is dropped learns that it was cancelled.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: VecDeque<Waiter>,
    /// Who waits for an address that is theirs alone. They need nothing that others could get, and whoever is
    /// in the line needs not wait for them.
    aside: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    request: AddressRequest,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How many wait for an address that they do not own yet.
    pub(super) fn waiting(&self, owns: impl Fn(&SandboxKey) -> bool) -> usize {
        let lacking = self.aside.iter().filter(|waiter| !owns(&waiter.request.key));
        self.line.len() + lacking.count()
    }

    /// What all of them ask for.
    pub(super) fn requests(&self) -> impl Iterator<Item = &AddressRequest> {
        self.line.iter().chain(&self.aside).map(|waiter| &waiter.request)
    }

    /// Since when the first in the line has waited.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.line.front().map(|waiter| waiter.since)
    }

    /// Waits at the end of the line.
    pub(super) fn push(&mut self, request: AddressRequest) -> oneshot::Receiver<Answer> {
        let (waiter, answer) = Waiter::new(request);
        self.line.push_back(waiter);
        answer
    }

    /// Waits aside, for an address that is its alone.
    pub(super) fn push_aside(&mut self, request: AddressRequest) -> oneshot::Receiver<Answer> {
        let (waiter, answer) = Waiter::new(request);
        self.aside.push(waiter);
        answer
    }

    /// Who is next.
    pub(super) fn first(&self) -> Option<&AddressRequest> {
        self.line.front().map(|waiter| &waiter.request)
    }

    /// Answers the first.
    pub(super) fn answer(&mut self, answer: Answer) {
        if let Some(waiter) = self.line.pop_front() {
            waiter.tell(answer);
        }
    }

    /// Moves the first out of the line.
    pub(super) fn step_aside(&mut self) {
        self.aside.extend(self.line.pop_front());
    }

    /// Answers those aside for whom there is an answer now.
    pub(super) fn answer_aside(&mut self, mut answer: impl FnMut(&AddressRequest) -> Option<Answer>) {
        for waiter in std::mem::take(&mut self.aside) {
            match answer(&waiter.request) {
                Some(answer) => waiter.tell(answer),
                None => self.aside.push(waiter),
            }
        }
    }

    /// How many are ahead of a key.
    pub(super) fn position(&self, key: &SandboxKey) -> Option<usize> {
        self.line.iter().position(|waiter| waiter.request.key == *key)
    }

    /// Gives up a place; `false` if there was none any more.
    pub(super) fn leave(&mut self, key: &SandboxKey) -> bool {
        let before = self.line.len() + self.aside.len();
        self.line.retain(|waiter| waiter.request.key != *key);
        self.aside.retain(|waiter| waiter.request.key != *key);
        self.line.len() + self.aside.len() < before
    }
}

impl Waiter {
    fn new(request: AddressRequest) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        let since = Instant::now();
        let waiter = Self {
            request,
            since,
            answer,
        };
        (waiter, receiver)
    }

    fn tell(self, answer: Answer) {
        if self.answer.send(answer).is_err() {
            tracing::debug!(key = %self.request.key, "the sandbox hung up while it was served");
        }
    }
}
