//! VpcIP.

use eni_core::model::{AddressRecord, ClaimPhase, NodeName, PodKey, SubnetId, Uid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{name, part};
use crate::crd::{GROUP, NODE_LABEL, VERSION};

/// What has an address that a claim has.
const POD: &str = "Pod";

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(rename = "podUID", default, skip_serializing_if = "Option::is_none")]
    pod_uid: Option<Uid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<NodeName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subnet: Option<SubnetId>,
}

/// Where an address stands, in TKE's words where it has some.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
enum Phase {
    #[default]
    Attaching,
    Assigned,
    Retained,
    Releasing,
    /// Somebody else's word.
    #[serde(other, skip_serializing)]
    Other,
}

#[derive(Default, Serialize, Deserialize)]
struct Status {
    #[serde(default)]
    phase: Phase,
}

pub(crate) fn read(object: &Value) -> Result<AddressRecord, String> {
    let name = name(object)?;
    let address = name.parse().or_else(|_| name.replace('-', ":").parse());
    let ip = address.map_err(|_| format!("its name, {name}, is no address"))?;
    let spec: Option<Spec> = part(object, "spec")?;
    let status: Option<Status> = part(object, "status")?;
    let spec = spec.unwrap_or_default();
    let ours = spec.kind.as_deref() == Some(POD);
    let claim = match (spec.namespace, spec.pod, spec.pod_uid) {
        (Some(namespace), Some(pod), Some(uid)) if ours => Some((PodKey::new(namespace, pod), uid)),
        _ => None,
    };
    Ok(AddressRecord {
        ip,
        claim,
        node: spec.node,
        subnet: spec.subnet,
        phase: match status.unwrap_or_default().phase {
            Phase::Attaching | Phase::Other => ClaimPhase::Pending,
            Phase::Assigned => ClaimPhase::Assigned,
            Phase::Retained => ClaimPhase::Retained,
            Phase::Releasing => ClaimPhase::Releasing,
        },
    })
}

pub(crate) fn write(record: &AddressRecord) -> Value {
    let (key, uid) = record.claim.clone().unzip();
    let spec = Spec {
        kind: key.is_some().then(|| POD.to_owned()),
        namespace: key.as_ref().map(|key| key.namespace.to_string()),
        pod: key.map(|key| key.name.to_string()),
        pod_uid: uid,
        node: record.node.clone(),
        subnet: record.subnet.clone(),
    };
    let phase = match record.phase {
        ClaimPhase::Pending => Phase::Attaching,
        ClaimPhase::Assigned => Phase::Assigned,
        ClaimPhase::Retained => Phase::Retained,
        ClaimPhase::Releasing => Phase::Releasing,
    };
    // One on no node keeps the label, without a value: left out, it would stay what it was.
    let node = record.node.as_ref().map(NodeName::as_str).unwrap_or_default();
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VpcIP",
        "metadata": {
            "name": AddressRecord::name(record.ip),
            "labels": {NODE_LABEL: node},
        },
        "spec": spec,
        "status": Status { phase },
    })
}
