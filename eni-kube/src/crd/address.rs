//! Addresses that are objects: VpcIP (`vip`), VpcIPClaim (`vipc`) and EIPClaim (`eipc`).

use serde_json::{Value, json};

use super::{
    Definition,
    schema::{address, count, kind, list, object, text, word},
};

pub(super) fn vpc_ip() -> Definition {
    let spec = json!({
        "type": text("What has the address, such as Pod."),
        "namespace": text("The namespace of the pod, and of its claim."),
        "pod": text("The name of the pod, and of its claim."),
        "podUID": text("The pod that owns the address; another pod of the same name has another."),
        "node": text("The node that the pod was bound to."),
        "subnet": text("The subnet of the address."),
    });
    let status = json!({"phase": text("Attaching, Assigned, Retained or Releasing.")});
    Definition {
        kind: "VpcIP",
        plural: "vpcips",
        short: Some("vip"),
        namespaced: false,
        columns: &[
            ("Type", "string", ".spec.type"),
            ("Namespace", "string", ".spec.namespace"),
            ("Pod", "string", ".spec.pod"),
            ("Phase", "string", ".status.phase"),
            ("Node", "string", ".spec.node"),
            ("Subnet", "string", ".spec.subnet"),
        ],
        schema: parts("An address of the VPC, by whose text it is named.", spec, status),
    }
}

pub(super) fn vpc_ip_claim() -> Definition {
    let spec = json!({
        "node": text("The node that the pod was bound to."),
        "subnet": text("The subnet of the address."),
        "podUID": text("The pod that owns the address; another pod of the same name has another."),
        "deletePolicy": word("Whether the address goes with the pod.", &["Immediate", "Never"]),
        "nominatedIP": address("The one address that will do."),
        "nominatedSubnets": list("The only subnets that will do, best first.", json!({"type": "string"})),
        "keepSeconds": count("For how long the address is kept without a pod; absent: for ever."),
    });
    let status = json!({
        "phase": word("Where it stands.", &["Pending", "Assigned", "Retained", "Releasing"]),
        "reason": text("Why it stands there."),
        "ip": address("The address; of two the one of IPv4."),
        "ipv6": address("The address of IPv6 beside one of IPv4."),
        "expiry": {
            "type": "string",
            "format": "date-time",
            "description": "When a kept address goes back to its subnet.",
        },
    });
    Definition {
        kind: "VpcIPClaim",
        plural: "vpcipclaims",
        short: Some("vipc"),
        namespaced: true,
        columns: &[
            ("Address", "string", ".status.ip"),
            ("Phase", "string", ".status.phase"),
            ("Node", "string", ".spec.node"),
            ("Subnet", "string", ".spec.subnet"),
            ("Policy", "string", ".spec.deletePolicy"),
        ],
        schema: parts(
            "The claim of the pod of the same name on an address.",
            spec,
            status,
        ),
    }
}

pub(super) fn eip_claim() -> Definition {
    let spec = json!({
        "deletePolicy": word("Whether the EIP goes with the pod.", &["Immediate", "Never"]),
    });
    let status = json!({
        "phase": text("Where it stands."),
        "eipID": text("Such as eip-1a2b3c4d."),
        "publicIP": address("The public address."),
    });
    Definition {
        kind: "EIPClaim",
        plural: "eipclaims",
        short: Some("eipc"),
        namespaced: true,
        columns: &[
            ("Public IP", "string", ".status.publicIP"),
            ("EIP", "string", ".status.eipID"),
            ("Phase", "string", ".status.phase"),
        ],
        schema: parts(
            "The claim of the pod of the same name on an elastic public address.",
            spec,
            status,
        ),
    }
}

fn parts(description: &str, spec: Value, status: Value) -> Value {
    kind(
        description,
        &[],
        json!({
            "spec": object("What is wanted.", &[], spec),
            "status": object("What is.", &[], status),
        }),
    )
}
