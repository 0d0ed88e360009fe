//! A Node object as the core's node.

use std::collections::BTreeMap;

use eni_core::model::{InstanceId, Node, NodeName, Uid, Zone};
use jiff::Timestamp;
use k8s_openapi::api::core::v1;

use crate::error::{InvalidObject, required};

/// The scheme that Tencent's cloud provider puts before its provider ids.
const QCLOUD: &str = "qcloud";

/// What an instance's id begins with on Tencent Cloud; a super node's does not, and has no instance.
const QCLOUD_INSTANCE: &str = "ins-";

/// TKE's label with the instance id, on nodes of every kind that has one.
const INSTANCE_LABEL: &str = "cloud.tencent.com/node-instance-id";

/// Labels that may hold the zone, best first.
///
/// On TKE the two common ones hold the zone's number (`160001`), which no subnet bears; its block storage
/// driver's label holds the name (`ap-chengdu-1`).
const ZONE_LABELS: [&str; 3] = [
    "topology.com.tencent.cloud.csi.cbs/zone",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/zone",
];

/// The core's view of a Node object.
///
/// The instance is read from `spec.providerID`, the zone from the labels; either is `None` where they do not
/// tell, as on a node that its cloud provider has not initialised yet.
pub fn node(object: &v1::Node) -> Result<Node, InvalidObject> {
    let meta = &object.metadata;
    let field = |field, value| required("Node", meta, field, value);
    let provider_id = object.spec.as_ref().and_then(|spec| spec.provider_id.as_deref());
    let labels = meta.labels.as_ref();
    Ok(Node {
        name: NodeName::from(field("name", &meta.name)?),
        uid: Uid::from(field("uid", &meta.uid)?),
        instance: instance(provider_id, labels),
        zone: labels.and_then(zone),
        max_pods: max_pods(object),
        silent: silent(object),
    })
}

/// `qcloud:///160001/ins-1a2b3c4d` means `ins-1a2b3c4d`, and so for every `scheme://…/id`. The label is
/// asked only where there is no provider id: that one is set once and can not be edited.
fn instance(provider_id: Option<&str>, labels: Option<&BTreeMap<String, String>>) -> Option<InstanceId> {
    let Some(provider_id) = provider_id.filter(|id| !id.is_empty()) else {
        let id = labels?.get(INSTANCE_LABEL)?;
        return (!id.is_empty()).then(|| InstanceId::from(id));
    };
    let (scheme, path) = provider_id.split_once("://")?;
    let id = path.rsplit('/').next().filter(|id| !id.is_empty())?;
    (scheme != QCLOUD || id.starts_with(QCLOUD_INSTANCE)).then(|| InstanceId::from(id))
}

/// The pods that kubelet says it takes.
fn max_pods(object: &v1::Node) -> Option<u32> {
    let capacity = object.status.as_ref()?.capacity.as_ref()?;
    capacity.get("pods")?.0.parse().ok()
}

/// Since when the node controller has not heard of the kubelet: that is what it means by `Unknown`. One that says
/// itself that it is not ready is alive, and so may its pods be.
fn silent(object: &v1::Node) -> Option<Timestamp> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let mut ready = conditions.iter().filter(|condition| condition.type_ == "Ready");
    let unknown = ready.find(|condition| condition.status == "Unknown")?;
    Some(unknown.last_transition_time.as_ref()?.0)
}

