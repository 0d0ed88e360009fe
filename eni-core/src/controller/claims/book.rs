//! What is known of claims and their pods. Synchronous: no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::records::Records;
use crate::{
    cluster::{Version, Versioned, WatchEvent},
    controller::mirror::{Change, Doubt, Mirror},
    model::{Claim, ClaimDefaults, ClaimPhase, NodeName, Pod, PodKey, PodPhase, Uid},
    policy::claim::ClaimStep,
};

/// How long after a claim made a node due for the same step it may do so again.
const AGAIN: Duration = Duration::from_secs(15);

/// What is known of claims and their pods. What changes returns the nodes that it concerns.
#[derive(Debug, Default)]
pub(in crate::controller) struct Book {
    pub(super) claims: Mirror<Claim>,
    /// The objects of addresses.
    pub(in crate::controller) records: Records,
    /// What pods ask for that say nothing, by name.
    defaults: BTreeMap<Arc<str>, ClaimDefaults>,
    pods: BTreeMap<PodKey, Pod>,
    /// Who has an address. Of two claims for one address the one that had it first; the other gets another.
    pub(super) holders: BTreeMap<IpAddr, PodKey>,
    /// The claims that are bound to a node.
    bound: BTreeMap<NodeName, BTreeSet<PodKey>>,
    /// Addresses that a write under way gives to a claim, or one whose outcome is not known.
    promised: BTreeMap<IpAddr, PodKey>,
    /// Addresses that an order under way takes off an ENI, by the node whose turn gave it.
    leaving: BTreeMap<NodeName, Vec<IpAddr>>,
    /// Addresses that the cloud says somebody else has, until it is tried again.
    taken: BTreeMap<IpAddr, Instant>,
    /// Addresses of claims that are on no ENI, so that anybody may be given them.
    loose: BTreeSet<IpAddr>,
    /// Whose next step is to be decided.
    due: BTreeSet<PodKey>,
    /// Whose step is being carried out.
    busy: BTreeSet<PodKey>,
    /// Who waits for something that no watch of theirs tells, with what for and since when that was told.
    pending: BTreeMap<PodKey, (ClaimStep, Instant)>,
    /// Kept addresses by when they are given up.
    expiries: BTreeSet<(Timestamp, PodKey)>,
}

impl Book {
    pub(in crate::controller) fn claim(&self, key: &PodKey) -> Option<&Versioned<Claim>> {
        self.claims.get(&key.to_string())
    }

    pub(in crate::controller) fn pod(&self, key: &PodKey) -> Option<&Pod> {
        self.pods.get(key)
    }

    /// The claim that has an address.
    pub(in crate::controller) fn holder(&self, ip: IpAddr) -> Option<&Claim> {
        let key = self.holders.get(&ip)?;
        self.claim(key).map(|read| &read.object)
    }

    /// The claims that are bound to a node.
    pub(in crate::controller) fn on(&self, node: &NodeName) -> impl Iterator<Item = &Claim> {
        let keys = self.bound.get(node).into_iter().flatten();
        keys.filter_map(|key| self.claim(key)).map(|read| &read.object)
    }

    /// Whether the pod with this uid lives and needs a network of its own.
    pub(in crate::controller) fn lives(&self, key: &PodKey, uid: &Uid) -> bool {
        let pod = self.pods.get(key).filter(|pod| pod.uid == *uid);
        pod.is_some_and(|pod| pod.phase != PodPhase::Finished)
    }

    /// Whether nobody has an address, nor is given it just now.
    pub(in crate::controller) fn is_free(&self, ip: IpAddr) -> bool {
        !self.holders.contains_key(&ip) && !self.promised.contains_key(&ip) && !self.is_leaving(ip)
    }

    /// Whether a write under way gives the address to a claim.
    pub(in crate::controller) fn is_promised(&self, ip: IpAddr) -> bool {
        self.promised.contains_key(&ip)
    }

    /// Whether an order under way takes the address from where it is.
    pub(in crate::controller) fn is_leaving(&self, ip: IpAddr) -> bool {
        self.leaving.values().flatten().any(|leaving| *leaving == ip)
    }

    /// A node's turn takes these addresses from where they are; none once it has ended.
    pub(in crate::controller) fn leave(&mut self, node: &NodeName, addresses: Vec<IpAddr>) {
        if addresses.is_empty() {
            self.leaving.remove(node);
        } else {
            self.leaving.insert(node.clone(), addresses);
        }
    }

