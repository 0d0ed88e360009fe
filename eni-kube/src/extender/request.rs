//! What the scheduler posts.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use eni_core::model::{Pod, PodKey, Uid};
use k8s_openapi::api::core::v1;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{error::InvalidObject, pod};

/// `ExtenderArgs`: a pod, and the nodes that it may go to.
#[derive(Debug, Deserialize)]
pub struct Args<'a> {
    #[serde(rename = "Pod", alias = "pod")]
    pod: v1::Pod,
    #[serde(rename = "Nodes", alias = "nodes", borrow, default)]
    nodes: Option<NodeList<'a>>,
    #[serde(
        rename = "NodeNames",
        alias = "nodeNames",
        alias = "nodenames",
        borrow,
        default
    )]
    node_names: Option<Vec<Cow<'a, str>>>,
}

#[derive(Debug, Default, Deserialize)]
struct NodeList<'a> {
    #[serde(borrow, default, deserialize_with = "or_none")]
    items: Vec<&'a RawValue>,
}

/// Go writes an empty list as null.
fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The nodes that a scheduler asks about, as it does: by name if `nodeCacheCapable` is true, else whole.
#[derive(Debug)]
pub enum Candidates<'a> {
    /// By name.
    Names(Vec<Cow<'a, str>>),
    /// Whole, with their names.
    Objects(Vec<(Cow<'a, str>, &'a RawValue)>),
}

impl<'a> Args<'a> {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// What is not as the protocol has it.
    pub fn read(text: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The pod.
    ///
    /// # Errors
    ///
    /// If it lacks a name, a namespace or a uid.
    pub fn pod(&self) -> Result<Pod, InvalidObject> {
        pod(&self.pod)
    }

    /// The nodes.
    ///
    /// # Errors
    ///
    /// If one has no name.
    pub fn into_candidates(self) -> Result<Candidates<'a>, serde_json::Error> {
        match (self.node_names, self.nodes) {
            (Some(names), _) => Ok(Candidates::Names(names)),
            (None, nodes) => {
                let items = nodes.unwrap_or_default().items;
                let named = items.into_iter().map(|raw| Ok((name(raw)?, raw)));
                Ok(Candidates::Objects(
                    named.collect::<Result<_, serde_json::Error>>()?,
                ))
            }
        }
    }
}

/// The name of an object that stays as it is. Go writes it first, so that the rest is rarely looked at.
fn name(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    let quick = raw
        .get()
        .strip_prefix(r#"{"metadata":{"name":""#)
        .and_then(|rest| {
            let name = &rest[..rest.find('"')?];
            (!name.contains('\\')).then_some(name)
        });
    match quick {
        Some(name) => Ok(Cow::Borrowed(name)),
        None => Ok(serde_json::from_str::<Named<'_>>(raw.get())?.0),
    }
}

/// An object of which only `metadata.name` is wanted.
struct Named<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Named<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Named<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with metadata.name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Meta<'a> {
                    #[serde(borrow)]
                    name: Cow<'a, str>,
                }
                let mut name = None;
                while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                    match key.as_ref() {
                        "metadata" => name = Some(map.next_value::<Meta<'_>>()?.name),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                name.map(Named)
                    .ok_or_else(|| de::Error::missing_field("metadata"))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// `ExtenderBindingArgs`: a pod, and where it shall go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BindingArgs {
    /// The pod's name.
    #[serde(rename = "PodName", alias = "podName")]
    pub pod_name: String,
    /// Its namespace.
    #[serde(rename = "PodNamespace", alias = "podNamespace")]
    pub pod_namespace: String,
    /// Its uid.
    #[serde(rename = "PodUID", alias = "podUID", alias = "podUid")]
    pub pod_uid: String,
    /// The node.
    #[serde(rename = "Node", alias = "node")]
    pub node: String,
}

impl BindingArgs {
    /// The pod's key.
    pub fn key(&self) -> PodKey {
        PodKey::new(&self.pod_namespace, &self.pod_name)
    }

    /// The pod's uid.
    pub fn uid(&self) -> Uid {
        Uid::from(self.pod_uid.as_str())
    }
}

/// `ExtenderPreemptionArgs`: a pod, and who would have to go for it on each node.
#[derive(Debug, Deserialize)]
pub struct PreemptionArgs {
    #[serde(rename = "Pod", alias = "pod")]
    pod: v1::Pod,
    #[serde(
        rename = "NodeNameToVictims",
        alias = "nodeNameToVictims",
        alias = "nodeToVictims",
        default
    )]
    victims: Option<BTreeMap<String, Group<v1::Pod>>>,
    #[serde(rename = "NodeNameToMetaVictims", alias = "nodeNameToMetaVictims", default)]
    meta_victims: Option<BTreeMap<String, Group<MetaPod>>>,
}

