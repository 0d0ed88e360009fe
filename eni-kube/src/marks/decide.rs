//! How a node shall be marked. Pure.

use std::collections::BTreeMap;

use eni_core::{cluster::Object, model::NodeName};
use k8s_openapi::{api::core::v1, apimachinery::pkg::api::resource::Quantity};

use super::{CONDITION, NodeMarkOptions, RESOURCE, TAINT};

/// The effect of the taint: pods that run stay.
const EFFECT: &str = "NoSchedule";

/// What a Node object says of its addresses for pods, and how it is marked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MarkedNode {
    pub(super) name: NodeName,
    /// It advertises no address; `None` for a node without an instance, such as a super node, which never will.
    pub(super) lacks: Option<bool>,
    pub(super) taints: Vec<v1::Taint>,
    /// What the condition says; `None` without one.
    pub(super) condition: Option<bool>,
}

impl Object for MarkedNode {
    const KIND: &'static str = "Node";

    fn key(&self) -> String {
        self.name.to_string()
    }

    fn node(&self) -> Option<&NodeName> {
        Some(&self.name)
    }
}

impl MarkedNode {
    /// Reads a Node object.
    pub(crate) fn read(object: &v1::Node) -> Result<Self, String> {
        let node = crate::node(object).map_err(|error| error.to_string())?;
        let status = object.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let condition = conditions
            .into_iter()
            .flatten()
            .find(|found| found.type_ == CONDITION);
        let taints = object.spec.as_ref().and_then(|spec| spec.taints.clone());
        Ok(Self {
            name: node.name,
            lacks: node.instance.map(|_| !advertises(allocatable)),
            taints: taints.unwrap_or_default(),
            condition: condition.map(|condition| condition.status == "True"),
        })
    }
}

fn advertises(allocatable: Option<&BTreeMap<String, Quantity>>) -> bool {
    let quantity = allocatable.and_then(|resources| resources.get(RESOURCE));
    quantity.is_some_and(|quantity| !matches!(quantity.0.as_str(), "" | "0"))
}

/// What to write of a node.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    /// All taints as they shall be.
    pub(super) taints: Option<Vec<v1::Taint>>,
    /// What the condition shall say.
    pub(super) condition: Option<bool>,
}

/// How the marks of a node differ from what `options` want; a mark that is not wanted is nobody's here.
pub(super) fn decide(node: &MarkedNode, options: NodeMarkOptions) -> Change {
    let Some(lacks) = node.lacks else {
        return Change::default();
    };
    let ours = |taint: &&v1::Taint| taint.key == TAINT;
    let tainted = node.taints.iter().any(|taint| ours(&taint));
    let taints = (options.taint && tainted != lacks).then(|| {
        let others = node.taints.iter().filter(|taint| !ours(taint)).cloned();
        let added = lacks.then(|| v1::Taint {
            key: TAINT.to_owned(),
            value: Some("true".to_owned()),
            effect: EFFECT.to_owned(),
            time_added: None,
        });
        others.chain(added).collect()
    });
    let condition = (options.condition && node.condition != Some(lacks)).then_some(lacks);
    Change { taints, condition }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const BOTH: NodeMarkOptions = NodeMarkOptions {
        condition: true,
        taint: true,
    };

    fn node(provider: &str, allocatable: Value, taints: &[&str], condition: Option<&str>) -> MarkedNode {
        let taint = |key: &&str| json!({"key": key, "effect": "NoSchedule"});
        let conditions = condition.map(|status| json!({"type": CONDITION, "status": status}));
        let object = json!({
            "metadata": {"name": "node-1", "uid": "u-1"},
            "spec": {"providerID": provider, "taints": taints.iter().map(taint).collect::<Vec<_>>()},
            "status": {"allocatable": allocatable, "conditions": conditions.into_iter().collect::<Vec<_>>()},
        });
        MarkedNode::read(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn keys(change: &Change) -> Option<Vec<&str>> {
        let taints = change.taints.as_ref()?;
        Some(taints.iter().map(|taint| taint.key.as_str()).collect())
    }

    #[test]
    fn a_node_without_addresses_is_marked_and_keeps_what_others_put_there() {
        for nothing in [json!({}), json!({RESOURCE: "0"}), json!({"cpu": "4"})] {
            let change = decide(&node("qcloud:///1/ins-1", nothing, &["theirs"], None), BOTH);
            assert_eq!(keys(&change), Some(vec!["theirs", TAINT]));
            assert_eq!(change.condition, Some(true));
        }
    }

    #[test]
    fn the_marks_go_with_the_first_address() {
        let full = node(
            "qcloud:///1/ins-1",
            json!({RESOURCE: "5"}),
            &[TAINT, "theirs"],
            Some("True"),
        );
        let change = decide(&full, BOTH);
        assert_eq!(keys(&change), Some(vec!["theirs"]));
        assert_eq!(change.condition, Some(false));
    }

    #[test]
    fn what_is_right_or_not_wanted_is_not_written() {
        let none = Change::default();
        let marked = node("qcloud:///1/ins-1", json!({}), &[TAINT], Some("True"));
        assert_eq!(decide(&marked, BOTH), none);
        let well = node("qcloud:///1/ins-1", json!({RESOURCE: "5"}), &[], Some("False"));
        assert_eq!(decide(&well, BOTH), none);
        let bare = node("qcloud:///1/ins-1", json!({}), &[], None);
        let off = NodeMarkOptions::default();
        assert_eq!(decide(&bare, off), none);
        assert_eq!(
            decide(&bare, NodeMarkOptions { taint: true, ..off }).condition,
            None
        );
        assert_eq!(
            decide(
                &bare,
                NodeMarkOptions {
                    condition: true,
                    ..off
                }
            )
            .taints,
            None
        );
    }

    #[test]
    fn a_node_without_an_instance_is_left_alone() {
        let super_node = node("qcloud:///1/eklet-1", json!({}), &[], None);
        assert_eq!(decide(&super_node, BOTH), Change::default());
    }
}
