//! STATUS and GC: about the network as a whole.

use serde_json::{Value, json};

use crate::{
    bed::{Node, eventually, ip},
    plugin::{ENI_IPAMC, Exec, ROUTE_ENI},
};

crate::exec_tests![
    status_is_silent_while_the_agent_serves,
    a_full_node_is_ready,
    status_without_an_agent_names_the_socket,
    a_node_without_an_eni_is_not_available,
    they_came_with_1_1_0,
    gc_takes_what_died_and_spares_what_lives,
    gc_takes_only_its_own_networks,
    gc_without_a_list_takes_nothing,
    gc_without_an_agent_can_be_tried_again,
];

/// A call about the network, as a runtime makes it: without an interface.
fn call(program: &str, command: &str, conf: &Value) -> Exec {
    Exec::new(program, command, conf)
}

fn valid(node: &Node, containers: &[&str]) -> Value {
    let mut conf = node.conf("1.1.0");
    let attachments = containers
        .iter()
        .map(|id| json!({"containerID": id, "ifname": "eth0"}));
    conf["cni.dev/valid-attachments"] = attachments.collect();
    conf
}

fn status_is_silent_while_the_agent_serves() {
    let node = Node::new(1);
    for program in [ROUTE_ENI, ENI_IPAMC] {
        call(program, "STATUS", &node.conf("1.1.0")).run().silent();
    }
}

fn a_full_node_is_ready() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    sandbox.exec("ADD", &node.conf("1.1.0")).run().result();
    call(ROUTE_ENI, "STATUS", &node.conf("1.1.0")).run().silent();
}

fn status_without_an_agent_names_the_socket() {
    let node = Node::new(1);
    node.stop_agent();
    for program in [ROUTE_ENI, ENI_IPAMC] {
        let error = call(program, "STATUS", &node.conf("1.1.0")).run().error(50);
        assert!(error.contains(&node.endpoint.to_string()), "{error}");
    }
}

fn a_node_without_an_eni_is_not_available() {
    let mut node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    node.stop_agent();
    let enis = std::mem::take(&mut node.pool.enis);
    node.start_agent();
    let error = call(ROUTE_ENI, "STATUS", &node.conf("1.1.0")).run().error(50);
    assert!(error.contains("no ENI"), "{error}");
    node.stop_agent();
    node.pool.enis = enis;
    node.start_agent();
    sandbox.exec("ADD", &node.conf("1.1.0")).run().result();
    node.stop_agent();
    node.pool.enis.clear();
    node.start_agent();
    // A pod runs, and its ENI has left.
    call(ROUTE_ENI, "STATUS", &node.conf("1.1.0")).run().error(51);
}

fn they_came_with_1_1_0() {
    let node = Node::new(1);
    for command in ["STATUS", "GC"] {
        for version in ["0.3.1", "1.0.0"] {
            let error = call(ROUTE_ENI, command, &node.conf(version)).run().error(1);
            assert!(error.contains(command) && error.contains("1.1.0"), "{error}");
        }
    }
}

fn gc_takes_what_died_and_spares_what_lives() {
    let node = Node::new(3);
    let mut dead = node.sandbox("dead", "a");
    let (forgotten, kept) = (node.sandbox("forgotten", "b"), node.sandbox("kept", "c"));
    for sandbox in [&dead, &forgotten, &kept] {
        sandbox.exec("ADD", &node.conf("1.1.0")).run().result();
    }
    dead.vanish();
    eventually("the kernel takes one pod's device away", || {
        ip("-o link show group 225").lines().count() == 2
    });
    call(ROUTE_ENI, "GC", &valid(&node, &["kept"])).run().silent();
    // The runtime does not list it, and its device proves that it lives.
    assert_eq!(node.owners(), ["forgotten", "kept"]);
    forgotten.assert_connected(&node);
    kept.assert_connected(&node);
    assert!(!ip("rule show").contains("10.0.1.10"), "{}", ip("rule show"));
}

fn gc_takes_only_its_own_networks() {
    let node = Node::new(2);
    let mut sandboxes = [node.sandbox("c1", "a"), node.sandbox("c2", "b")];
    sandboxes[0].exec("ADD", &node.conf("1.1.0")).run().result();
    let mut other = node.conf("1.1.0");
    other["name"] = json!("other");
    sandboxes[1].exec("ADD", &other).run().result();
    sandboxes.iter_mut().for_each(|sandbox| sandbox.vanish());
    eventually("the kernel takes the devices away", || {
        ip("-o link show group 225").is_empty()
    });
    call(ENI_IPAMC, "GC", &valid(&node, &[])).run().silent();
    assert_eq!(node.owners(), ["c2"]);
    let mut conf = valid(&node, &[]);
    conf["name"] = json!("other");
    call(ROUTE_ENI, "GC", &conf).run().silent();
    assert!(node.owners().is_empty());
    assert_eq!(node.leftovers(), [""; 0]);
}

fn gc_without_a_list_takes_nothing() {
    let node = Node::new(1);
    let mut sandbox = node.sandbox("c1", "a");
    sandbox.exec("ADD", &node.conf("1.1.0")).run().result();
    sandbox.vanish();
    eventually("the kernel takes the device away", || {
        ip("-o link show group 225").is_empty()
    });
    let error = call(ROUTE_ENI, "GC", &node.conf("1.1.0")).run().error(7);
    assert!(error.contains("cni.dev/valid-attachments"), "{error}");
    for broken in [json!("c1"), json!([{"containerID": "c1"}]), json!([{}])] {
        let mut conf = node.conf("1.1.0");
        conf["cni.dev/valid-attachments"] = broken;
        call(ROUTE_ENI, "GC", &conf).run().error(7);
    }
    assert_eq!(node.owners(), ["c1"]);
}

fn gc_without_an_agent_can_be_tried_again() {
    let node = Node::new(1);
    node.stop_agent();
    call(ROUTE_ENI, "GC", &valid(&node, &[])).run().error(11);
}
