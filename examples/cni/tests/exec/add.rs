//! ADD: its results, its waiting, and what it leaves behind when it fails.

use serde_json::{Value, json};

use crate::{
    bed::{Node, eventually},
    plugin::ENI_IPAMC,
};

crate::exec_tests![
    each_version_has_its_shape,
    a_pod_reaches_the_world,
    the_same_add_twice_has_the_same_result,
    an_ipam_add_has_addresses_only,
    a_loopback_port_serves_too,
    both_families_go_on_one_wire,
    a_second_interface_is_another_one,
    a_second_sandbox_of_a_pod_has_its_own_address,
    an_empty_pool_is_waited_for_and_then_explained,
    waiters_are_served_in_order,
    a_killed_waiter_leaves_nothing,
    what_cannot_be_wired_is_given_back,
];

/// The MAC of an interface, as the kernel prints it.
fn mac(link: &str) -> String {
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap().to_owned()
}

fn each_version_has_its_shape() {
    let node = Node::new(1);
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        has_its_shape(&node, version);
    }
}

fn has_its_shape(node: &Node, version: &str) {
    let sandbox = node.sandbox("c1", "a");
    let result = sandbox.exec("ADD", &node.conf(version)).run().result();
    // Of the SHA-1 of `default.a`.
    let host = "eniacd53aa4120";
    let mut expected = json!({
        "cniVersion": version,
        "interfaces": [
            {"name": host, "mac": mac(&crate::bed::ip(&format!("-o link show dev {host}")))},
            {"name": "eth0", "mac": mac(&sandbox.ip("-o link show dev eth0")), "sandbox": sandbox.netns()},
        ],
        "ips": [{"interface": 1, "address": "10.0.1.10/32", "gateway": "169.254.1.1"}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
        "dns": {},
    });
    if version.starts_with("0.") {
        expected["ips"][0]["version"] = json!("4");
    }
    if version == "1.1.0" {
        expected["interfaces"][0]["mtu"] = json!(1400);
        expected["interfaces"][1]["mtu"] = json!(1400);
    }
    assert_eq!(result, expected);
    assert!(sandbox.ip("-o link show dev eth0").contains("mtu 1400"));
    sandbox.exec("DEL", &node.conf(version)).run().silent();
}

fn a_pod_reaches_the_world() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    sandbox.exec("ADD", &node.conf("1.0.0")).run().result();
    assert!(sandbox.ip("address show dev eth0").contains("10.0.1.10/32"));
    sandbox.assert_connected(&node);
    let owners = node.service().owners();
    assert_eq!(owners[0].0.to_string(), "pods/c1/eth0");
    assert_eq!(owners[0].1.pod.as_ref().unwrap().to_string(), "default/a");
    assert_eq!(owners[0].1.pod_uid.as_ref().unwrap().as_str(), "u1");
}

fn the_same_add_twice_has_the_same_result() {
    let node = Node::new(2);
    let sandbox = node.sandbox("c1", "a");
    let add = sandbox.exec("ADD", &node.conf("1.1.0"));
    let first = add.run().result();
    assert_eq!(add.run().result(), first);
    sandbox.assert_connected(&node);
    assert_eq!(node.owners(), ["c1"]);
}

fn an_ipam_add_has_addresses_only() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    let result = sandbox.exec_of(ENI_IPAMC, "ADD", &conf).run().result();
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.0.0",
            "ips": [{"address": "10.0.1.10/32", "gateway": "169.254.1.1"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
            "dns": {},
        })
    );
    assert!(node.leftovers().is_empty(), "an IPAM plugin wires nothing");
    let mut check = conf.clone();
    check["prevResult"] = result;
    sandbox.exec_of(ENI_IPAMC, "CHECK", &check).run().silent();
    check["prevResult"]["ips"][0]["address"] = json!("10.0.1.11/32");
    sandbox.exec_of(ENI_IPAMC, "CHECK", &check).run().error(102);
    sandbox.exec_of(ENI_IPAMC, "DEL", &conf).run().silent();
    assert!(node.owners().is_empty());
}

fn a_loopback_port_serves_too() {
    let node = Node::on_a_port(1);
    let sandbox = node.sandbox("c1", "a");
    sandbox.exec("ADD", &node.conf("0.3.1")).run().result();
    sandbox.assert_connected(&node);
    sandbox.exec("DEL", &node.conf("0.3.1")).run().silent();
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
}

