//! The service's other side: pools that ipamd published, and addresses offered back to it.

use std::{collections::BTreeMap, net::IpAddr};

use tokio::time::Instant;

use super::NodeService;
use crate::{
    allocator::{Accepted, PoolCounts},
    journal::{Change, Hold, JournalError},
    model::{Allocation, EniId, Mac, NodePool, PoolAddress, SandboxKey, Uid},
    network::EniLink,
};

impl NodeService {
    /// How many addresses are in which state.
    pub fn counts(&self) -> PoolCounts {
        let mut state = self.state.lock();
        state.pool.expire(Instant::now());
        state.pool.counts()
    }

    /// The pool that was accepted last, in this life or the one before.
    pub fn published(&self) -> NodePool {
        self.state.lock().published.clone()
    }

    /// Whether at least one ENI is in service.
    pub fn in_service(&self) -> bool {
        !self.state.lock().enis.is_empty()
    }

    /// The device of an ENI in service.
    pub fn link(&self, mac: Mac) -> Option<EniLink> {
        let state = self.state.lock();
        let found = state.enis.values().find(|(eni, _)| eni.mac == mac);
        found.map(|(_, link)| *link)
    }

    /// Takes over the pool that ipamd published. Addresses are given out from those of its ENIs that
    /// have a device in `links`. Waiters are served at once.
    pub async fn accept(
        &self,
        pool: NodePool,
        links: &BTreeMap<EniId, EniLink>,
    ) -> Result<Accepted, JournalError> {
        // A journal that was lost stays empty until it has the owners, too: one with a pool and without
        // them would be believed after a restart.
        if self.published() != pool && !self.recovering() {
            self.commit(vec![Change::Pool(pool.clone())]).await?;
        }
        let accepted = {
            let mut state = self.state.lock();
            let accepted = state.pool.accept(&pool);
            state.pool.put_into_service(|eni| links.contains_key(eni));
            let in_service = pool
                .enis
                .iter()
                .filter_map(|eni| Some((eni.clone(), *links.get(&eni.id)?)));
            state.enis = in_service
                .map(|(eni, link)| (eni.id.clone(), (eni, link)))
                .collect();
            state.published = pool;
            accepted
        };
        if !accepted.forgotten.is_empty() {
            self.commit(accepted.forgotten.iter().copied().map(Change::Unhold).collect())
                .await?;
        }
        for (key, ip) in &accepted.lost {
            tracing::error!(%key, %ip, "an address that a sandbox uses has vanished from its ENI");
        }
        self.serve();
        Ok(accepted)
    }

    /// Owners of addresses that vanished, with what they own; without those whose pod has a newer sandbox.
    pub fn losses(&self) -> Vec<(SandboxKey, Allocation, IpAddr)> {
        let state = self.state.lock();
        let superseded = |key: &SandboxKey, owned: &Allocation| {
            let this = owned.claimant(key);
            let mut owners = state.pool.owners();
            owners.any(|(other, owned)| owned.claimant(other).supersedes(&this, &self.boot))
        };
        let lost = state
            .pool
            .losses()
            .filter(|(key, owned, _)| !superseded(key, owned));
        lost.map(|(key, owned, ip)| (key.clone(), owned.clone(), ip))
            .collect()
    }

    /// Offers up to `count` idle addresses back: they are never given out again unless taken back.
    pub async fn withdraw(&self, count: usize) -> Result<Vec<PoolAddress>, JournalError> {
        let chosen = {
            let mut state = self.state.lock();
            if state.recovering {
                return Ok(Vec::new());
            }
            state.pool.expire(Instant::now());
            let chosen = state.pool.surplus(count);
            chosen.iter().for_each(|entry| state.pool.withdraw(*entry));
            chosen
        };
        let fences = chosen
            .iter()
            .map(|entry| Change::Hold(*entry, Hold::Withdrawn))
            .collect();
        if let Err(error) = self.commit(fences).await {
            // Only what is durable may be offered. Should the fence have become durable after all, the
            // next owner's commit lifts it.
            {
                let mut state = self.state.lock();
                chosen.iter().for_each(|entry| state.pool.take_back(*entry));
            }
            self.serve();
            return Err(error);
        }
        Ok(chosen)
    }

    /// Takes withdrawn addresses back, which ipamd has agreed not to take any more, and serves waiters.
    ///
    /// They are taken back also when the journal fails: the next owner's commit lifts the fence, and
    /// without one it is published again after a restart.
    pub async fn take_back(&self, entries: &[PoolAddress]) -> Result<(), JournalError> {
        let committed = self
            .commit(entries.iter().copied().map(Change::Unhold).collect())
            .await;
        {
            let mut state = self.state.lock();
            entries.iter().for_each(|entry| state.pool.take_back(*entry));
            state.tally.taken_back += entries.len() as u64;
        }
        self.serve();
        committed
    }

    /// The offered addresses of which those who wait want some, and how many: of the pool any, by claim those that
    /// are reserved for them.
    pub(super) fn wanted_back(&self) -> (Vec<PoolAddress>, usize) {
        let state = self.state.lock();
        let mut withdrawn: Vec<_> = state.pool.withdrawn().collect();
        if !state.pool.is_by_claim() {
            let families = self.config.families.each().len();
            return (withdrawn, *self.waiting.borrow() * families);
        }
        let waits = |pod: &Uid| {
            state
                .queue
                .requests()
                .any(|request| request.pod_uid.as_ref() == Some(pod))
        };
        withdrawn.retain(|entry| state.pool.reserved_for(entry.ip).is_some_and(waits));
        let count = withdrawn.len();
        (withdrawn, count)
    }

    /// The addresses that are offered back and not yet taken.
    pub fn withdrawn(&self) -> Vec<PoolAddress> {
        self.state.lock().pool.withdrawn().collect()
    }
}
