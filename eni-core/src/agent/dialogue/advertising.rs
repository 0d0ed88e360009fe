//! What the node advertises: what ipamd is told of it, and what may be told to the kubelet.

use super::Dialogue;
use crate::{
    model::{NodeConfig, NodePool},
    policy::{self, Allowance},
};

impl Dialogue {
    /// What ipamd is told that the node advertises.
    pub(super) fn advertised(&self, published: &NodeConfig) -> u32 {
        let wanted = self.wanted(&published.pool);
        match &self.advertisement {
            Some(advertisement) => {
                let told = *advertisement.told().borrow();
                policy::to_report(wanted, told, published.agent.advertised)
            }
            None => wanted,
        }
    }

    /// Lets the kubelet be told what ipamd counts on by now.
    pub(super) fn advertise(&self) {
        let Some(advertisement) = &self.advertisement else {
            return;
        };
        let last;
        let (pool, reported) = match &self.published {
            Some(published) => (&published.pool, published.agent.advertised),
            // Until the cluster answers, what was granted last holds.
            None => {
                last = self.service.published();
                (&last, u32::MAX)
            }
        };
        if pool.capacity > 0 {
            advertisement.allow(Allowance {
                allocatable: policy::to_tell(self.wanted(pool), reported),
                capacity: pool.capacity,
            });
        }
    }

    fn wanted(&self, pool: &NodePool) -> u32 {
        let (withdrawn, families) = (self.service.withdrawn(), self.service.families());
        policy::advertised(self.config.advertise, pool, &withdrawn, families)
    }
}