    /// Whether the cloud said a moment ago that somebody else has the address.
    pub(in crate::controller) fn is_taken(&self, ip: IpAddr, now: Instant) -> bool {
        self.taken.get(&ip).is_some_and(|until| *until > now)
    }

    /// The cloud said that somebody else has these addresses.
    pub(in crate::controller) fn take(&mut self, addresses: &[IpAddr], until: Instant) {
        self.taken.retain(|_, until| *until > Instant::now());
        for ip in addresses {
            self.taken.insert(*ip, until);
            self.due.extend(self.holders.get(ip).cloned());
        }
    }

    /// A claim's address is on no ENI, or will be; or it is on one again.
    pub(in crate::controller) fn loosen(&mut self, ip: IpAddr, loose: bool) {
        if !loose {
            self.loose.remove(&ip);
        } else if self.holders.contains_key(&ip) {
            self.loose.insert(ip);
        }
    }

    /// Addresses of claims that are on no ENI.
    pub(in crate::controller) fn loose(&self) -> &BTreeSet<IpAddr> {
        &self.loose
    }

    /// Whose turn is next.
    pub(in crate::controller) fn next(&mut self) -> Option<PodKey> {
        let key = self.due.iter().find(|key| !self.busy.contains(key)).cloned()?;
        self.due.remove(&key);
        Some(key)
    }

    /// A turn has found nothing to write: what it waits for, and whether the nodes concerned are to be told.
    pub(in crate::controller) fn wait(
        &mut self,
        key: &PodKey,
        step: Option<ClaimStep>,
        now: Instant,
    ) -> bool {
        let Some(step) = step else {
            self.pending.remove(key);
            return false;
        };
        let told = self.pending.get(key);
        if told.is_some_and(|(before, since)| *before == step && *since + AGAIN > now) {
            return false;
        }
        self.pending.insert(key.clone(), (step, now));
        true
    }

    /// A step is being carried out, which gives the claim these addresses.
    pub(in crate::controller) fn begin(&mut self, key: &PodKey, promised: impl IntoIterator<Item = IpAddr>) {
        self.busy.insert(key.clone());
        self.promised
            .extend(promised.into_iter().map(|ip| (ip, key.clone())));
    }

    /// A step was carried out, or was not. What it promised holds until the claim was read, if the outcome is
    /// not known.
    pub(in crate::controller) fn end(&mut self, key: &PodKey) {
        self.busy.remove(key);
        self.due.insert(key.clone());
        if self.doubt(key).is_none() {
            self.promised.retain(|_, promised| promised != key);
        }
    }

    /// Everybody who waits is looked at again.
    pub(in crate::controller) fn stir(&mut self) {
        self.due.extend(self.pending.keys().cloned());
    }

    /// Every claim is looked at: what is known of the cloud was made good.
    pub(in crate::controller) fn review(&mut self) {
        let keys = self.claims.values().map(|claim| claim.key.clone());
        self.due.extend(keys);
    }

    /// Who kept an address for as long as it should be is looked at.
    pub(in crate::controller) fn expire(&mut self, now: Timestamp) {
        let over = self.expiries.iter().take_while(|(expiry, _)| *expiry <= now);
        self.due.extend(over.map(|(_, key)| key.clone()));
    }

    pub(in crate::controller) fn apply_pod(&mut self, event: &WatchEvent<Pod>) {
        match event {
            WatchEvent::Reset(all) => {
                self.due.extend(std::mem::take(&mut self.pods).into_keys());
                for read in all {
                    self.learn(&read.object);
                }
            }
            WatchEvent::Applied(read) => self.learn(&read.object),
            WatchEvent::Deleted(pod) => {
                self.pods.remove(&pod.key);
                self.due.insert(pod.key.clone());
            }
        }
    }

    fn learn(&mut self, pod: &Pod) {
        if !pod.host_network && self.pods.insert(pod.key.clone(), pod.clone()).as_ref() != Some(pod) {
            self.due.insert(pod.key.clone());
        }
    }

    /// What pods ask for that say nothing.
    pub(in crate::controller) fn defaults(&self) -> impl Iterator<Item = &ClaimDefaults> {
        self.defaults.values()
    }

