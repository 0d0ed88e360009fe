//! StaticIPConfig and UnderlayIP: kinds that TKE has and says little about. They are defined so that what a
//! cluster holds of them stays, and so that the components' roles name kinds that exist.

use serde_json::{Value, json};

use super::{
    Definition,
    schema::{kind, object},
};

pub(super) fn static_ip_config() -> Definition {
    Definition {
        kind: "StaticIPConfig",
        plural: "staticipconfigs",
        short: None,
        namespaced: false,
        columns: &[],
        schema: open("A setting of static addresses; ipamd alone reads it."),
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

fn open(description: &str) -> Value {
    let part = |text| object(text, &[], json!({}));
    kind(
        description,
        &[],
        json!({"spec": part("What is wanted."), "status": part("What is.")}),
    )
}
