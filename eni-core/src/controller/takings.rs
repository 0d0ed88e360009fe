//! What nodes that are being worked on are about to take from the subnets.

use std::collections::BTreeMap;

use super::Action;
use crate::model::{NodeName, SubnetId};

/// Addresses that plans under way will take, so that nodes planned at the same time do not choose the same
/// last ones.
#[derive(Debug, Default)]
pub(super) struct Takings {
    of: BTreeMap<NodeName, BTreeMap<SubnetId, u32>>,
}

impl Takings {
    /// Notes what a node's plan will take.
    pub(super) fn note(&mut self, node: &NodeName, actions: &[Action]) {
        let mut taking = BTreeMap::new();
        for action in actions {
            let (subnet, count) = match action {
                Action::Plan { subnet, secondary } => (subnet, secondary + 1),
                Action::Assign { subnet, count, .. } => (subnet, *count),
                _ => continue,
            };
            *taking.entry(subnet.clone()).or_default() += count;
        }
        if !taking.is_empty() {
            self.of.insert(node.clone(), taking);
        }
    }

    /// The plan was carried out, or was not: what it took is counted elsewhere now.
    pub(super) fn settle(&mut self, node: &NodeName) {
        self.of.remove(node);
    }

    /// What the plans under way will take from a subnet.
    pub(super) fn on(&self, subnet: &SubnetId) -> u32 {
        self.of.values().filter_map(|taking| taking.get(subnet)).sum()
    }
}
