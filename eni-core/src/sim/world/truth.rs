//! What is true in the world, whatever any process believes: kept step by step, so that checks are cheap.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{event::Event, event::Order, process::Who};
use crate::{
    journal::{Change, Hold},
    model::{
        Allocation, Claim, Eni, EniId, EniRecord, InstanceId, NodeConfig, NodeName, NodePool, PodAddresses,
        PodKey, PoolAddress, SandboxKey, Uid,
    },
    sim::FabricChange,
};

/// Everything that invariants are judged by.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) enis: BTreeMap<EniId, EniFact>,
    /// Which ENI the cloud delivers an address to.
    pub(super) at: BTreeMap<IpAddr, EniId>,
    pub(super) machines: BTreeMap<NodeName, MachineFact>,
    /// Who owns an address by the journals of machines that exist.
    pub(super) owners: BTreeMap<IpAddr, (NodeName, SandboxKey)>,
    /// Addresses that the world itself took off an ENI, until that ENI gets them again.
    pub(super) taken: BTreeSet<(EniId, IpAddr)>,
    /// Addresses that the world has ever taken off an ENI, or with it off its node.
    pub(super) once_taken: BTreeSet<(EniId, IpAddr)>,
    /// Who owns by the journal what the world took away, or did so last: nobody could know, and a late ADD may
    /// still wire it.
    pub(super) lost: BTreeSet<(NodeName, SandboxKey)>,
    /// When an address was last released, and on which node; until it leaves its ENI.
    pub(super) released: BTreeMap<IpAddr, (Instant, NodeName)>,
    pub(super) sandboxes: BTreeMap<Arc<str>, SandboxFact>,
    pub(super) pods: BTreeMap<Uid, PodFact>,
    pub(super) configs: BTreeMap<NodeName, NodeConfig>,
    pub(super) records: BTreeMap<String, EniRecord>,
    pub(super) claims: BTreeMap<PodKey, Claim>,
    /// The ENI that was created under a name.
    pub(super) created: BTreeMap<String, EniId>,
    /// The latest cloud calls, none older than a second.
    pub(super) calls: VecDeque<Instant>,
    /// Cloud calls by action, ever.
    pub(super) counted: BTreeMap<&'static str, u64>,
    /// The ipamd that leads.
    pub(super) leader: u32,
    /// The world itself is changing the cloud.
    pub(super) by_hand: bool,
    /// Pods that were told of a loss.
    pub(super) told: BTreeSet<PodKey>,
}

/// An ENI as the cloud has it.
#[derive(Debug)]
pub(super) struct EniFact {
    pub(super) ours: bool,
    pub(super) instance: Option<InstanceId>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Ordered off it.
    pub(super) leaving: BTreeSet<IpAddr>,
    /// The world itself took it off its instance.
    pub(super) taken: bool,
}

/// A node's machine, with what its disk remembers.
#[derive(Debug)]
pub(super) struct MachineFact {
    pub(super) instance: InstanceId,
    pub(super) capacity: usize,
    pub(super) booted: Instant,
    pub(super) owned: BTreeMap<SandboxKey, Allocation>,
    pub(super) held: BTreeMap<PoolAddress, Hold>,
    pub(super) pool: NodePool,
    /// Which pod interfaces are on its wire.
    pub(super) wired: BTreeMap<SandboxKey, PodAddresses>,
}

/// A sandbox.
#[derive(Debug)]
pub(super) struct SandboxFact {
    pub(super) node: NodeName,
    pub(super) uid: Uid,
    pub(super) alive: bool,
    /// The order in which sandboxes were made.
    pub(super) number: u64,
    /// What the runtime was told it has.
    pub(super) acknowledged: Option<PodAddresses>,
    /// The runtime has begun to take it down.
    pub(super) deleted: bool,
}

/// A pod.
#[derive(Debug)]
pub(super) struct PodFact {
    pub(super) node: NodeName,
    pub(super) host_network: bool,
    /// Deleted, or finished.
    pub(super) gone: bool,
    /// The sandbox that runs it.
    pub(super) served: Option<SandboxKey>,
}

