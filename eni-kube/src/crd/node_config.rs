//! NodeENIConfig (`nec`): what ipamd and a node's agent tell each other; it bears the node's name.

use serde_json::{Value, json};

use super::{
    Definition,
    schema::{address, count, kind, list, mac, object, range, text},
};

pub(super) fn node_eni_config() -> Definition {
    Definition {
        kind: "NodeENIConfig",
        plural: "nodeeniconfigs",
        short: Some("nec"),
        namespaced: false,
        columns: &[
            ("Instance", "string", ".spec.instance"),
            ("Zone", "string", ".spec.zone"),
            ("ENIs", "integer", ".status.eniCount"),
            ("Addresses", "integer", ".status.addressCount"),
            ("Granted", "integer", ".status.granted"),
            ("Capacity", "integer", ".status.capacity"),
            ("Waiting", "integer", ".agent.short"),
        ],
        schema: kind(
            "The ENIs and addresses of the node of the same name. `spec` and `status` are ipamd's, `agent` is \
             the node agent's.",
            &["spec"],
            json!({"spec": spec(), "status": status(), "agent": agent()}),
        ),
    }
}

fn spec() -> Value {
    let warm = json!({
        "min": count("The pool grows below this number of idle addresses."),
        "max": count("The pool shrinks above this number of idle addresses."),
    });
    let limits = json!({
        "enis": count("ENIs, the primary one included."),
        "addressesPerEni": count("IPv4 addresses of an ENI, its primary address included."),
    });
    object(
        "What the node is, and what an operator sets.",
        &["instance", "nodeUid", "zone"],
        json!({
            "instance": {"type": "string", "description": "The virtual machine, such as ins-1a2b3c4d."},
            "nodeUid": text("The uid of the Node object that this was made for."),
            "zone": {"type": "string", "description": "The zone, such as ap-chengdu-1."},
            "warm": object("Overrides the cluster's warm range.", &["min", "max"], warm),
            "limits": object("What the instance can carry.", &["enis", "addressesPerEni"], limits),
            "securityGroups": list("Security groups of the node's ENIs, by priority.", text("Such as sg-1a2b3c4d.")),
            "desiredRouteENIIP": count("Addresses that the node shall have for pods on shared ENIs."),
            "maxRouteENI": count("ENIs that the node may have for pods on shared ENIs."),
            "maxIPPerENI": count("Addresses that an ENI may have."),
        }),
    )
}

fn status() -> Value {
    let eni = json!({
        "id": text("Such as eni-1a2b3c4d."),
        "mac": mac("By which the node finds the device."),
        "subnet": text("Such as subnet-1a2b3c4d."),
        "subnetCIDR": range("The subnet's range."),
        "gateway": address("The subnet's router."),
        "primary": address("The ENI's own address, which no pod gets."),
        "attached": list("Addresses that the agent may give out.", stay()),
        "releasing": list("Addresses that ipamd is taking off.", stay()),
        "evicting": list("Addresses that ipamd is taking off and no agent was told of.", address("The address.")),
        "reserved": {
            "type": "object",
            "description": "For whom alone attached addresses are: the uid of the pod whose claim has it, by address.",
            "additionalProperties": {"type": "string"},
        },
    });
    let required = [
        "id",
        "mac",
        "subnet",
        "subnetCIDR",
        "gateway",
        "primary",
        "attached",
    ];
    object(
        "The node's pool.",
        &["maximum", "capacity"],
        json!({
            "eniInfos": list("ENIs in service.", object("An ENI.", &required, eni)),
            "maximum": count("Idle addresses above this number of attached ones are offered back."),
            "capacity": count("Pods that the instance can carry at most."),
            "granted": count("Addresses that the node can attain, attached ones included."),
            "byClaim": {"type": "boolean", "description": "Pods get what is reserved for them and nothing else."},
            "eniCount": count("ENIs in service, for display."),
            "addressCount": count("Addresses for pods on them, for display."),
        }),
    )
}

fn agent() -> Value {
    object(
        "What the node's agent reports.",
        &[],
        json!({
            "withdrawn": list("Attached addresses that are not given out any more.", stay()),
            "held": count("Addresses that cool down, or are owned by sandboxes whose pods are gone."),
            "short": count("Sandboxes that wait for an address."),
            "advertised": count("Addresses that the node advertises."),
        }),
    )
}

/// One stay of an address on an ENI.
fn stay() -> Value {
    let generation = json!({
        "type": "integer",
        "format": "int64",
        "description": "A random mark of this stay.",
        "minimum": 0,
        "maximum": i32::MAX,
    });
    object(
        "An address, for one stay on an ENI.",
        &["ip", "generation"],
        json!({"ip": address("The address."), "generation": generation}),
    )
}
