//! Recovery of a journal that was lost while pods ran.
//!
//! What is owned is then told by whoever else saw it: the kernel, which has a device for every sandbox
//! whose namespace lives, and the runtime's cache of CNI results. **One witness is enough to hold an
//! address back**; giving it out needs two that say nobody uses it, which is the collector's rule. So
//!
//! * a device in the kernel makes an owner;
//! * a cached result without a device makes one, too, unless the kernel shows its address at another
//!   interface: a survey may have missed the device. If its sandbox is dead, garbage collection finds that
//!   out as for every other owner;
//! * whose pod an owner is of, the result says, or else the runtime's list of sandboxes. Of an owner whose pod
//!   nobody knows it is never certain that it is gone;
//! * of an interface that a DEL came for meanwhile the addresses only rest.

use std::{collections::BTreeMap, net::IpAddr};

use tokio::time::Instant;

use super::NodeService;
use crate::{
    journal::{Change, JournalError},
    model::{Allocation, EniId, Netns, NodePool, Origin, PodAddresses, PodKey, SandboxKey, Uid},
    network::WiredPod,
    sandbox::Sandbox,
};

/// Who else knows what is owned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// Pod interfaces in the kernel; of several surveys everything that one of them saw.
    pub wired: Vec<WiredPod>,
    /// Results of ADD that the runtime keeps, in `/var/lib/cni/results` as a rule.
    pub cached: Vec<CachedResult>,
    /// The runtime's sandboxes, for their pods' names.
    pub sandboxes: Vec<Sandbox>,
}

/// The result of an ADD that the runtime keeps until the DEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedResult {
    /// The interface.
    pub key: SandboxKey,
    /// What it was given.
    pub addresses: PodAddresses,
    /// The pod, from the CNI arguments.
    pub pod: Option<PodKey>,
    /// The pod's uid, from the CNI arguments.
    pub pod_uid: Option<Uid>,
    /// The sandbox's namespace, if it is still there.
    pub netns: Option<Netns>,
}

impl NodeService {
    /// Whether nothing is given out until [`recover`](Self::recover) was told who uses what.
    pub fn recovering(&self) -> bool {
        self.state.lock().recovering
    }

    /// Takes over the owners that witnesses saw, and serves from then on; which they were. To be called
    /// once the published pool was read and accepted. After an error it is to be repeated.
    ///
    /// Without recovery under way it does nothing.
    pub async fn recover(&self, witnesses: &Witnesses) -> Result<Vec<SandboxKey>, JournalError> {
        let (owners, changes) = {
            let mut state = self.state.lock();
            if !state.recovering {
                return Ok(Vec::new());
            }
            let mut changes = Vec::new();
            if state.published != NodePool::default() {
                changes.push(Change::Pool(state.published.clone()));
            }
            let mut owners = Vec::new();
            let now = Instant::now();
            for (key, allocation) in adopt(&state.published, witnesses, &self.boot) {
                if state.tombstones.contains_key(&key) {
                    for ip in allocation.addresses.iter() {
                        state.pool.rest(ip, now, now + self.config.cooldown);
                        changes.extend(state.pool.entry(ip).map(|entry| self.rest(entry)));
                    }
                    continue;
                }
                changes.push(Change::Own(key.clone(), allocation.clone()));
                // In memory at once, so that a DEL that comes meanwhile finds it.
                state.pool.restore_owner(key.clone(), allocation);
                owners.push(key);
            }
            (owners, changes)
        };
        self.commit(changes).await?;
        self.state.lock().recovering = false;
        tracing::warn!(
            ?owners,
            "the journal was empty; these owners were found in the kernel and the runtime's results"
        );
        self.serve();
        Ok(owners)
    }
}

/// Who is taken to own what, by what witnesses saw.
fn adopt(
    pool: &NodePool,
    witnesses: &Witnesses,
    boot: &std::sync::Arc<str>,
) -> BTreeMap<SandboxKey, Allocation> {
    let cached: BTreeMap<_, _> = witnesses
        .cached
        .iter()
        .map(|result| (&result.key, result))
        .collect();
    let sandboxes = witnesses.sandboxes.iter();
    let pods: BTreeMap<_, _> = sandboxes
        .filter_map(|sandbox| Some((&sandbox.container, sandbox.pod.as_ref()?)))
        .collect();
    let mut owners = BTreeMap::new();
    let mut taken: BTreeMap<IpAddr, &SandboxKey> = BTreeMap::new();
    for WiredPod { key, addresses } in &witnesses.wired {
        let result = cached.get(key);
        // Rules that somebody flushed leave a device without addresses.
        let addresses = match (addresses.iter().next(), result) {
            (None, Some(result)) => result.addresses,
            _ => *addresses,
        };
        if addresses == PodAddresses::default() {
            tracing::error!(%key, "a pod interface without addresses is in the kernel; delete its pod");
            continue;
        }
        taken.extend(addresses.iter().map(|ip| (ip, key)));
        let origin = Origin {
            boot: boot.clone(),
            netns: result.and_then(|result| result.netns.clone()),
            started: None,
        };
        let allocation = Allocation {
            addresses,
            eni: eni(pool, addresses),
            pod: result.and_then(|result| result.pod.clone()),
            pod_uid: result.and_then(|result| result.pod_uid.clone()),
            origin: Some(origin),
        };
        let allocation = named(allocation, pods.get(&key.container).copied());
        owners.insert(key.clone(), allocation);
    }
    for (key, result) in cached {
        let rival = result.addresses.iter().find_map(|ip| taken.get(&ip));
        if owners.contains_key(key) {
            continue;
        }
        if let Some(rival) = rival {
            tracing::info!(%key, %rival, addresses = %result.addresses,
                "a kept result is out of date: another interface has its address");
            continue;
        }
        taken.extend(result.addresses.iter().map(|ip| (ip, key)));
        let allocation = Allocation {
            addresses: result.addresses,
            eni: eni(pool, result.addresses),
            pod: result.pod.clone(),
            pod_uid: result.pod_uid.clone(),
            // It may be of an earlier boot; only a namespace that is there proves this one.
            origin: result.netns.clone().map(|netns| Origin {
                boot: boot.clone(),
                netns: Some(netns),
                started: None,
            }),
        };
        let allocation = named(allocation, pods.get(&key.container).copied());
        owners.insert(key.clone(), allocation);
    }
    owners
}

/// With the pod that the runtime names, where no result did.
fn named(mut allocation: Allocation, pod: Option<&(PodKey, Uid)>) -> Allocation {
    if let (None, Some((pod, uid))) = (&allocation.pod, pod) {
        (allocation.pod, allocation.pod_uid) = (Some(pod.clone()), Some(uid.clone()));
    }
    allocation
}

/// The ENI that carries an address; of one that vanished nobody knows.
fn eni(pool: &NodePool, addresses: PodAddresses) -> EniId {
    let carries = |ip: IpAddr| {
        pool.enis.iter().find(|eni| {
            let mut entries = eni.attached.iter().chain(&eni.releasing);
            entries.any(|entry| entry.ip == ip)
        })
    };
    let eni = addresses.iter().find_map(carries);
    eni.map_or_else(|| EniId::from("unknown"), |eni| eni.id.clone())
}
