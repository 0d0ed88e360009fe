//! StaticIPConfig and UnderlayIP: kinds that TKE has and says little about. The first has a meaning of our own: what
//! pods ask of their static addresses that say nothing. The second is defined so that what a cluster holds of it stays,
//! and so that the components' roles name kinds that exist.

use serde_json::{Value, json};

use super::{
    Definition,
    schema::{count, kind, list, object, word},
};

/// The least that an address may be kept, as TKE documents: five minutes.
const LEAST_KEEP: u32 = 300;

pub(super) fn static_ip_config() -> Definition {
    Definition {
        kind: "StaticIPConfig",
        plural: "staticipconfigs",
        short: None,
        namespaced: false,
        columns: &[
            ("Namespaces", "string", ".spec.namespaces"),
            ("Policy", "string", ".spec.deletePolicy"),
        ],
        schema: static_addresses(),
    }
}

pub(super) fn underlay_ip() -> Definition {
    Definition {
        kind: "UnderlayIP",
        plural: "underlayips",
        short: None,
        namespaced: false,
        columns: &[],
        schema: open("An address of the network below the VPC."),
    }
}

fn static_addresses() -> Value {
    let mut keep = count("For how long an address is kept without a pod.");
    keep["minimum"] = json!(LEAST_KEEP);
    let text = json!({"type": "string"});
    let spec = json!({
        "namespaces": list("The namespaces that it is for; none: all.", text.clone()),
        "deletePolicy": word("Whether an address goes with its pod.", &["Immediate", "Never"]),
        "keepSeconds": keep,
        "subnets": list("The only subnets that will do, best first.", text),
    });
    kind(
        "What pods ask of their static addresses that do not say it by annotations.",
        &[],
        json!({"spec": object("What they ask for.", &[], spec), "status": object("What is.", &[], json!({}))}),
    )
}

fn open(description: &str) -> Value {
    let part = |text| object(text, &[], json!({}));
    kind(
        description,
        &[],
        json!({"spec": part("What is wanted."), "status": part("What is.")}),
    )
}