fn both_families_go_on_one_wire() {
    let node = Node::dual(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf("0.4.0");
    let error = sandbox.exec("ADD", &conf).run().error(7);
    assert!(error.contains("disableIPv6"), "{error}");
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
    conf["disableIPv6"] = json!(false);
    let result = sandbox.exec("ADD", &conf).run().result();
    assert_eq!(
        result["ips"],
        json!([
            {"version": "4", "interface": 1, "address": "10.0.1.10/32", "gateway": "169.254.1.1"},
            {"version": "6", "interface": 1, "address": "fd00:0:0:1::10/128", "gateway": "fe80::1"},
        ])
    );
    let addresses = sandbox.ip("address show dev eth0");
    assert!(
        addresses.contains("10.0.1.10/32") && addresses.contains("fd00:0:0:1::10/128"),
        "{addresses}"
    );
    conf["prevResult"] = result;
    sandbox.exec("CHECK", &conf).run().silent();
    sandbox.exec("DEL", &conf).run().silent();
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
}

fn a_second_interface_is_another_one() {
    let node = Node::new(2);
    let sandbox = node.sandbox("c1", "a");
    let eth0 = sandbox.exec("ADD", &node.conf("1.0.0"));
    let net1 = eth0.clone().with("CNI_IFNAME", "net1");
    let (first, second) = (eth0.run().result(), net1.run().result());
    assert_ne!(first["ips"][0]["address"], second["ips"][0]["address"]);
    assert_ne!(first["interfaces"][0]["name"], second["interfaces"][0]["name"]);
    sandbox
        .exec("DEL", &node.conf("1.0.0"))
        .with("CNI_IFNAME", "net1")
        .run()
        .silent();
    sandbox.assert_connected(&node);
}

fn a_second_sandbox_of_a_pod_has_its_own_address() {
    let node = Node::new(2);
    let (old, new) = (node.sandbox("c1", "web-0"), node.sandbox("c2", "web-0"));
    let conf = node.conf("1.0.0");
    let first = old.exec("ADD", &conf).run().result();
    let second = new.exec("ADD", &conf).run().result();
    assert_eq!(first["interfaces"][0]["name"], second["interfaces"][0]["name"]);
    assert_ne!(first["ips"], second["ips"]);
    assert_eq!(node.owners(), ["c1", "c2"]);
    old.exec("DEL", &conf).run().silent();
    assert_eq!(node.owners(), ["c2"]);
    new.assert_connected(&node);
}

fn an_empty_pool_is_waited_for_and_then_explained() {
    let node = Node::new(1);
    let (first, second) = (node.sandbox("c1", "a"), node.sandbox("c2", "b"));
    first.exec("ADD", &node.conf("1.0.0")).run().result();
    let mut hasty = node.conf("1.0.0");
    hasty["timeoutSeconds"] = json!(1);
    let error = second.exec("ADD", &hasty).run().error(11);
    assert!(
        error.contains("all 1 addresses of this node are in use"),
        "{error}"
    );
    assert_eq!(node.owners(), ["c1"]);
    assert!(second.ip("-o link show").lines().count() == 1, "only lo");
}

fn waiters_are_served_in_order() {
    let node = Node::new(1);
    let sandboxes: Vec<_> = ["c1", "c2", "c3"].iter().map(|id| node.sandbox(id, id)).collect();
    let conf = node.conf("1.0.0");
    let add = |n: usize| sandboxes[n].exec("ADD", &conf);
    let del = |n: usize| sandboxes[n].exec("DEL", &conf).run().silent();
    add(0).run().result();
    let second = add(1).start();
    eventually("c2 waits", || node.waiting() == 1);
    let mut third = add(2).start();
    eventually("c3 waits", || node.waiting() == 2);
    del(0);
    second.wait().result();
    assert_eq!(node.owners(), ["c2"]);
    assert!(!third.has_ended());
    del(1);
    third.wait().result();
    sandboxes[2].assert_connected(&node);
}

fn a_killed_waiter_leaves_nothing() {
    let node = Node::new(1);
    let (first, second, third) = (
        node.sandbox("c1", "a"),
        node.sandbox("c2", "b"),
        node.sandbox("c3", "c"),
    );
    let conf = node.conf("1.0.0");
    first.exec("ADD", &conf).run().result();
    let killed = second.exec("ADD", &conf).start();
    eventually("c2 waits", || node.waiting() == 1);
    killed.kill();
    first.exec("DEL", &conf).run().silent();
    third.exec("ADD", &conf).run().result();
    assert_eq!(node.owners(), ["c3"]);
    second.exec("DEL", &conf).run().silent();
}

fn what_cannot_be_wired_is_given_back() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    sandbox.ip("link add name eth0 type veth peer name other");
    let error = sandbox.exec("ADD", &node.conf("1.0.0")).run().error(101);
    assert!(error.contains("eth0"), "{error}");
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
    sandbox.ip("link show dev eth0");
    sandbox.ip("link delete eth0");
    let result: Value = sandbox.exec("ADD", &node.conf("1.0.0")).run().result();
    assert_eq!(result["ips"][0]["address"], "10.0.1.10/32");
}
