//! Idle addresses offered back to ipamd, and taken back from it while it has not begun to take them.

use std::collections::BTreeSet;

use super::Dialogue;
use crate::{
    cluster::{ClusterError, ClusterResult},
    model::{NodeConfig, PoolAddress},
    policy,
};

impl Dialogue {
    /// Fences idle addresses above the published maximum.
    pub(super) async fn offer_back(&mut self) {
        if self.published.is_none() {
            return;
        }
        // Nothing new is fenced unless the cluster answers: a fence that cannot be published only
        // makes the node poorer.
        let config = match self.cluster.node_configs().get(self.node.as_str()).await {
            Ok(read) if read.object.pool.capacity == 0 || read.object.spec.instance != self.instance => {
                return;
            }
            Ok(read) => read.object,
            Err(error) => {
                tracing::info!(node = %self.node, %error, "nothing is offered back now");
                return;
            }
        };
        let orphans = self.orphans();
        let count = policy::offer(self.service.counts(), orphans, &config.pool, self.config.release);
        if count == 0 {
            return;
        }
        match self.service.withdraw(count).await {
            Ok(offered) => tracing::info!(node = %self.node, ?offered, "idle addresses offered back"),
            Err(error) => tracing::error!(node = %self.node, %error, "nothing is offered back now"),
        }
    }

    /// Takes offered addresses back for those who wait; whether there is nothing left to do.
    ///
    /// First the shared object, by compare-and-swap: ipamd moves an address to `releasing` by the same, so
    /// that one of the two sees the other. Only then the journal: a crash in between leaves a fence that
    /// is published again.
    pub(super) async fn take_back(&mut self) -> bool {
        let Some(published) = &self.published else {
            return true;
        };
        let (withdrawn, wanted) = self.service.wanted_back();
        if returnable(published, &withdrawn, wanted).is_empty() {
            return true;
        }
        let taken = match self.reserve(&withdrawn, wanted).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::info!(node = %self.node, %error, "no offered address is taken back now");
                return false;
            }
        };
        if taken.is_empty() {
            return true;
        }
        tracing::info!(node = %self.node, ?taken, "offered addresses taken back for waiting sandboxes");
        match self.service.take_back(&taken).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(node = %self.node, %error, "taking addresses back is not recorded");
                false
            }
        }
    }

    /// Strikes up to `wanted` offers out of the shared object; those that ipamd has not taken.
    async fn reserve(&mut self, withdrawn: &[PoolAddress], wanted: usize) -> ClusterResult<Vec<PoolAddress>> {
        let store = self.cluster.node_configs();
        loop {
            let mut read = store.get(self.node.as_str()).await?;
            if read.object.spec.instance != self.instance {
                return Ok(Vec::new());
            }
            let taken = returnable(&read.object, withdrawn, wanted);
            if taken.is_empty() {
                return Ok(taken);
            }
            let offers = &mut read.object.agent.withdrawn;
            let before = offers.len();
            offers.retain(|entry| !taken.contains(entry));
            if offers.len() < before {
                match store.update(read).await {
                    Err(ClusterError::Conflict { .. }) => continue,
                    written => self.learn_agent(written?.object.agent),
                }
            }
            return Ok(taken);
        }
    }
}

/// Withdrawn addresses that ipamd has not begun to take, at most `wanted`, the latest offered first.
fn returnable(config: &NodeConfig, withdrawn: &[PoolAddress], wanted: usize) -> Vec<PoolAddress> {
    let attached = config.pool.enis.iter().flat_map(|eni| &eni.attached);
    let attached: BTreeSet<_> = attached.collect();
    let open = withdrawn.iter().rev().filter(|entry| attached.contains(entry));
    open.take(wanted).copied().collect()
}
