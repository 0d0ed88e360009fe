//! ADD: an address, at once or in order.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Add, AddError, Grant, NodeService, WiringGuard,
    service::{State, abandoned},
};
use crate::{
    allocator::{AddressRequest, Allocator},
    journal::{Change, JournalError},
    model::{Allocation, Claimant, Origin, SandboxKey},
};

/// The shortest pause between two looks at the queue that nothing else woke.
const SERVE_PAUSE: Duration = Duration::from_millis(100);

/// What it takes to record an allocation on a slow disk. With less until its deadline an ADD cannot end
/// well: its caller would hang up on an address that is owned already.
const SHORTEST: Duration = Duration::from_millis(50);

/// A place in the queue. Dropping it gives up the place, and an address that nobody learned of.
struct Place<'a> {
    service: &'a NodeService,
    request: &'a AddressRequest,
    kept: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.service.state.lock();
            let key = &self.request.key;
            // One that was recovered meanwhile has another origin, and somebody uses it.
            let given = state
                .pool
                .owned(key)
                .is_some_and(|owned| owned.origin == self.request.origin);
            if !state.queue.leave(key) && !self.kept && given {
                state.pool.undo(key);
            }
        }
        self.service.publish_waiting();
        // The address that it gave up may be the next one's.
        self.service.wake.notify_one();
    }
}

impl NodeService {
    /// Serves an ADD. Without a free address it waits in order until its deadline.
    ///
    /// Repeating it answers the same. Keep the guard until the pod is wired.
    pub async fn add(self: &Arc<Self>, add: Add) -> Result<(Grant, WiringGuard), AddError> {
        let result = self.answer_add(add).await;
        self.state.lock().tally.add(&result);
        result
    }

    async fn answer_add(self: &Arc<Self>, mut add: Add) -> Result<(Grant, WiringGuard), AddError> {
        let key = add.request.key.clone();
        let left = add.deadline.saturating_duration_since(Instant::now());
        if left < SHORTEST {
            return Err(AddError::TooLate { key, left });
        }
        let origin = add.request.origin.get_or_insert_with(|| Origin {
            boot: self.boot.clone(),
            netns: None,
            started: None,
        });
        origin.started = Some(add.started);
        self.refuse_if_deleted(&add)?;
        let guard = timeout_at(add.deadline, self.interfaces.lock(key.clone()))
            .await
            .map_err(|_| AddError::Busy { key: key.clone() })?;
        self.refuse_if_deleted(&add)?;
        let allocation = self.allocate(&add).await?;
        let service = self.clone();
        // On its own task: a caller that hangs up must not leave an address half owned.
        let commit = tokio::spawn(async move {
            service.commit(service.ownership(&key, &allocation)).await?;
            Ok::<_, JournalError>((service.grant(&key), guard))
        });
        let (grant, guard) = commit.await.map_err(abandoned)??;
        let grant = grant.ok_or(AddError::OutOfService { key: add.request.key })?;
        Ok((grant, WiringGuard { _guard: guard }))
    }

    /// Serves waiters whenever a resting address becomes free. Runs until it is dropped.
    pub async fn run(&self) {
        loop {
            let next = self.serve();
            let rest = async {
                match next {
                    // An address that becomes free may not help whoever is first; never spin on that.
                    Some(expiry) => tokio::time::sleep_until(expiry.max(Instant::now() + SERVE_PAUSE)).await,
                    None => futures::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = rest => {}
            }
        }
    }

    async fn allocate(&self, add: &Add) -> Result<Allocation, AddError> {
        let key = &add.request.key;
        let (answer, owned) = {
            let mut state = self.state.lock();
            if let Some(superseded) = state.superseded(&add.request, &self.boot) {
                return Err(superseded);
            }
            let owned = state.pool.owned(key).is_some();
            let aside = owned || state.pool.is_by_claim();
            if (aside || state.queue.is_empty())
                && let Ok(allocation) = state.allocate(&add.request, Instant::now())
            {
                return Ok(allocation);
            }
            let request = add.request.clone();
            let answer = match aside {
                true => state.queue.push_aside(request),
                false => state.queue.push(request),
            };
            (answer, owned)
        };
        let mut place = Place {
            service: self,
            request: &add.request,
            kept: owned,
        };
        self.publish_waiting();
        self.wake.notify_one();
        match timeout_at(add.deadline, answer).await {
            Ok(Ok(answer)) => {
                place.kept = true;
                answer
            }
            Ok(Err(_)) => Err(AddError::Cancelled { key: key.clone() }),
            Err(_) => {
                let state = self.state.lock();
                Err(AddError::Timeout {
                    shortage: state.shortage(key),
                    ahead: state.queue.position(key).unwrap_or_default(),
                })
            }
        }
    }

    /// Gives free addresses to those who wait; returns when more may be free.
    pub(super) fn serve(&self) -> Option<Instant> {
        let next = {
            let mut state = self.state.lock();
            state.serve(&self.boot, Instant::now());
            state.pool.next_expiry().filter(|_| !state.queue.is_empty())
        };
        self.publish_waiting();
        next
    }

    pub(super) fn publish_waiting(&self) {
        let waiting = {
            let state = self.state.lock();
            state.queue.waiting(|key| state.pool.owned(key).is_some())
        };
        self.waiting
            .send_if_modified(|count| std::mem::replace(count, waiting) != waiting);
    }

    fn refuse_if_deleted(&self, add: &Add) -> Result<(), AddError> {
        let key = &add.request.key;
        let mut state = self.state.lock();
        match state.tombstones.get(key) {
            Some((deleted, _)) if add.started <= *deleted => Err(AddError::Cancelled { key: key.clone() }),
            Some(_) => {
                state.tombstones.remove(key);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn ownership(&self, key: &SandboxKey, allocation: &Allocation) -> Vec<Change> {
        let rested = self.state.lock().pool.entries(key);
        let rested = rested.into_iter().map(Change::Unhold);
        rested
            .chain([Change::Own(key.clone(), allocation.clone())])
            .collect()
    }
}

impl State {
    fn serve(&mut self, boot: &str, now: Instant) {
        if self.recovering {
            return;
        }
        self.pool.expire(now);
        let mut queue = std::mem::take(&mut self.queue);
        queue.answer_aside(|request| match self.superseded(request, boot) {
            Some(superseded) => Some(Err(superseded)),
            None => self.allocate(request, now).ok().map(Ok),
        });
        while let Some(request) = queue.first() {
            if let Some(superseded) = self.superseded(request, boot) {
                queue.answer(Err(superseded));
                continue;
            }
            match self.allocate(request, now) {
                Ok(allocation) => queue.answer(Ok(allocation)),
                Err(_) if self.pool.is_by_claim() || self.pool.owned(&request.key).is_some() => {
                    queue.step_aside();
                }
                Err(_) => break,
            }
        }
        self.queue = queue;
    }

    /// The refusal of an ADD whose pod has a newer sandbox with an address.
    fn superseded(&self, request: &AddressRequest, boot: &str) -> Option<AddError> {
        // A repeated ADD does not make a sandbox younger.
        let own = self.pool.owned(&request.key);
        let this = Claimant {
            key: &request.key,
            pod_uid: request.pod_uid.as_ref(),
            origin: own.map_or(&request.origin, |own| &own.origin).as_ref(),
        };
        let mut owners = self.pool.owners();
        let (by, _) = owners.find(|(key, owned)| owned.claimant(key).supersedes(&this, boot))?;
        Some(AddError::Superseded {
            key: request.key.clone(),
            by: by.clone(),
        })
    }
}
