//! DEL, and the release that every removal ends in.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::time::{Instant, timeout_at};

use super::{Del, DelError, NodeService, keyed::KeyedGuard, service::abandoned};
use crate::{
    allocator::Allocator,
    journal::{Change, Hold, JournalError},
    model::{Allocation, PoolAddress, SandboxKey},
};

/// How long a DEL is remembered, to refuse an ADD that started before it: longer than any runtime
/// keeps a plugin running.
const TOMBSTONE: Duration = Duration::from_secs(600);

impl NodeService {
    /// Serves a DEL; `None` if the interface owned nothing. Repeating it is harmless.
    pub async fn del(self: &Arc<Self>, del: Del) -> Result<Option<Allocation>, DelError> {
        let result = self.answer_del(del).await;
        self.state.lock().tally.del(&result);
        result
    }

    async fn answer_del(self: &Arc<Self>, del: Del) -> Result<Option<Allocation>, DelError> {
        let key = del.key;
        {
            let mut state = self.state.lock();
            let now = Instant::now();
            state
                .tombstones
                .retain(|_, (_, learned)| *learned + TOMBSTONE > now);
            // A DEL that was held up on its way does not shorten the reach of a later one.
            let latest = state
                .tombstones
                .get(&key)
                .map_or(del.started, |(known, _)| del.started.max(*known));
            state.tombstones.insert(key.clone(), (latest, now));
            state.queue.leave(&key);
        }
        self.publish_waiting();
        let guard = timeout_at(del.deadline, self.interfaces.lock(key.clone()))
            .await
            .map_err(|_| DelError::Busy { key })?;
        Ok(self.release(guard).await?)
    }

    /// Releases what the interface of a held lock owns; its addresses rest.
    pub(super) async fn release(
        self: &Arc<Self>,
        guard: KeyedGuard<SandboxKey>,
    ) -> Result<Option<Allocation>, JournalError> {
        if self.state.lock().pool.owned(guard.key()).is_none() {
            return Ok(None);
        }
        let service = self.clone();
        // On its own task: a caller that hangs up must not leave an address half released.
        let release = tokio::spawn(async move {
            let key = guard.key();
            let (entries, by_claim) = {
                let state = service.state.lock();
                (state.pool.entries(key), state.pool.is_by_claim())
            };
            // An address of a claim goes on to where the claim's next pod is, and needs no rest: the same name
            // has it. That its wiring is down is told by offering it back.
            let rests = entries.into_iter().map(|entry| match by_claim {
                true => Change::Hold(entry, Hold::Withdrawn),
                false => service.rest(entry),
            });
            service
                .commit([Change::Disown(key.clone())].into_iter().chain(rests).collect())
                .await?;
            let now = Instant::now();
            let mut state = service.state.lock();
            let released = state.pool.release(key, now, now + service.config.cooldown);
            drop(state);
            service.wake.notify_one();
            if by_claim {
                service.offered.notify_one();
            }
            Ok(released)
        });
        release.await.map_err(abandoned)?
    }

    /// The record of an address's rest that begins now.
    pub(super) fn rest(&self, entry: PoolAddress) -> Change {
        let cooldown = SignedDuration::try_from(self.config.cooldown).unwrap_or_default();
        let mut end = self.environment.uptime();
        end.since += self.config.cooldown;
        let hold = Hold::Cooling {
            until: self.environment.now() + cooldown,
            uptime: Some(end),
        };
        Change::Hold(entry, hold)
    }
}
