//! VpcENI.

use eni_core::model::{EniId, EniRecord, InstanceId, Intent, NodeName, SubnetId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{name, part};
use crate::crd::{GROUP, NODE_LABEL, VERSION};

#[derive(Serialize, Deserialize)]
struct Spec {
    token: String,
    node: NodeName,
    instance: InstanceId,
    subnet: SubnetId,
    secondary: u32,
    intent: Intent,
}

#[derive(Default, Serialize, Deserialize)]
struct Status {
    #[serde(rename = "eniID", default, skip_serializing_if = "Option::is_none")]
    id: Option<EniId>,
}

pub(crate) fn read(object: &Value) -> Result<EniRecord, String> {
    let spec: Spec = part(object, "spec")?;
    let status: Option<Status> = part(object, "status")?;
    Ok(EniRecord {
        name: name(object)?.to_owned(),
        token: spec.token,
        node: spec.node,
        instance: spec.instance,
        subnet: spec.subnet,
        secondary: spec.secondary,
        intent: spec.intent,
        id: status.unwrap_or_default().id,
    })
}

pub(crate) fn write(record: &EniRecord) -> Value {
    let spec = Spec {
        token: record.token.clone(),
        node: record.node.clone(),
        instance: record.instance.clone(),
        subnet: record.subnet.clone(),
        secondary: record.secondary,
        intent: record.intent,
    };
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VpcENI",
        "metadata": {"name": record.name, "labels": {NODE_LABEL: record.node}},
        "spec": spec,
        "status": Status { id: record.id.clone() },
    })
}
