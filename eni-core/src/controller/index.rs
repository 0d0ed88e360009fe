//! What the cluster's watches say, indexed by node. Synchronous: no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    claims::Book,
    mirror::{Change, Doubt, Mirror},
    schedule::Need,
};
use crate::{
    cluster::{Version, Versioned, WatchEvent},
    model::{EniId, EniRecord, InstanceId, Intent, Node, NodeConfig, NodeName, Pod, PodKey, SubnetId, Zone},
};

/// What the cluster's watches say. Every change returns the nodes it concerns.
#[derive(Debug, Default)]
pub(super) struct Index {
    nodes: BTreeMap<NodeName, Node>,
    configs: Mirror<NodeConfig>,
    records: Mirror<EniRecord>,
    records_of: BTreeMap<NodeName, BTreeSet<String>>,
    record_of: BTreeMap<EniId, String>,
    /// Addresses of each subnet that planned ENIs will take and the cloud does not count yet.
    reserved: BTreeMap<SubnetId, u32>,
    placed: HashMap<PodKey, NodeName>,
    demand: BTreeMap<NodeName, u32>,
    /// Claims and their pods, where addresses are given by claim.
    pub(super) book: Option<Book>,
}

impl Index {
    /// Nothing known yet.
    pub(super) fn new(by_claim: bool) -> Self {
        Self {
            book: by_claim.then(Book::default),
            ..Self::default()
        }
    }

    pub(super) fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn config(&self, name: &NodeName) -> Option<&Versioned<NodeConfig>> {
        self.configs.get(name.as_str())
    }

    pub(super) fn demand(&self, name: &NodeName) -> u32 {
        self.demand.get(name).copied().unwrap_or_default()
    }

    pub(super) fn records(&self, name: &NodeName) -> Vec<Versioned<EniRecord>> {
        let names = self.records_of.get(name).into_iter().flatten();
        names.filter_map(|name| self.records.get(name)).cloned().collect()
    }

    /// Every node that is known.
    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// The nodes that have records.
    pub(super) fn owners(&self) -> Vec<NodeName> {
        self.records_of.keys().cloned().collect()
    }

    /// The node of the record of an ENI, by the ENI's id or by its name, which is the record's.
    pub(super) fn owner(&self, id: &EniId, name: Option<&str>) -> Option<NodeName> {
        let record = self.record_of.get(id).map(String::as_str).or(name)?;
        self.records.get(record).map(|read| read.object.node.clone())
    }

    /// Addresses of a subnet that planned ENIs will take and the cloud does not count yet.
    pub(super) fn reserved(&self, subnet: &SubnetId) -> u32 {
        self.reserved.get(subnet).copied().unwrap_or_default()
    }

    /// Every node with an object of ours: that, its node object, and our records of it.
    pub(super) fn each(
        &self,
    ) -> impl Iterator<Item = (&NodeConfig, Option<&Node>, impl Iterator<Item = &EniRecord>)> {
        self.configs.values().map(|config| {
            let names = self.records_of.get(&config.name).into_iter().flatten();
            let records = names
                .filter_map(|name| self.records.get(name))
                .map(|read| &read.object);
            (config, self.nodes.get(&config.name), records)
        })
    }