#[derive(Debug, Deserialize)]
struct Group<P> {
    #[serde(rename = "Pods", alias = "pods")]
    pods: Option<Vec<P>>,
    #[serde(rename = "NumPDBViolations", alias = "numPDBViolations", default)]
    violations: i64,
}

#[derive(Debug, Deserialize)]
struct MetaPod {
    #[serde(rename = "UID", alias = "uid")]
    uid: String,
}

impl PreemptionArgs {
    /// The pod.
    ///
    /// # Errors
    ///
    /// If it lacks a name, a namespace or a uid.
    pub fn pod(&self) -> Result<Pod, InvalidObject> {
        pod(&self.pod)
    }

    /// Nodes, the uids of those who would go, and how many budgets that would break.
    pub fn nodes(&self) -> Vec<(String, Vec<String>, i64)> {
        let whole = self.victims.iter().flatten().map(|(node, group)| {
            let uids = group
                .pods
                .iter()
                .flatten()
                .filter_map(|pod| pod.metadata.uid.clone());
            (node.clone(), uids.collect(), group.violations)
        });
        let meta = self.meta_victims.iter().flatten().map(|(node, group)| {
            let uids = group.pods.iter().flatten().map(|pod| pod.uid.clone());
            (node.clone(), uids.collect(), group.violations)
        });
        whole.chain(meta).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#"{"metadata":{"name":"web-0","namespace":"shop","uid":"u-1","creationTimestamp":null},"spec":{"containers":null},"status":{}}"#;

    #[test]
    fn names_come_in_the_spelling_of_new_and_old_schedulers() {
        for (pod, names) in [("Pod", "NodeNames"), ("pod", "nodenames")] {
            let text = format!(r#"{{"{pod}":{POD},"Nodes":null,"{names}":["node-1","node-2"]}}"#);
            let args = Args::read(text.as_bytes()).unwrap();
            assert_eq!(args.pod().unwrap().key, PodKey::new("shop", "web-0"));
            let Candidates::Names(found) = args.into_candidates().unwrap() else {
                panic!("names were given");
            };
            assert_eq!(found, ["node-1", "node-2"]);
        }
    }

    #[test]
    fn of_whole_nodes_the_name_is_found_wherever_it_stands() {
        let plain = r#"{"metadata":{"name":"node-1","uid":"u"},"spec":{}}"#;
        let late = r#"{"kind":"Node","spec":{"x":{"metadata":{"name":"no"}}},"metadata":{"labels":{"name":"no"},"name":"node-2"}}"#;
        let text = format!(
            r#"{{"Pod":{POD},"Nodes":{{"metadata":{{}},"items":[{plain},{late}]}},"NodeNames":null}}"#
        );
        let Candidates::Objects(found) = Args::read(text.as_bytes()).unwrap().into_candidates().unwrap()
        else {
            panic!("objects were given");
        };
        let found: Vec<_> = found
            .iter()
            .map(|(name, raw)| (name.as_ref(), raw.get()))
            .collect();
        assert_eq!(found, [("node-1", plain), ("node-2", late)]);
    }

    #[test]
    fn nothing_to_choose_from_is_an_empty_list() {
        for text in [
            format!(r#"{{"Pod":{POD},"Nodes":null,"NodeNames":null}}"#),
            format!(r#"{{"Pod":{POD},"Nodes":{{"metadata":{{}},"items":null}}}}"#),
        ] {
            let candidates = Args::read(text.as_bytes()).unwrap().into_candidates().unwrap();
            assert!(matches!(candidates, Candidates::Objects(list) if list.is_empty()));
        }
    }

    #[test]
    fn a_node_without_a_name_is_an_error() {
        let text = format!(r#"{{"Pod":{POD},"Nodes":{{"items":[{{"spec":{{}}}}]}}}}"#);
        assert!(Args::read(text.as_bytes()).unwrap().into_candidates().is_err());
    }

    #[test]
    fn a_binding_and_victims_of_either_kind_are_read() {
        let text = r#"{"PodName":"web-0","PodNamespace":"shop","PodUID":"u-1","Node":"node-1"}"#;
        let binding: BindingArgs = serde_json::from_str(text).unwrap();
        assert_eq!(
            (binding.key(), binding.uid()),
            (PodKey::new("shop", "web-0"), "u-1".into())
        );
        let meta = format!(
            r#"{{"Pod":{POD},"NodeNameToVictims":null,"NodeNameToMetaVictims":{{"node-1":{{"Pods":[{{"UID":"v"}}],"NumPDBViolations":1}}}}}}"#
        );
        let whole = format!(
            r#"{{"Pod":{POD},"NodeNameToVictims":{{"node-1":{{"Pods":[{{"metadata":{{"uid":"v"}}}}],"NumPDBViolations":1}}}}}}"#
        );
        for text in [meta, whole] {
            let args: PreemptionArgs = serde_json::from_str(&text).unwrap();
            assert_eq!(args.nodes(), [("node-1".to_owned(), vec!["v".to_owned()], 1)]);
        }
    }
}
