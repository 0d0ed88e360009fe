//! Sandboxes that wait for an address, in the order in which they asked.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::{
    allocator::AddressRequest,
    model::{Allocation, SandboxKey},
};

/// The queue. A waiter whose place is dropped learns that it was cancelled.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiters: VecDeque<(AddressRequest, oneshot::Sender<Allocation>)>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Waits at the end.
    pub(super) fn push(&mut self, request: AddressRequest) -> oneshot::Receiver<Allocation> {
        let (answer, receiver) = oneshot::channel();
        self.waiters.push_back((request, answer));
        receiver
    }

    /// Who is next.
    pub(super) fn first(&self) -> Option<&AddressRequest> {
        self.waiters.front().map(|(request, _)| request)
    }

    /// Answers the first.
    pub(super) fn answer(&mut self, allocation: Allocation) {
        if let Some((request, answer)) = self.waiters.pop_front()
            && answer.send(allocation).is_err()
        {
            tracing::debug!(key = %request.key, "the sandbox hung up while it was served");
        }
    }

    /// How many are ahead of a key.
    pub(super) fn position(&self, key: &SandboxKey) -> Option<usize> {
        self.waiters.iter().position(|(request, _)| request.key == *key)
    }

    /// Gives up a place; `false` if it was no longer in the queue.
    pub(super) fn leave(&mut self, key: &SandboxKey) -> bool {
        let place = self.position(key);
        place.and_then(|place| self.waiters.remove(place)).is_some()
    }

    /// Cancels whoever waits for this key.
    pub(super) fn cancel(&mut self, key: &SandboxKey) {
        self.waiters.retain(|(request, _)| request.key != *key);
    }
}