    /// What holds from now on for claims that are made, or get another pod.
    pub(in crate::controller) fn apply_defaults(&mut self, event: WatchEvent<ClaimDefaults>) {
        match event {
            WatchEvent::Reset(all) => {
                let all = all.into_iter().map(|read| read.object);
                self.defaults = all.map(|one| (one.name.clone(), one)).collect();
            }
            WatchEvent::Applied(read) => {
                self.defaults.insert(read.object.name.clone(), read.object);
            }
            WatchEvent::Deleted(one) => {
                self.defaults.remove(&one.name);
            }
        }
    }

    pub(in crate::controller) fn apply_claim(&mut self, event: WatchEvent<Claim>) -> BTreeSet<NodeName> {
        let changes = self.claims.apply(event);
        changes
            .into_iter()
            .flat_map(|change| self.replaced(change))
            .collect()
    }

    /// Why a claim is to be read before it is decided about.
    pub(in crate::controller) fn doubt(&self, key: &PodKey) -> Option<Doubt> {
        self.claims.doubt_of(&key.to_string())
    }

    /// Takes over what reading a claim in doubt has given.
    pub(in crate::controller) fn settle(
        &mut self,
        key: &PodKey,
        doubt: &Doubt,
        read: Option<Versioned<Claim>>,
    ) -> BTreeSet<NodeName> {
        let change = self.claims.settle(&key.to_string(), doubt, read);
        self.replaced(change)
    }

    /// Takes over what we wrote over `base`.
    pub(in crate::controller) fn wrote(
        &mut self,
        base: Option<&Version>,
        read: Versioned<Claim>,
    ) -> BTreeSet<NodeName> {
        let change = self.claims.wrote(base, read);
        self.replaced(change)
    }

    /// Takes over that we deleted a claim.
    pub(in crate::controller) fn deleted(&mut self, key: &PodKey) -> BTreeSet<NodeName> {
        let change = self.claims.deleted(&key.to_string());
        self.replaced(change)
    }

    /// A claim was written without an answer, or another writer was first.
    pub(in crate::controller) fn unanswered(&mut self, key: &PodKey) -> BTreeSet<NodeName> {
        let change = self.claims.unanswered(key.to_string(), &NodeName::from(""));
        self.replaced(change)
    }

    /// Brings what is derived from a claim in line with it; the nodes that it concerns.
    fn replaced(&mut self, Change { key, before }: Change<Claim>) -> BTreeSet<NodeName> {
        let mut nodes = BTreeSet::new();
        if let Some(before) = before {
            self.forget(&before);
            before.addresses.iter().for_each(|ip| self.records.doubt(ip));
            nodes.extend(before.node);
        }
        if let Some((namespace, name)) = key.split_once('/') {
            let key = PodKey::new(namespace, name);
            self.keep(&key);
            nodes.extend(self.claim(&key).and_then(|read| read.object.node.clone()));
        }
        nodes
    }

    /// Makes a claim the holder of those of its addresses that nobody holds; whether it holds all of them.
    pub(in crate::controller) fn hold(&mut self, claim: &Claim) -> bool {
        let mut held = claim.addresses.iter().map(|ip| {
            let holder = self.holders.entry(ip).or_insert_with(|| claim.key.clone());
            *holder == claim.key
        });
        held.all(|held| held)
    }

    fn forget(&mut self, claim: &Claim) {
        for ip in claim.addresses.iter() {
            if self.holders.get(&ip) == Some(&claim.key) {
                self.holders.remove(&ip);
                self.loose.remove(&ip);
            }
        }
        if let Some(bound) = claim.node.as_ref().and_then(|node| self.bound.get_mut(node)) {
            bound.remove(&claim.key);
        }
        if let Some(expiry) = claim.expiry {
            self.expiries.remove(&(expiry, claim.key.clone()));
        }
    }

    fn keep(&mut self, key: &PodKey) {
        self.due.insert(key.clone());
        let Some(claim) = self.claim(key).map(|read| read.object.clone()) else {
            return;
        };
        self.hold(&claim);
        claim.addresses.iter().for_each(|ip| self.records.doubt(ip));
        if let Some(node) = claim.node {
            self.bound.entry(node).or_default().insert(claim.key.clone());
        }
        if let Some(expiry) = claim.expiry.filter(|_| claim.phase == ClaimPhase::Retained) {
            self.expiries.insert((expiry, claim.key));
        }
    }
}
