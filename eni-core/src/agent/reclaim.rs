//! Taking back what a collector found unused: under the interface's own lock, after another look.

use std::{net::IpAddr, sync::Arc};

use tokio::time::Instant;

use super::{NodeService, ReclaimError};
use crate::{
    allocator::Allocator,
    model::{Allocation, SandboxKey},
    network::{Leftover, NetworkResult, NodeNetwork, PodInterface, PodRoutes, WiredPod},
};

impl NodeService {
    /// Takes an interface off the wire and releases what it owns, like a DEL; whether it did.
    ///
    /// Not if it owns anything else than `expected` by now, or a call for it is under way. Only what is
    /// off the wire is released: rules that stayed would catch the traffic of the address's next owner.
    pub async fn reclaim(
        self: &Arc<Self>,
        key: &SandboxKey,
        expected: &Allocation,
        network: &dyn NodeNetwork,
    ) -> Result<bool, ReclaimError> {
        let Some(guard) = self.interfaces.try_lock(key.clone()) else {
            return Ok(false);
        };
        if self.state.lock().pool.owned(key) != Some(expected) {
            return Ok(false);
        }
        let interface = PodInterface {
            key: key.clone(),
            pod: expected.pod.clone(),
            addresses: Some(expected.addresses),
        };
        network.unwire(&interface).await?;
        let released = self.release(guard).await?.is_some();
        self.state.lock().tally.reclaimed += u64::from(released);
        Ok(released)
    }

    /// Takes a pod interface off the wire that owns nothing here; whether it did.
    ///
    /// Not while a call for it is under way, nor if it owns something by now.
    pub async fn strip(&self, pod: &WiredPod, network: &dyn NodeNetwork) -> NetworkResult<bool> {
        let Some(_guard) = self.interfaces.try_lock(pod.key.clone()) else {
            return Ok(false);
        };
        if self.owns(&pod.key) {
            return Ok(false);
        }
        let interface = PodInterface {
            key: pod.key.clone(),
            pod: None,
            addresses: Some(pod.addresses),
        };
        let _aside = Aside::new(self, pod.addresses.iter());
        network.unwire(&interface).await?;
        self.state.lock().tally.leftovers += 1;
        Ok(true)
    }

    /// Removes something from the kernel that serves nobody; whether it did. An address that somebody
    /// owns is left alone, and nobody gets it meanwhile.
    pub async fn clear(&self, leftover: Leftover, network: &dyn NodeNetwork) -> NetworkResult<bool> {
        let address = match leftover {
            Leftover::Address(ip) => Some(ip),
            Leftover::Table(_) => None,
        };
        let _aside = Aside::new(self, address);
        if address.is_some_and(|ip| self.state.lock().pool.is_owned(ip)) {
            return Ok(false);
        }
        network.clear(leftover).await?;
        self.state.lock().tally.leftovers += 1;
        Ok(true)
    }

    /// What leads to every pod whose ENI is in service.
    pub fn routes(&self) -> Vec<PodRoutes> {
        let state = self.state.lock();
        let owners = state.pool.owners().filter_map(|(key, owned)| {
            let (_, link) = state.enis.get(&owned.eni)?;
            Some(PodRoutes {
                key: key.clone(),
                addresses: owned.addresses,
                table: Some(link.table),
            })
        });
        owners.collect()
    }

    /// Whether an interface owns something, in whichever network: the kernel tells its own by container
    /// and interface.
    fn owns(&self, key: &SandboxKey) -> bool {
        let state = self.state.lock();
        let same = |owner: &SandboxKey| owner.container == key.container && owner.interface == key.interface;
        state.pool.owned(key).is_some() || state.pool.owners().any(|(owner, _)| same(owner))
    }
}

/// Addresses that nobody gets while something of theirs is removed from the kernel. Afterwards they rest,
/// as the removal may still be under way when its future is dropped.
struct Aside<'a> {
    service: &'a NodeService,
    addresses: Vec<IpAddr>,
}

impl<'a> Aside<'a> {
    fn new(service: &'a NodeService, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut state = service.state.lock();
        let now = Instant::now();
        let addresses = addresses.into_iter().filter(|ip| state.pool.set_aside(*ip, now));
        Self {
            service,
            addresses: addresses.collect(),
        }
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let mut state = self.service.state.lock();
        let now = Instant::now();
        for ip in &self.addresses {
            state.pool.rest(*ip, now, now + self.service.config.cooldown);
        }
        drop(state);
        self.service.wake.notify_one();
    }
}
