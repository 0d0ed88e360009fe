//! The core's objects as Kubernetes keeps them.

use eni_core::{
    cluster::Object,
    model::{AddressRecord, Claim, ClaimDefaults, EniRecord, Node, NodeConfig, NodeName, Pod},
};
use k8s_openapi::api::core::v1;
use kube::core::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    crd::{GROUP, NODE_LABEL, VERSION},
    item::Identified,
    wire,
};

/// Which objects of a kind concern one node, as the API server selects them.
pub(crate) enum Selector {
    /// Those whose field has the node's name.
    Field(&'static str),
    /// Those whose label has the node's name.
    Label(&'static str),
}

/// How an object of the core is kept in Kubernetes.
pub(crate) trait Kind: Object {
    /// What the API server's JSON is read as.
    type Wire: DeserializeOwned + Identified;

    /// The kind's plural.
    const PLURAL: &'static str;

    /// By what the objects of one node are selected.
    const OF_NODE: Selector;

    /// `group/version`, or `v1` for Kubernetes' own.
    fn api_version() -> String {
        format!("{GROUP}/{VERSION}")
    }

    /// The core's view of an object; the error says what is wrong, and where.
    fn read(wire: &Self::Wire) -> Result<Self, String>;

    /// The whole of an object, if it is of a kind that we write and shall be kept for that.
    fn original(wire: Self::Wire) -> Option<Value> {
        drop(wire);
        None
    }
}

/// A kind that we write.
pub(crate) trait Written: Kind<Wire = Value> {
    /// What keeps an object that somebody deleted, until we delete it.
    const FINALIZER: Option<&'static str> = None;

    /// Our part of the object: what we know, and nothing else.
    fn write(&self) -> Value;

    /// The same of an object that does not exist yet.
    fn fresh(&self) -> Value {
        self.write()
    }
}

impl Kind for NodeConfig {
    type Wire = Value;
    const PLURAL: &'static str = "nodeeniconfigs";
    const OF_NODE: Selector = Selector::Field("metadata.name");

    fn read(wire: &Value) -> Result<Self, String> {
        wire::node_config::read(wire)
    }

    fn original(wire: Value) -> Option<Value> {
        Some(wire)
    }
}

impl Written for NodeConfig {
    fn write(&self) -> Value {
        wire::node_config::write(self)
    }

    fn fresh(&self) -> Value {
        wire::node_config::fresh(self)
    }
}

impl Kind for EniRecord {
    type Wire = Value;
    const PLURAL: &'static str = "vpcenis";
    const OF_NODE: Selector = Selector::Label(NODE_LABEL);

    fn read(wire: &Value) -> Result<Self, String> {
        wire::eni_record::read(wire)
    }

    fn original(wire: Value) -> Option<Value> {
        Some(wire)
    }
}

impl Written for EniRecord {
    fn write(&self) -> Value {
        wire::eni_record::write(self)
    }
}

impl Kind for Claim {
    type Wire = Value;
    const PLURAL: &'static str = "vpcipclaims";
    const OF_NODE: Selector = Selector::Label(NODE_LABEL);

    fn read(wire: &Value) -> Result<Self, String> {
        wire::claim::read(wire)
    }

    fn original(wire: Value) -> Option<Value> {
        Some(wire)
    }
}

impl Written for Claim {
    const FINALIZER: Option<&'static str> = Some(wire::claim::FINALIZER);

    fn write(&self) -> Value {
        wire::claim::write(self)
    }

    fn fresh(&self) -> Value {
        wire::claim::fresh(self)
    }
}

impl Kind for AddressRecord {
    type Wire = Value;
    const PLURAL: &'static str = "vpcips";
    const OF_NODE: Selector = Selector::Label(NODE_LABEL);

    fn read(wire: &Value) -> Result<Self, String> {
        wire::address_record::read(wire)
    }

    fn original(wire: Value) -> Option<Value> {
        Some(wire)
    }
}

impl Written for AddressRecord {
    fn write(&self) -> Value {
        wire::address_record::write(self)
    }
}

impl Kind for ClaimDefaults {
    type Wire = Value;
    const PLURAL: &'static str = "staticipconfigs";
    const OF_NODE: Selector = Selector::Label(NODE_LABEL);

    fn read(wire: &Value) -> Result<Self, String> {
        wire::claim_defaults::read(wire)
    }
}

impl Kind for Pod {
    type Wire = v1::Pod;
    const PLURAL: &'static str = "pods";
    const OF_NODE: Selector = Selector::Field("spec.nodeName");

    fn api_version() -> String {
        "v1".to_owned()
    }

    fn read(wire: &v1::Pod) -> Result<Self, String> {
        crate::pod(wire).map_err(|error| error.to_string())
    }
}

impl Kind for Node {
    type Wire = v1::Node;
    const PLURAL: &'static str = "nodes";
    const OF_NODE: Selector = Selector::Field("metadata.name");

    fn api_version() -> String {
        "v1".to_owned()
    }

    fn read(wire: &v1::Node) -> Result<Self, String> {
        crate::node(wire).map_err(|error| error.to_string())
    }
}

/// Requests for the objects of a kind.
pub(crate) fn requests<T: Kind>(namespace: Option<&str>) -> Request {
    let version = T::api_version();
    let root = if version.contains('/') { "apis" } else { "api" };
    let place = match namespace {
        Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{}", T::PLURAL),
        None => format!("/{root}/{version}/{}", T::PLURAL),
    };
    Request::new(place)
}

/// A key in its parts: the namespace, if it has one, and the name.
pub(crate) fn parts(key: &str) -> (Option<&str>, &str) {
    match key.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, key),
    }
}

/// The label or field selector of what concerns a node: `(fields, labels)`.
pub(crate) fn selectors<T: Kind>(node: Option<&NodeName>) -> (Option<String>, Option<String>) {
    let Some(node) = node else {
        return (None, None);
    };
    match T::OF_NODE {
        Selector::Field(field) => (Some(format!("{field}={node}")), None),
        Selector::Label(label) => (None, Some(format!("{label}={node}"))),
    }
}
