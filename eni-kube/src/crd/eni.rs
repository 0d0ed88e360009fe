//! VpcENI (`veni`): ipamd's record of an ENI, there before the cloud's ENI and gone after it.

use serde_json::json;

use super::{
    Definition,
    schema::{count, kind, object, text, word},
};

pub(super) fn vpc_eni() -> Definition {
    let spec = json!({
        "token": text("The client token of the creation."),
        "node": text("The node that it serves."),
        "instance": {"type": "string", "description": "The instance behind the node."},
        "subnet": text("The subnet that it is created in."),
        "secondary": count("Secondary addresses that the creation asks for."),
        "intent": word("What is wanted of it.", &["Attached", "Deleted"]),
    });
    let status = json!({"eniID": text("The cloud's id, once the creation was answered.")});
    Definition {
        kind: "VpcENI",
        plural: "vpcenis",
        short: Some("veni"),
        namespaced: false,
        columns: &[
            ("ENI", "string", ".status.eniID"),
            ("Node", "string", ".spec.node"),
            ("Instance", "string", ".spec.instance"),
            ("Subnet", "string", ".spec.subnet"),
            ("Intent", "string", ".spec.intent"),
        ],
        schema: kind(
            "ipamd's record of an ENI, which bears the name of the cloud's ENI.",
            &["spec"],
            json!({
                "spec": object(
                    "What is wanted.",
                    &["token", "node", "instance", "subnet", "secondary", "intent"],
                    spec,
                ),
                "status": object("What the cloud answered.", &[], status),
            }),
        ),
    }
}
