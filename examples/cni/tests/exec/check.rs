//! CHECK, before and after somebody meddled.

use serde_json::{Value, json};

use crate::bed::{Node, Sandbox, ip};

crate::exec_tests![
    a_good_pod_passes,
    a_removed_rule_is_found,
    a_removed_route_is_found,
    a_removed_address_is_found,
    another_result_is_found,
    a_released_address_is_found,
    it_demands_a_result,
];

/// A pod, and the configuration by which it is checked.
fn checked(version: &str) -> (Node, Sandbox, Value) {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf(version);
    let result = sandbox.exec("ADD", &conf).run().result();
    conf["prevResult"] = result;
    (node, sandbox, conf)
}

#[track_caller]
fn finds(sandbox: &Sandbox, conf: &Value, what: &str) {
    let error = sandbox.exec("CHECK", conf).run().error(102);
    assert!(error.contains(what), "{error}");
}

fn a_good_pod_passes() {
    let (_node, sandbox, conf) = checked("0.4.0");
    sandbox.exec("CHECK", &conf).run().silent();
    sandbox.exec("CHECK", &conf).run().silent();
}

fn a_removed_rule_is_found() {
    let (_node, sandbox, conf) = checked("1.0.0");
    ip("rule delete priority 1536 from 10.0.1.10/32");
    finds(&sandbox, &conf, "1536 from 10.0.1.10");
}

fn a_removed_route_is_found() {
    let (_node, sandbox, conf) = checked("1.1.0");
    ip("route delete 10.0.1.10/32");
    finds(&sandbox, &conf, "10.0.1.10");
}

fn a_removed_address_is_found() {
    let (_node, sandbox, conf) = checked("1.0.0");
    sandbox.ip("address delete 10.0.1.10/32 dev eth0");
    finds(&sandbox, &conf, "10.0.1.10");
}

fn another_result_is_found() {
    let (_node, sandbox, conf) = checked("1.0.0");
    let changed = |pointer: &str, value: Value| {
        let mut conf = conf.clone();
        *conf.pointer_mut(pointer).unwrap() = value;
        conf
    };
    finds(
        &sandbox,
        &changed("/prevResult/ips/0/address", json!("10.0.1.77/32")),
        "10.0.1.77",
    );
    finds(&sandbox, &changed("/prevResult/ips", json!([])), "10.0.1.10");
    finds(
        &sandbox,
        &changed("/prevResult/interfaces/1/name", json!("eth9")),
        "",
    );
    finds(&sandbox, &changed("/prevResult/interfaces", json!([])), "eth0");
    // Another plugin of the chain may add addresses of its own interfaces.
    let mut more = conf.clone();
    more["prevResult"]["interfaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "br0"}));
    more["prevResult"]["ips"]
        .as_array_mut()
        .unwrap()
        .push(json!({"interface": 2, "address": "10.9.9.9/24"}));
    sandbox.exec("CHECK", &more).run().silent();
}

fn a_released_address_is_found() {
    let (_node, sandbox, conf) = checked("1.0.0");
    sandbox.exec("DEL", &conf).run().silent();
    let error = sandbox.exec("CHECK", &conf).run().error(100);
    assert!(error.contains("owns no address"), "{error}");
}

fn it_demands_a_result() {
    let (node, mut sandbox, conf) = checked("1.0.0");
    let error = sandbox.exec("CHECK", &node.conf("1.0.0")).run().error(7);
    assert!(error.contains("prevResult"), "{error}");
    sandbox.exec("CHECK", &conf).without("CNI_NETNS").run().error(4);
    sandbox.vanish();
    let error = sandbox.exec("CHECK", &conf).run().error(102);
    assert!(error.contains("the sandbox is gone"), "{error}");
}
