//! What the cluster's watches say, indexed by node. Synchronous: no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    cluster::{Object, Versioned, WatchEvent},
    model::{EniRecord, InstanceId, Node, NodeConfig, NodeName, Pod, PodKey, SubnetId},
};

/// What the cluster's watches say. Every change returns the nodes it concerns.
#[derive(Debug, Default)]
pub(super) struct Index {
    nodes: BTreeMap<NodeName, Node>,
    configs: BTreeMap<NodeName, Versioned<NodeConfig>>,
    records: BTreeMap<String, Versioned<EniRecord>>,
    records_of: BTreeMap<NodeName, Vec<String>>,
    /// Addresses of each subnet that planned ENIs will take and the cloud does not count yet.
    reserved: BTreeMap<SubnetId, u32>,
    placed: HashMap<PodKey, NodeName>,
    demand: BTreeMap<NodeName, u32>,
}

impl Index {
    pub(super) fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(super) fn config(&self, name: &NodeName) -> Option<&Versioned<NodeConfig>> {
        self.configs.get(name)
    }

    pub(super) fn demand(&self, name: &NodeName) -> u32 {
        self.demand.get(name).copied().unwrap_or_default()
    }

    pub(super) fn records(&self, name: &NodeName) -> Vec<Versioned<EniRecord>> {
        let names = self.records_of.get(name).into_iter().flatten();
        names.filter_map(|name| self.records.get(name)).cloned().collect()
    }

    /// The nodes that have records.
    pub(super) fn owners(&self) -> Vec<NodeName> {
        self.records_of.keys().cloned().collect()
    }

    /// The node of a record.
    pub(super) fn owner(&self, record: &str) -> Option<NodeName> {
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
        self.configs.iter().map(|(name, read)| {
            let names = self.records_of.get(name).into_iter().flatten();
            let records = names
                .filter_map(|name| self.records.get(name))
                .map(|read| &read.object);
            (&read.object, self.nodes.get(name), records)
        })
    }

    /// The instances that our objects name, and those that nodes have.
    pub(super) fn instances(&self) -> (BTreeSet<InstanceId>, BTreeSet<InstanceId>) {
        let configs = self.configs.values().map(|read| &read.object.spec.instance);
        let records = self.records.values().map(|read| &read.object.instance);
        let alive = self.nodes.values().filter_map(|node| node.instance.as_ref());
        (
            configs.chain(records).cloned().collect(),
            alive.cloned().collect(),
        )
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
        let configs = self.configs.values().map(|read| &read.object);
        let configs = configs.filter(|config| instances.contains(&config.spec.instance));
        let records = self.records.values().map(|read| &read.object);
        let records = records.filter(|record| instances.contains(&record.instance));
        let names = configs
            .map(|config| &config.name)
            .chain(records.map(|record| &record.node));
        names.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How far a node is from what it needs, roughly; the neediest is worked on first.
    pub(super) fn deficit(&self, name: &NodeName) -> u32 {
        let bound = self
            .configs
            .get(name)
            .map_or(0, |config| config.object.pool.attached());
        self.demand(name)
            .saturating_sub(u32::try_from(bound).unwrap_or(u32::MAX))
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
        match event {
            WatchEvent::Reset(all) => {
                let before = std::mem::take(&mut self.configs);
                self.configs = all
                    .into_iter()
                    .map(|read| (read.object.name.clone(), read))
                    .collect();
                before.into_keys().chain(self.configs.keys().cloned()).collect()
            }
            WatchEvent::Applied(read) => {
                let name = read.object.name.clone();
                self.configs.insert(name.clone(), read);
                vec![name]
            }
            WatchEvent::Deleted(config) => {
                self.configs.remove(&config.name);
                vec![config.name]
            }
        }
    }

    pub(super) fn apply_record(&mut self, event: WatchEvent<EniRecord>) -> Vec<NodeName> {
        match event {
            WatchEvent::Reset(all) => {
                let mut touched: Vec<_> = std::mem::take(&mut self.records_of).into_keys().collect();
                self.records.clear();
                self.reserved.clear();
                for read in all {
                    touched.push(self.put_record(read));
                }
                touched
            }
            WatchEvent::Applied(read) => vec![self.put_record(read)],
            WatchEvent::Deleted(record) => {
                self.remove_record(&record.key());
                vec![record.node]
            }
        }
    }

    /// Takes over a record that was just written, before the watch tells of it.
    pub(super) fn put_record(&mut self, read: Versioned<EniRecord>) -> NodeName {
        let (key, node) = (read.object.key(), read.object.node.clone());
        *self.reserved.entry(read.object.subnet.clone()).or_default() += reservation(&read.object);
        match self.records.insert(key.clone(), read) {
            Some(before) => self.unreserve(&before.object),
            None => self.records_of.entry(node.clone()).or_default().push(key),
        }
        node
    }

    /// Forgets a record that was just deleted, before the watch tells of it.
    pub(super) fn remove_record(&mut self, key: &str) {
        let Some(read) = self.records.remove(key) else {
            return;
        };
        self.unreserve(&read.object);
        if let Some(names) = self.records_of.get_mut(&read.object.node) {
            names.retain(|name| name != key);
        }
    }

    fn unreserve(&mut self, record: &EniRecord) {
        if let Some(reserved) = self.reserved.get_mut(&record.subnet) {
            *reserved -= reservation(record);
        }
    }

    /// Takes over a NodeENIConfig that was just written, before the watch tells of it.
    pub(super) fn put_config(&mut self, read: Versioned<NodeConfig>) {
        self.configs.insert(read.object.name.clone(), read);
    }

    /// Forgets a NodeENIConfig that was just deleted, before the watch tells of it.
    pub(super) fn remove_config(&mut self, name: &NodeName) {
        self.configs.remove(name);
    }

    pub(super) fn apply_pod(&mut self, event: WatchEvent<Pod>) -> Vec<NodeName> {
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
