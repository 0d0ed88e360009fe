//! Room on nodes: what each was granted, and who takes it. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::{BEST, INSUFFICIENT, LIMIT, Misfit, Predicate};
use crate::model::{Claim, NodeConfig, NodeName, Pod, PodKey, SubnetId, Uid, Zone};

/// How long a binding is held for true although nothing is heard of it: a watch tells sooner, and no list is older.
const UNKNOWN: Duration = Duration::from_secs(60);

/// Room on all nodes.
///
/// The grant in a node's `NodeENIConfig` is the only ledger of what may be promised: its sum over all nodes never
/// exceeds what the subnets have. A node's room is that, without the pods that are bound to it and those whose binding
/// is under way. Looking is a look-up, whatever the number of pods.
#[derive(Debug, Default)]
pub struct Rooms {
    nodes: HashMap<NodeName, Held>,
    /// Where each pod takes room.
    pods: HashMap<Uid, Taking>,
    /// Who bears each name: a pod made anew under one may be shown without a word of the former's end.
    names: HashMap<PodKey, Uid>,
    /// The subnet of each static address, by the name of its pods.
    claims: HashMap<PodKey, SubnetId>,
    /// The zones of subnets, as nodes have shown them.
    zones: HashMap<SubnetId, Zone>,
}

/// What a node may promise, as its `NodeENIConfig` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Addresses that it can attain, those attached included.
    pub granted: u32,
    /// Pods that its ENIs can carry.
    pub capacity: u32,
    /// Addresses that it has.
    pub attached: u32,
    /// The subnets of its ENIs.
    pub subnets: Vec<SubnetId>,
    /// Its zone; `None` if that is not known.
    pub zone: Option<Zone>,
}

#[derive(Debug, Default)]
struct Held {
    /// None: there is no `NodeENIConfig` of it.
    room: Option<Room>,
    used: u32,
}

#[derive(Debug)]
struct Taking {
    node: NodeName,
    /// When its binding began, if that was here.
    began: Option<Instant>,
    /// The pod itself showed it.
    shown: bool,
}

impl Taking {
    fn is_recent(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now < began + UNKNOWN)
    }
}

impl From<&NodeConfig> for Room {
    fn from(config: &NodeConfig) -> Self {
        let pool = &config.pool;
        let subnets: BTreeSet<&SubnetId> = pool.enis.iter().map(|eni| &eni.subnet).collect();
        Self {
            granted: pool.granted,
            capacity: pool.capacity,
            attached: u32::try_from(pool.attached()).unwrap_or(u32::MAX),
            subnets: subnets.into_iter().cloned().collect(),
            zone: Some(config.spec.zone.clone()),
        }
    }
}

impl Room {
    /// The zone of each of its subnets.
    fn zones(&self) -> impl Iterator<Item = (SubnetId, Zone)> {
        let zone = self.zone.iter();
        zone.flat_map(|zone| self.subnets.iter().map(|subnet| (subnet.clone(), zone.clone())))
    }
}

impl Rooms {
    /// A node's room is this, or it is not known any more.
    pub fn set_node(&mut self, node: &NodeName, room: Option<Room>) {
        self.zones.extend(room.iter().flat_map(Room::zones));
        let held = self.nodes.entry(node.clone()).or_default();
        held.room = room;
        if held.room.is_none() && held.used == 0 {
            self.nodes.remove(node);
        }
    }

    /// All nodes that are known.
    pub fn set_nodes(&mut self, rooms: BTreeMap<NodeName, Room>) {
        for held in self.nodes.values_mut() {
            held.room = None;
        }
        for (node, room) in rooms {
            self.zones.extend(room.zones());
            self.nodes.entry(node).or_default().room = Some(room);
        }
        self.nodes.retain(|_, held| held.room.is_some() || held.used > 0);
    }

    /// All nodes as a list shows them that may be older than what is known: nobody gets more room by it.
    pub fn confirm_nodes(&mut self, rooms: BTreeMap<NodeName, Room>) {
        for (node, mut room) in rooms {
            let known = self.nodes.get(&node).and_then(|held| held.room.as_ref());
            if let Some(known) = known {
                room.granted = room.granted.min(known.granted);
            }
            self.set_node(&node, Some(room));
        }
    }