    /// The nodes that have no object of ours yet, each with its zone and its instance.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (&NodeName, &Zone, &InstanceId)> {
        let nodes = self.nodes.values();
        let nodes = nodes.filter(|node| self.configs.get(node.name.as_str()).is_none());
        nodes.filter_map(|node| Some((&node.name, node.zone.as_ref()?, node.instance.as_ref()?)))
    }

    /// The instances that our objects or nodes name, and those that nodes have. A node whose instance is gone
    /// and of which nothing is left must not be taken for a new one.
    pub(super) fn instances(&self) -> (BTreeSet<InstanceId>, BTreeSet<InstanceId>) {
        let configs = self.configs.values().map(|config| &config.spec.instance);
        let records = self.records.values().map(|record| &record.instance);
        let alive = self.nodes.values().filter_map(|node| node.instance.as_ref());
        let alive: BTreeSet<_> = alive.cloned().collect();
        let named = configs.chain(records).chain(&alive);
        (named.cloned().collect(), alive)
    }

    /// The node whose pods can use an ENI on an instance: that of its record, if it is the node's instance.
    pub(super) fn host(&self, eni: &EniId, instance: &InstanceId) -> Option<NodeName> {
        let node = self.owner(eni, None)?;
        let config = self.config(&node)?;
        (config.object.spec.instance == *instance).then_some(node)
    }

    /// The instances that nodes have, each with its node.
    pub(super) fn hosts(&self) -> BTreeMap<InstanceId, NodeName> {
        let hosts = self.nodes.values();
        hosts
            .filter_map(|node| Some((node.instance.clone()?, node.name.clone())))
            .collect()
    }

    /// The nodes whose objects name one of these instances.
    pub(super) fn nodes_on(&self, instances: &BTreeSet<InstanceId>) -> Vec<NodeName> {
        let configs = self.configs.values();
        let configs = configs.filter(|config| instances.contains(&config.spec.instance));
        let records = self.records.values();
        let records = records.filter(|record| instances.contains(&record.instance));
        let names = configs
            .map(|config| &config.name)
            .chain(records.map(|record| &record.node));
        names.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How far a node is from what it needs, roughly; the neediest is worked on first.
    pub(super) fn need(&self, name: &NodeName) -> Need {
        let config = self.config(name).map(|read| &read.object);
        let bound = config.map_or(0, |config| config.pool.attached());
        let in_service =
            |id: &EniId| config.is_some_and(|config| config.pool.enis.iter().any(|eni| eni.id == *id));
        let records = self.records_of.get(name).into_iter().flatten();
        let mut records = records.filter_map(|name| self.records.get(name));
        Need {
            waiting: config.map_or(0, |config| config.agent.short),
            begun: records.any(|read| {
                read.object.intent == Intent::Attached && !read.object.id.as_ref().is_some_and(in_service)
            }),
            deficit: self
                .demand(name)
                .saturating_sub(u32::try_from(bound).unwrap_or(u32::MAX)),
        }
    }

    pub(super) fn apply_node(&mut self, event: WatchEvent<Node>) -> Vec<NodeName> {
        match event {
            WatchEvent::Reset(all) => {
                let before = std::mem::take(&mut self.nodes);
                self.nodes = all
                    .into_iter()
                    .map(|read| (read.object.name.clone(), read.object))
                    .collect();
                before.into_keys().chain(self.nodes.keys().cloned()).collect()
            }
            WatchEvent::Applied(read) => {
                let name = read.object.name.clone();
                // A node's status changes every few seconds; only what concerns us counts.
                let same = self.nodes.insert(name.clone(), read.object.clone()) == Some(read.object);
                if same { Vec::new() } else { vec![name] }
            }
            WatchEvent::Deleted(node) => {
                self.nodes.remove(&node.name);
                vec![node.name]
            }
        }
    }

    pub(super) fn apply_config(&mut self, event: WatchEvent<NodeConfig>) -> Vec<NodeName> {
        self.stir();
        let changes = self.configs.apply(event).into_iter();
        changes.map(|change| NodeName::from(change.key)).collect()
    }

    pub(super) fn apply_record(&mut self, event: WatchEvent<EniRecord>) -> Vec<NodeName> {
        let changes = self.records.apply(event).into_iter();
        changes.filter_map(|change| self.replaced(change)).collect()
    }

    /// What claims wait for may have come.
    pub(super) fn stir(&mut self) {
        if let Some(book) = &mut self.book {
            book.stir();
        }
    }

    /// The shared objects of a node that are to be read before it is planned.
    pub(super) fn doubted_configs(&self, node: &NodeName) -> Vec<(String, Doubt)> {
        self.configs.doubts(node)
    }

    /// The records of a node that are to be read before it is planned.
    pub(super) fn doubted_records(&self, node: &NodeName) -> Vec<(String, Doubt)> {
        self.records.doubts(node)
    }

    /// Takes over a NodeENIConfig that was just written, over `base`, before the watch tells of it; its node.
    pub(super) fn wrote_config(&mut self, base: Option<&Version>, read: Versioned<NodeConfig>) -> NodeName {
        self.stir();
        NodeName::from(self.configs.wrote(base, read).key)
    }

    /// Takes over that a NodeENIConfig was just deleted, before the watch tells of it; its node.
    pub(super) fn deleted_config(&mut self, name: &NodeName) -> NodeName {
        NodeName::from(self.configs.deleted(name.as_str()).key)
    }

    /// A NodeENIConfig was written without an answer, or another writer was first; its node.
    pub(super) fn unanswered_config(&mut self, name: &NodeName) -> NodeName {
        NodeName::from(self.configs.unanswered(name.to_string(), name).key)
    }

    /// Takes over what reading a NodeENIConfig in doubt has given.
    pub(super) fn settle_config(&mut self, key: &str, doubt: &Doubt, read: Option<Versioned<NodeConfig>>) {
        self.configs.settle(key, doubt, read);
    }

    /// Takes over what reading a record in doubt has given.
    pub(super) fn settle_record(&mut self, key: &str, doubt: &Doubt, read: Option<Versioned<EniRecord>>) {
        self.change_record(|records| records.settle(key, doubt, read));
    }

    /// The record of a name.
    pub(super) fn record(&self, name: &str) -> Option<&Versioned<EniRecord>> {
        self.records.get(name)
    }

    /// Tells of our own writes of a record.
    pub(super) fn change_record(
        &mut self,
        change: impl FnOnce(&mut Mirror<EniRecord>) -> Change<EniRecord>,
    ) -> Option<NodeName> {
        let change = change(&mut self.records);
        self.replaced(change)
    }

    /// Brings what is derived from a record in line with it; the record's node.
    fn replaced(&mut self, Change { key, before }: Change<EniRecord>) -> Option<NodeName> {
        if let Some(before) = &before {
            if let Some(reserved) = self.reserved.get_mut(&before.subnet) {
                *reserved -= reservation(before);
            }
            if let Some(id) = &before.id {
                self.record_of.remove(id);
            }
        }
        let Some(read) = self.records.get(&key) else {
            let before = before?;
            if let Some(names) = self.records_of.get_mut(&before.node) {
                names.remove(&key);
                if names.is_empty() {
                    self.records_of.remove(&before.node);
                }
            }
            return Some(before.node);
        };
        let record = &read.object;
        *self.reserved.entry(record.subnet.clone()).or_default() += reservation(record);
        if let Some(id) = &record.id {
            self.record_of.insert(id.clone(), key.clone());
        }
        self.records_of
            .entry(record.node.clone())
            .or_default()
            .insert(key);
        Some(record.node.clone())
    }

    pub(super) fn apply_pod(&mut self, event: WatchEvent<Pod>) -> Vec<NodeName> {
        if let Some(book) = &mut self.book {
            book.apply_pod(&event);
        }
        match event {
            WatchEvent::Reset(all) => {
                self.placed.clear();
                let before = std::mem::take(&mut self.demand);
                for read in all {
                    self.place(&read.object);
                }
                before.into_keys().chain(self.demand.keys().cloned()).collect()
            }
            WatchEvent::Applied(read) => self.place(&read.object),
            WatchEvent::Deleted(pod) => self.displace(&pod.key).into_iter().collect(),
        }
    }

    fn place(&mut self, pod: &Pod) -> Vec<NodeName> {
        let wanted = pod.node.as_ref().filter(|_| pod.needs_address());
        if self.placed.get(&pod.key) == wanted {
            return Vec::new();
        }
        let mut touched: Vec<_> = self.displace(&pod.key).into_iter().collect();
        if let Some(node) = wanted {
            self.placed.insert(pod.key.clone(), node.clone());
            *self.demand.entry(node.clone()).or_default() += 1;
            touched.push(node.clone());
        }
        touched
    }

    fn displace(&mut self, pod: &PodKey) -> Option<NodeName> {
        let node = self.placed.remove(pod)?;
        if let Some(demand) = self.demand.get_mut(&node) {
            *demand -= 1;
        }
        Some(node)
    }
}

/// Addresses that an ENI will take once it is created; none after, as the cloud counts them then.
fn reservation(record: &EniRecord) -> u32 {
    if record.id.is_none() {
        record.secondary + 1
    } else {
        0
    }
}
