//! What the scheduler wants back.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Serialize;
use serde_json::value::RawValue;

use super::Candidates;

/// `ExtenderFilterResult`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filtered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<NodeList<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_names: Option<Vec<Cow<'a, str>>>,
    failed_nodes: BTreeMap<Cow<'a, str>, String>,
    failed_and_unresolvable_nodes: BTreeMap<Cow<'a, str>, String>,
    error: String,
}

#[derive(Debug, Serialize)]
struct NodeList<'a> {
    metadata: Empty,
    items: Vec<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Empty {}

/// Why a node does not fit, and whether it would after somebody was evicted.
pub type Reason = (String, bool);

impl<'a> Filtered<'a> {
    /// The candidates for which `judge` gives no reason, in their order and in the form in which they came.
    pub fn by(candidates: Candidates<'a>, mut judge: impl FnMut(&str) -> Result<(), Reason>) -> Self {
        let mut filtered = Self::default();
        let (mut names, mut items) = (Vec::new(), Vec::new());
        let whole = matches!(candidates, Candidates::Objects(_));
        let mut keep = |name: Cow<'a, str>, raw: Option<&'a RawValue>| match judge(&name) {
            Ok(()) => match raw {
                Some(raw) => items.push(raw),
                None => names.push(name),
            },
            Err((reason, resolvable)) => {
                // Old schedulers know only the first map, and would leave the reason out; for newer ones the second
                // goes before it.
                if !resolvable {
                    let unresolvable = &mut filtered.failed_and_unresolvable_nodes;
                    unresolvable.insert(name.clone(), reason.clone());
                }
                filtered.failed_nodes.insert(name, reason);
            }
        };
        match candidates {
            Candidates::Names(list) => list.into_iter().for_each(|name| keep(name, None)),
            Candidates::Objects(list) => list.into_iter().for_each(|(name, raw)| keep(name, Some(raw))),
        }
        match whole {
            true => {
                let metadata = Empty {};
                filtered.nodes = Some(NodeList { metadata, items });
            }
            false => filtered.node_names = Some(names),
        }
        filtered
    }

    /// The question cannot be answered: the pod is tried again.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            error: message.into(),
            ..Self::default()
        }
    }
}

/// `HostPriority`: a node and its score.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Scored<'a> {
    /// The node.
    pub host: Cow<'a, str>,
    /// 0 to 10.
    pub score: u8,
}

/// `ExtenderBindingResult`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Binding {
    /// Why the pod was not bound; empty if it was.
    pub error: String,
}

/// `ExtenderPreemptionResult`: the nodes where evicting helps.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Preempted {
    /// By node.
    pub node_name_to_meta_victims: BTreeMap<String, Victims>,
}

/// `MetaVictims`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Victims {
    pods: Vec<MetaPod>,
    #[serde(rename = "NumPDBViolations")]
    violations: i64,
}

#[derive(Debug, Serialize)]
struct MetaPod {
    #[serde(rename = "UID")]
    uid: String,
}

impl Victims {
    /// Those with these uids, who break so many disruption budgets.
    pub fn new(uids: Vec<String>, violations: i64) -> Self {
        Self {
            pods: uids.into_iter().map(|uid| MetaPod { uid }).collect(),
            violations,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::extender::Args;

    const POD: &str = r#"{"metadata":{"name":"web-0","namespace":"shop","uid":"u-1"}}"#;

    fn filter(rest: &str) -> Value {
        let text = format!(r#"{{"Pod":{POD},{rest}}}"#);
        let candidates = Args::read(text.as_bytes()).unwrap().into_candidates().unwrap();
        let judge = |name: &str| match name {
            "full" => Err(("InsufficientIPOrENI".to_owned(), true)),
            "never" => Err(("unknown".to_owned(), false)),
            _ => Ok(()),
        };
        serde_json::from_str(&serde_json::to_string(&Filtered::by(candidates, judge)).unwrap()).unwrap()
    }

    #[test]
    fn what_fits_comes_back_as_it_came_and_what_does_not_with_its_reason() {
        let failed = json!({"full": "InsufficientIPOrENI", "never": "unknown"});
        let names = filter(r#""NodeNames":["a","full","never","b"]"#);
        assert_eq!(
            names,
            json!({
                "NodeNames": ["a", "b"], "FailedNodes": failed, "FailedAndUnresolvableNodes": {"never": "unknown"},
                "Error": "",
            })
        );
        let whole = filter(
            r#""Nodes":{"items":[{"metadata":{"name":"a"},"more":1.50},{"metadata":{"name":"full"}}]}"#,
        );
        let failed = json!({"full": "InsufficientIPOrENI"});
        assert_eq!(
            whole,
            json!({
                "Nodes": {"metadata": {}, "items": [{"metadata": {"name": "a"}, "more": 1.5}]}, "FailedNodes": failed,
                "FailedAndUnresolvableNodes": {}, "Error": "",
            })
        );
    }

    #[test]
    fn the_other_answers_have_the_names_of_the_protocol() {
        let scored = serde_json::to_value([Scored {
            host: "a".into(),
            score: 7,
        }]);
        assert_eq!(scored.unwrap(), json!([{"Host": "a", "Score": 7}]));
        let victims = Victims::new(vec!["v".to_owned()], 1);
        let preempted = Preempted {
            node_name_to_meta_victims: [("a".to_owned(), victims)].into(),
        };
        assert_eq!(
            serde_json::to_value(preempted).unwrap(),
            json!({"NodeNameToMetaVictims": {"a": {"Pods": [{"UID": "v"}], "NumPDBViolations": 1}}})
        );
        assert_eq!(
            serde_json::to_value(Binding::default()).unwrap(),
            json!({"Error": ""})
        );
    }
}