impl Truth {
    /// Whether an address is delivered to this machine, and stays.
    pub(super) fn delivered(&self, node: &NodeName, eni: &EniId, ip: IpAddr) -> Result<(), &'static str> {
        let (Some(machine), Some(fact)) = (self.machines.get(node), self.enis.get(eni)) else {
            return Err("its ENI does not exist");
        };
        if self.at.get(&ip) != Some(eni) {
            Err("the cloud does not deliver it to that ENI")
        } else if fact.instance.as_ref() != Some(&machine.instance) {
            Err("its ENI is not on the node's instance")
        } else if fact.leaving.contains(&ip) {
            Err("its removal was ordered")
        } else {
            Ok(())
        }
    }

    /// Whether the world took the address, or its ENI, away from under its node.
    pub(super) fn is_taken(&self, eni: &EniId, ip: IpAddr) -> bool {
        self.taken.contains(&(eni.clone(), ip)) || self.enis.get(eni).is_none_or(|fact| fact.taken)
    }

    /// Whether nobody can need a sandbox's addresses any more: it is dead, and its pod is gone, finished or
    /// has a newer sandbox.
    pub(super) fn is_unneeded(&self, key: &SandboxKey) -> bool {
        let Some(fact) = self.sandboxes.get(&key.container) else {
            return true;
        };
        let gone = self.pods.get(&fact.uid).is_none_or(|pod| pod.gone);
        let newer = |other: &SandboxFact| other.uid == fact.uid && other.number > fact.number;
        !fact.alive && (gone || self.sandboxes.values().any(newer))
    }

    /// The ENI's published part, with its node.
    pub(super) fn published(&self, eni: &EniId) -> Option<(&NodeName, &crate::model::PoolEni)> {
        self.configs.iter().find_map(|(node, config)| {
            let live = self.machines.get(node)?.instance == config.spec.instance;
            let published = config.pool.enis.iter().find(|entry| entry.id == *eni)?;
            live.then_some((node, published))
        })
    }

    /// A machine is no more, and with it everything on its disk.
    pub(super) fn lose_machine(&mut self, node: &NodeName) {
        self.lose_disk(node);
        self.machines.remove(node);
    }

    /// Every sandbox of a node dies.
    pub(super) fn kill_sandboxes(&mut self, node: &NodeName) {
        let here = self.sandboxes.values_mut().filter(|fact| fact.node == *node);
        here.for_each(|fact| fact.alive = false);
        if let Some(machine) = self.machines.get_mut(node) {
            machine.wired.clear();
        }
    }

    /// A node's journal is lost, with those who owned by it.
    pub(super) fn lose_disk(&mut self, node: &NodeName) {
        self.lost.retain(|(owner, _)| owner != node);
        self.owners.retain(|_, (owner, _)| owner != node);
        if let Some(machine) = self.machines.get_mut(node) {
            machine.owned.clear();
            machine.held.clear();
            machine.pool = NodePool::default();
        }
    }

    /// Takes over what happened.
    pub(super) fn apply(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Call { action, .. } => {
                self.calls.push_back(now);
                while self
                    .calls
                    .front()
                    .is_some_and(|at| *at + Duration::from_secs(1) <= now)
                {
                    self.calls.pop_front();
                }
                *self.counted.entry(action).or_default() += 1;
            }
            Event::Ordered(Order::Unassign(eni, ips)) => {
                if let Some(fact) = self.enis.get_mut(*eni) {
                    fact.leaving
                        .extend(ips.iter().filter(|ip| fact.addresses.contains(ip)));
                }
            }
            Event::Commit { node, changes } => {
                changes.iter().for_each(|change| self.remember(node, change, now));
            }
            Event::Acknowledge { key, addresses, .. } => {
                if let Some(fact) = self.sandboxes.get_mut(&key.container) {
                    fact.acknowledged = Some(*addresses);
                }
            }
            Event::Wire { node, wiring } => {
                if let Some(machine) = self.machines.get_mut(*node) {
                    machine
                        .wired
                        .insert(wiring.interface.key.clone(), wiring.addresses);
                }
            }
            Event::Configured { after, .. } => {
                self.configs.insert(after.name.clone(), (*after).clone());
            }
            Event::Claimed { after, .. } => {
                self.claims.insert(after.key.clone(), (*after).clone());
            }
            Event::Unclaimed { claim } => {
                self.claims.remove(&claim.key);
            }
            Event::Created(eni) => {
                self.created.insert(eni.name.clone(), eni.id.clone());
            }
            Event::Bereaved { pod } => {
                self.told.insert((*pod).clone());
            }
            Event::Order { .. } | Event::Ordered(_) | Event::Counted { .. } | Event::Deleted { .. } => {}
        }
    }

    fn remember(&mut self, node: &NodeName, change: &Change, now: Instant) {
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        match change {
            Change::Own(key, allocation) => {
                machine.owned.insert(key.clone(), allocation.clone());
                let owner = (node.clone(), key.clone());
                self.lost.remove(&owner);
                for ip in allocation.addresses.iter() {
                    if self.taken.contains(&(allocation.eni.clone(), ip)) {
                        self.lost.insert(owner.clone());
                    } else {
                        self.owners.insert(ip, owner.clone());
                        self.released.remove(&ip);
                    }
                }
            }
            Change::Disown(key) => {
                let Some(allocation) = machine.owned.remove(key) else {
                    return;
                };
                let owner = (node.clone(), key.clone());
                for ip in allocation.addresses.iter() {
                    if self.owners.get(&ip) == Some(&owner) {
                        self.owners.remove(&ip);
                        self.released.insert(ip, (now, node.clone()));
                    }
                }
            }
            Change::Hold(entry, hold) => {
                machine.held.insert(*entry, hold.clone());
            }
            Change::Unhold(entry) => {
                machine.held.remove(entry);
            }
            Change::Pool(pool) => machine.pool = pool.clone(),
        }
    }

    /// Takes over what the cloud's data plane does.
    pub(super) fn deliver(&mut self, change: &FabricChange, ours: impl Fn(&Eni) -> bool) {
        match change {
            FabricChange::EniCreated { eni } | FabricChange::EniAttached { eni, .. } => {
                let addresses: BTreeSet<_> = eni.addresses.iter().map(|address| address.ip).collect();
                for ip in &addresses {
                    self.at.insert(*ip, eni.id.clone());
                    self.taken.remove(&(eni.id.clone(), *ip));
                }
                let instance = eni.instance.clone();
                let fact = EniFact {
                    ours: ours(eni),
                    instance,
                    addresses,
                    leaving: BTreeSet::new(),
                    taken: false,
                };
                self.enis.insert(eni.id.clone(), fact);
            }
            FabricChange::EniDetached { eni, .. } => {
                if let Some(fact) = self.enis.get_mut(eni) {
                    fact.instance = None;
                    fact.taken |= self.by_hand;
                    let addresses = fact.addresses.iter().filter(|_| self.by_hand);
                    self.once_taken.extend(addresses.map(|ip| (eni.clone(), *ip)));
                }
            }
            FabricChange::AddressAssigned { eni, ip } => {
                self.at.insert(*ip, eni.clone());
                self.taken.remove(&(eni.clone(), *ip));
                if let Some(fact) = self.enis.get_mut(eni) {
                    fact.addresses.insert(*ip);
                    fact.leaving.remove(ip);
                }
            }
            FabricChange::AddressUnassigned { eni, ip } => {
                if let Some(fact) = self.enis.get_mut(eni) {
                    fact.addresses.remove(ip);
                    fact.leaving.remove(ip);
                }
                self.leave(eni, *ip);
            }
            FabricChange::EniDeleted { eni } => {
                let fact = self.enis.remove(eni);
                self.created.retain(|_, created| created != eni);
                fact.into_iter()
                    .flat_map(|fact| fact.addresses)
                    .for_each(|ip| self.leave(eni, ip));
            }
        }
    }

    fn leave(&mut self, eni: &EniId, ip: IpAddr) {
        self.at.remove(&ip);
        self.released.remove(&ip);
        if self.by_hand {
            self.taken.insert((eni.clone(), ip));
            self.once_taken.insert((eni.clone(), ip));
            self.lost.extend(self.owners.remove(&ip));
        }
    }

    /// A pod is deleted or finished.
    pub(super) fn bury(&mut self, uid: &Uid) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.gone = true;
        }
    }

    /// Whether the world took a sandbox's address away.
    pub(super) fn is_bereaved(&self, node: &NodeName, key: &SandboxKey) -> bool {
        self.lost.contains(&(node.clone(), key.clone()))
    }

    /// Whether an ipamd leads.
    pub(super) fn leads(&self, who: &Who) -> bool {
        matches!(who, Who::Ipamd(number) if *number == self.leader)
    }
}
