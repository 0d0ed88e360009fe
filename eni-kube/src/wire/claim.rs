//! VpcIPClaim.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use eni_core::model::{
    Claim, ClaimPhase, ClaimRequest, DeletePolicy, NodeName, PodAddresses, PodKey, SubnetId, Uid, Workload,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{name, part};
use crate::crd::{GROUP, NODE_LABEL, VERSION};

/// Keeps a claim that somebody deleted until its address is back.
pub(crate) const FINALIZER: &str = "tke.cloud.tencent.com/vpc-ip-claim";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<NodeName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subnet: Option<SubnetId>,
    #[serde(rename = "podUID")]
    pod: Uid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete_policy: Option<DeletePolicy>,
    #[serde(rename = "nominatedIP", default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(rename = "nominatedSubnets", default, skip_serializing_if = "Vec::is_empty")]
    subnets: Vec<SubnetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_seconds: Option<u32>,
}

#[derive(Default, Serialize, Deserialize)]
struct Status {
    #[serde(default)]
    phase: ClaimPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    /// A time as text: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry: Option<String>,
}

pub(crate) fn read(object: &Value) -> Result<Claim, String> {
    let spec: Spec = part(object, "spec")?;
    let status: Option<Status> = part(object, "status")?;
    let status = status.unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str();
    let namespace = namespace.ok_or("it has no namespace")?;
    let expiry = status.expiry.map(|text| text.parse::<Timestamp>()).transpose();
    Ok(Claim {
        key: PodKey::new(namespace, name(object)?),
        request: ClaimRequest {
            policy: spec.delete_policy,
            address: spec.address,
            subnets: spec.subnets,
            keep: spec
                .keep_seconds
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        workload: owner(object)?,
        deleting: object["metadata"]["deletionTimestamp"].is_string(),
        pod: spec.pod,
        node: spec.node,
        subnet: spec.subnet,
        addresses: status.ip.into_iter().chain(status.ipv6.map(IpAddr::V6)).collect(),
        phase: status.phase,
        reason: status.reason,
        expiry: expiry.map_err(|error| format!("status: expiry: {error}"))?,
    })
}

pub(crate) fn write(claim: &Claim) -> Value {
    let request = &claim.request;
    let PodAddresses { v4, v6 } = claim.addresses;
    let spec = Spec {
        node: claim.node.clone(),
        subnet: claim.subnet.clone(),
        pod: claim.pod.clone(),
        delete_policy: request.policy,
        address: request.address,
        subnets: request.subnets.clone(),
        keep_seconds: request
            .keep
            .map(|keep| u32::try_from(keep.as_secs()).unwrap_or(u32::MAX)),
    };
    let status = Status {
        phase: claim.phase,
        reason: claim.reason.clone(),
        ip: v4.map(IpAddr::V4).or(v6.map(IpAddr::V6)),
        ipv6: v6.filter(|_| v4.is_some()),
        expiry: claim.expiry.map(|expiry| expiry.to_string()),
    };
    // A claim on no node keeps the label, without a value: left out, it would stay what it was.
    let node = claim.node.as_ref().map(NodeName::as_str).unwrap_or_default();
    let mut object = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "VpcIPClaim",
        "metadata": {
            "namespace": claim.key.namespace,
            "name": claim.key.name,
            "labels": {NODE_LABEL: node},
        },
        "spec": spec,
        "status": status,
    });
    // By this Kubernetes' collector knows with what the claim goes.
    if let Some(Workload { api, kind, name, uid }) = &claim.workload {
        object["metadata"]["ownerReferences"] =
            json!([{"apiVersion": api, "kind": kind, "name": name, "uid": uid}]);
    }
    object
}

/// A claim that does not exist yet: it is only gone once ipamd has taken its mark off, which it does when the address
/// is back.
pub(crate) fn fresh(claim: &Claim) -> Value {
    let mut object = write(claim);
    object["metadata"]["finalizers"] = json!([FINALIZER]);
    object
}

/// The workload with which the claim goes: its owner.
fn owner(object: &Value) -> Result<Option<Workload>, String> {
    let owner = &object["metadata"]["ownerReferences"][0];
    if owner.is_null() {
        return Ok(None);
    }
    let text = |field: &str| {
        let text = owner[field].as_str();
        text.ok_or_else(|| format!("metadata: ownerReferences: no {field}"))
    };
    Ok(Some(Workload {
        api: text("apiVersion")?.into(),
        kind: text("kind")?.into(),
        name: text("name")?.into(),
        uid: text("uid")?.into(),
    }))
}
