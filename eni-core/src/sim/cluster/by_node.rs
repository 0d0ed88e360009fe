//! What belongs to which node, so that a change of one node costs nothing for the others.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use crate::model::NodeName;

/// Items of nodes, in order.
#[derive(Debug)]
pub(super) struct ByNode<I> {
    nodes: BTreeMap<NodeName, BTreeSet<I>>,
}

impl<I: Ord> ByNode<I> {
    pub(super) fn insert(&mut self, node: &NodeName, item: I) {
        self.nodes.entry(node.clone()).or_default().insert(item);
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, node: &NodeName, item: &Q)
    where
        I: Borrow<Q>,
    {
        if let Some(items) = self.nodes.get_mut(node) {
            items.remove(item);
            if items.is_empty() {
                self.nodes.remove(node);
            }
        }
    }

    /// The items of a node.
    pub(super) fn on(&self, node: &NodeName) -> impl Iterator<Item = &I> {
        self.nodes.get(node).into_iter().flatten()
    }
}

impl<I> Default for ByNode<I> {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
        }
    }
}