    /// The static address of the pods of a name is of this subnet, or they have none.
    pub fn set_claim(&mut self, claim: &Claim) {
        let subnet = claim
            .subnet
            .as_ref()
            .filter(|_| claim.addresses.iter().next().is_some());
        match subnet {
            Some(subnet) => drop(self.claims.insert(claim.key.clone(), subnet.clone())),
            None => drop(self.claims.remove(&claim.key)),
        }
    }

    /// The pods of a name have no static address any more.
    pub fn remove_claim(&mut self, key: &PodKey) {
        self.claims.remove(key);
    }

    /// All claims.
    pub fn set_claims<'a>(&mut self, claims: impl Iterator<Item = &'a Claim>) {
        self.claims.clear();
        claims.for_each(|claim| self.set_claim(claim));
    }

    /// Whether the static address that a pod has can go to a node: an ENI takes addresses of its own subnet, and is
    /// attached in its own zone.
    fn reaches(&self, pod: &Pod, room: &Room) -> Result<(), Misfit> {
        let subnet = self.claims.get(&pod.key);
        let zone = subnet.and_then(|subnet| self.zones.get(subnet));
        match (subnet, zone, &room.zone) {
            (Some(subnet), Some(there), Some(here)) if there != here => Err(Misfit {
                reason: INSUFFICIENT,
                detail: format!("the pod's address is of {subnet} in {there}"),
                preemption_helps: false,
            }),
            _ => Ok(()),
        }
    }

    /// A pod as the cluster shows it. A binding that is under way stays so until the pod shows it.
    pub fn set_pod(&mut self, pod: &Pod) {
        let former = self.names.insert(pod.key.clone(), pod.uid.clone());
        if let Some(former) = former.filter(|former| *former != pod.uid) {
            self.release(&former);
        }
        match &pod.node {
            Some(node) if pod.needs_address() => self.take(&pod.uid, node).shown = true,
            Some(_) => self.release(&pod.uid),
            None => {}
        }
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, pod: &Pod) {
        self.release(&pod.uid);
        if self.names.get(&pod.key) == Some(&pod.uid) {
            self.names.remove(&pod.key);
        }
    }

    /// All pods that existed at some time in the last minute: a list may be older than a binding.
    pub fn set_pods<'a>(&mut self, pods: impl Iterator<Item = &'a Pod> + Clone, now: Instant) {
        let known: BTreeSet<&Uid> = pods.clone().map(|pod| &pod.uid).collect();
        self.release_if(|uid, taking| !known.contains(uid) && !taking.is_recent(now));
        self.names.clear();
        for pod in pods {
            self.set_pod(pod);
        }
    }

    /// Pods that a list shows which may be older than what is known: what another process bound takes room, and
    /// nothing is given up. What the watch does not show in time was not there any more.
    pub fn confirm_pods<'a>(&mut self, pods: impl Iterator<Item = &'a Pod>, now: Instant) {
        for pod in pods.filter(|pod| pod.needs_address()) {
            let Some(node) = &pod.node else { continue };
            let known = self.pods.get(&pod.uid).is_some_and(|taking| taking.node != *node);
            let another = self.names.get(&pod.key).is_some_and(|uid| *uid != pod.uid);
            if !known && !another {
                self.take(&pod.uid, node).began = Some(now);
            }
        }
    }

    /// Takes room for a pod whose binding begins. One that was begun to another node ends with this.
    ///
    /// # Errors
    ///
    /// Why the node does not fit; nothing is taken then.
    pub fn begin(&mut self, uid: &Uid, node: &NodeName, now: Instant) -> Result<(), Misfit> {
        self.fits_after(uid, node, 0)?;
        self.take(uid, node).began = Some(now);
        Ok(())
    }

    /// A binding did not come about. One whose outcome is unknown is not ended: the pod will show it.
    pub fn fail(&mut self, uid: &Uid, node: &NodeName) {
        let under_way = |taking: &Taking| !taking.shown && taking.node == *node;
        if self.pods.get(uid).is_some_and(under_way) {
            self.release(uid);
        }
    }

    /// Forgets bindings of which nothing was heard in time.
    pub fn expire(&mut self, now: Instant) {
        self.release_if(|uid, taking| {
            let late = !taking.shown && !taking.is_recent(now);
            if late {
                tracing::warn!(%uid, node = %taking.node, "nothing was heard of a binding; its room is free again");
            }
            late
        });
    }

    /// Nodes that are known, pods that take room, and how many of these are being bound.
    pub fn counts(&self) -> [usize; 3] {
        let known = self.nodes.values().filter(|held| held.room.is_some()).count();
        let under_way = self.pods.values().filter(|taking| !taking.shown).count();
        [known, self.pods.len(), under_way]
    }

    /// Whether a pod takes room on a node.
    pub fn is_on(&self, uid: &Uid, node: &NodeName) -> bool {
        self.pods.get(uid).is_some_and(|taking| taking.node == *node)
    }

    /// Whether a pod fits a node once `freed` pods have left it.
    pub fn fits_after(&self, uid: &Uid, node: &NodeName, freed: u32) -> Result<(), Misfit> {
        let held = self.nodes.get(node);
        let (Some(room), used) = (
            held.and_then(|held| held.room.as_ref()),
            held.map_or(0, |held| held.used),
        ) else {
            return Err(Misfit {
                reason: INSUFFICIENT,
                detail: "no NodeENIConfig".to_owned(),
                preemption_helps: false,
            });
        };
        let own = u32::from(self.is_on(uid, node));
        let used = used.saturating_sub(own);
        if used.saturating_sub(freed) < room.granted.min(room.capacity) {
            return Ok(());
        }
        let subnets: Vec<&str> = room.subnets.iter().map(SubnetId::as_str).collect();
        let reason = match used >= room.capacity {
            true => LIMIT,
            false => INSUFFICIENT,
        };
        Err(Misfit {
            reason,
            // Alike on all nodes of the same subnets: a scheduler counts nodes by their words.
            detail: subnets.join(","),
            preemption_helps: room.granted.min(room.capacity) > 0,
        })
    }

    fn take(&mut self, uid: &Uid, node: &NodeName) -> &mut Taking {
        if self.pods.get(uid).is_some_and(|taking| taking.node != *node) {
            self.release(uid);
        }
        self.pods.entry(uid.clone()).or_insert_with(|| {
            self.nodes.entry(node.clone()).or_default().used += 1;
            Taking {
                node: node.clone(),
                began: None,
                shown: false,
            }
        })
    }

    fn release_if(&mut self, wanted: impl Fn(&Uid, &Taking) -> bool) {
        let pods = self.pods.iter().filter(|(uid, taking)| wanted(uid, taking));
        let pods: Vec<Uid> = pods.map(|(uid, _)| uid.clone()).collect();
        for uid in pods {
            self.release(&uid);
        }
    }

    fn release(&mut self, uid: &Uid) {
        let Some(taking) = self.pods.remove(uid) else {
            return;
        };
        if let Some(held) = self.nodes.get_mut(&taking.node) {
            held.used -= 1;
            if held.room.is_none() && held.used == 0 {
                self.nodes.remove(&taking.node);
            }
        }
    }
}

impl Predicate for Rooms {
    fn filter(&self, pod: &Pod, node: &NodeName) -> Result<(), Misfit> {
        let room = self.nodes.get(node).and_then(|held| held.room.as_ref());
        room.map_or(Ok(()), |room| self.reaches(pod, room))?;
        self.fits_after(&pod.uid, node, 0)
    }

    /// Idle addresses that are there, so that the pod waits for none; of a static address an ENI in its subnet.
    fn score(&self, pod: &Pod, node: &NodeName) -> u8 {
        let held = self.nodes.get(node);
        if let Some(subnet) = self.claims.get(&pod.key) {
            let room = held.and_then(|held| held.room.as_ref());
            return match room.is_some_and(|room| room.subnets.contains(subnet)) {
                true => BEST,
                false => 0,
            };
        }
        let idle = held.and_then(|held| Some(held.room.as_ref()?.attached.saturating_sub(held.used)));
        u8::try_from(idle.unwrap_or_default()).unwrap_or(BEST).min(BEST)
    }
}

#[cfg(test)]
mod tests;