fn zone(labels: &BTreeMap<String, String>) -> Option<Zone> {
    ZONE_LABELS
        .iter()
        .filter_map(|label| labels.get(*label))
        .find(|zone| zone.chars().any(|c| !c.is_ascii_digit()))
        .map(Zone::from)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    };

    use super::*;

    fn object(provider_id: Option<&str>, labels: &[(&str, &str)]) -> v1::Node {
        v1::Node {
            metadata: ObjectMeta {
                name: Some("node-1".into()),
                uid: Some("u-1".into()),
                labels: Some(
                    labels
                        .iter()
                        .map(|(key, value)| (key.to_string(), value.to_string()))
                        .collect(),
                ),
                ..Default::default()
            },
            spec: Some(v1::NodeSpec {
                provider_id: provider_id.map(Into::into),
                ..Default::default()
            }),
            status: Some(v1::NodeStatus {
                capacity: Some([("pods".into(), Quantity("64".into()))].into()),
                ..Default::default()
            }),
        }
    }

    #[test]
    fn a_node_of_tke_has_its_instance_and_the_name_of_its_zone() {
        let labels = [
            ("failure-domain.beta.kubernetes.io/zone", "160001"),
            ("topology.com.tencent.cloud.csi.cbs/zone", "ap-chengdu-1"),
            (INSTANCE_LABEL, "ins-1a2b3c4d"),
        ];
        let node = node(&object(Some("qcloud:///160001/ins-1a2b3c4d"), &labels)).unwrap();
        let expected = Node {
            name: NodeName::from("node-1"),
            uid: Uid::from("u-1"),
            instance: Some(InstanceId::from("ins-1a2b3c4d")),
            zone: Some(Zone::from("ap-chengdu-1")),
            max_pods: Some(64),
            silent: None,
        };
        assert_eq!(node, expected);
    }

    #[test]
    fn each_form_of_a_provider_id_gives_its_instance_or_none() {
        for (provider_id, expected) in [
            (Some("qcloud:///100003/ins-abcdefgh"), Some("ins-abcdefgh")),
            (Some("qcloud:///ins-abcdefgh"), Some("ins-abcdefgh")),
            (Some("sim:///zone-1/i-7"), Some("i-7")),
            (Some("qcloud:///100003/eklet-subnet-1"), None),
            (Some("qcloud:///100003/"), None),
            (Some("ins-abcdefgh"), None),
            (Some(""), None),
            (None, None),
        ] {
            let found = node(&object(provider_id, &[])).unwrap().instance;
            assert_eq!(found, expected.map(InstanceId::from), "{provider_id:?}");
        }
    }

    #[test]
    fn the_label_names_the_instance_only_where_no_provider_id_does() {
        let labels = [(INSTANCE_LABEL, "ins-label")];
        let instance = |provider_id| node(&object(provider_id, &labels)).unwrap().instance;
        assert_eq!(instance(None), Some(InstanceId::from("ins-label")));
        assert_eq!(
            instance(Some("qcloud:///1/ins-id")),
            Some(InstanceId::from("ins-id"))
        );
        assert_eq!(instance(Some("qcloud:///1/eklet-1")), None);
    }

    #[test]
    fn the_number_of_a_zone_is_not_its_name() {
        let zone = |labels: &[(&str, &str)]| node(&object(None, labels)).unwrap().zone;
        assert_eq!(zone(&[("topology.kubernetes.io/zone", "160001")]), None);
        assert_eq!(zone(&[("topology.kubernetes.io/zone", "")]), None);
        let common = [("topology.kubernetes.io/zone", "zone-a")];
        assert_eq!(zone(&common), Some(Zone::from("zone-a")));
        let beta = [
            ("topology.kubernetes.io/zone", "160001"),
            ("failure-domain.beta.kubernetes.io/zone", "zone-b"),
        ];
        assert_eq!(zone(&beta), Some(Zone::from("zone-b")));
    }

    #[test]
    fn a_kubelet_is_silent_only_where_nothing_was_heard_of_it() {
        let since: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (status, expected) in [("True", None), ("False", None), ("Unknown", Some(since))] {
            let mut object = object(None, &[]);
            object.status.as_mut().unwrap().conditions = Some(vec![v1::NodeCondition {
                type_: "Ready".to_owned(),
                status: status.to_owned(),
                last_transition_time: Some(Time(since)),
                ..Default::default()
            }]);
            assert_eq!(node(&object).unwrap().silent, expected, "{status}");
        }
    }

    #[test]
    fn a_bare_node_is_known_by_its_name_alone() {
        let mut object = object(None, &[]);
        (object.spec, object.metadata.labels) = (None, None);
        let node = node(&object).unwrap();
        assert_eq!((node.instance, node.zone), (None, None));
    }

    #[test]
    fn a_node_without_name_is_an_error() {
        let mut object = object(None, &[]);
        object.metadata.name = None;
        let error = node(&object).unwrap_err();
        assert!(
            error.to_string().starts_with("Node (unnamed) has no name"),
            "{error}"
        );
    }
}
