//! No agent: ADD says so, DEL does what it can and is made good later.

use std::fs;

use serde_json::json;

use crate::{
    bed::{Node, eventually, own_run_directory},
    plugin::ENI_IPAMC,
};

crate::exec_tests![
    add_and_check_name_the_socket,
    del_leaves_no_link_and_is_replayed,
    del_for_a_vanished_namespace_leaves_no_rule_once_the_agent_is_back,
    add_names_the_port,
    del_is_spooled_for_an_agent_on_a_port,
    del_that_cannot_be_recorded_fails,
    del_of_the_ipam_plugin_is_replayed,
    a_stale_socket_is_no_agent,
    a_waiting_add_is_told_when_the_agent_stops,
];

fn add_and_check_name_the_socket() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf("1.0.0");
    conf["prevResult"] = sandbox.exec("ADD", &conf).run().result();
    node.stop_agent();
    for command in ["ADD", "CHECK"] {
        let error = sandbox.exec(command, &conf).run().error(11);
        assert!(error.contains(&node.endpoint.to_string()), "{error}");
    }
    sandbox.assert_connected(&node);
    let new = node.sandbox("c2", "b");
    new.exec("ADD", &node.conf("1.0.0")).run().error(11);
    assert_eq!(new.ip("-o link show").lines().count(), 1, "only lo");
}

fn del_leaves_no_link_and_is_replayed() {
    let node = Node::new(1);
    let (sandbox, next) = (node.sandbox("c1", "a"), node.sandbox("c2", "b"));
    let mut conf = node.conf("1.0.0");
    conf["prevResult"] = sandbox.exec("ADD", &conf).run().result();
    node.stop_agent();
    for _ in 0..2 {
        sandbox.exec("DEL", &conf).run().silent();
        assert_eq!(node.leftovers(), [""; 0]);
        assert_eq!(node.spool().list().unwrap().len(), 1);
    }
    node.start_agent();
    next.exec("ADD", &node.conf("1.0.0")).run().result();
    assert_eq!(node.owners(), ["c2"]);
    assert!(node.spool().list().unwrap().is_empty());
}

/// Neither the plugin nor the kernel knows the address any more: only the agent's journal does.
fn del_for_a_vanished_namespace_leaves_no_rule_once_the_agent_is_back() {
    let node = Node::new(1);
    let mut sandbox = node.sandbox("c1", "a");
    let conf = node.conf("0.3.1");
    sandbox.exec("ADD", &conf).run().result();
    node.stop_agent();
    sandbox.vanish();
    eventually("the kernel takes the devices away", || {
        !crate::bed::ip("-o link show").contains("eni")
    });
    sandbox.exec("DEL", &conf).run().silent();
    assert!(!node.leftovers().is_empty(), "the rules");
    node.start_agent();
    eventually("the record is replayed", || node.leftovers().is_empty());
    assert!(node.owners().is_empty());
}

fn add_names_the_port() {
    let node = Node::on_a_port(1);
    let sandbox = node.sandbox("c1", "a");
    node.stop_agent();
    let error = sandbox.exec("ADD", &node.conf("1.0.0")).run().error(11);
    assert!(error.contains("127.0.0.1:61677"), "{error}");
}

/// Its records lie beside the default socket.
fn del_is_spooled_for_an_agent_on_a_port() {
    own_run_directory();
    let node = Node::on_a_port(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    sandbox.exec("ADD", &conf).run().result();
    node.stop_agent();
    sandbox.exec("DEL", &conf).run().silent();
    assert_eq!(node.leftovers(), [""; 0]);
    assert_eq!(node.spool().list().unwrap().len(), 1);
    node.start_agent();
    eventually("the record is replayed", || {
        node.spool().list().unwrap().is_empty()
    });
    assert!(node.owners().is_empty());
}

fn del_that_cannot_be_recorded_fails() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    sandbox.exec("ADD", &conf).run().result();
    node.stop_agent();
    let spool = node.endpoint.spool_directory();
    fs::write(&spool, "").unwrap();
    let error = sandbox.exec("DEL", &conf).run().error(5);
    assert!(error.contains(spool.to_str().unwrap()), "{error}");
    fs::remove_file(&spool).unwrap();
    sandbox.exec("DEL", &conf).run().silent();
}

fn del_of_the_ipam_plugin_is_replayed() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    sandbox.exec_of(ENI_IPAMC, "ADD", &conf).run().result();
    node.stop_agent();
    sandbox.exec_of(ENI_IPAMC, "DEL", &conf).run().silent();
    node.start_agent();
    // It serves only after the replay.
    sandbox.exec_of(ENI_IPAMC, "DEL", &conf).run().silent();
    assert!(node.owners().is_empty());
}

fn a_stale_socket_is_no_agent() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    node.stop_agent();
    // The socket's file is still there; then it is gone; then even its directory is.
    let agent_api::Endpoint::Unix(socket) = &node.endpoint else {
        unreachable!()
    };
    assert!(socket.exists());
    sandbox.exec("ADD", &conf).run().error(11);
    fs::remove_file(socket).unwrap();
    sandbox.exec("ADD", &conf).run().error(11);
    fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    sandbox.exec("ADD", &conf).run().error(11);
    sandbox.exec("DEL", &conf).run().silent();
    node.start_agent();
    sandbox.exec("ADD", &conf).run().result();
}

fn a_waiting_add_is_told_when_the_agent_stops() {
    let node = Node::new(0);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf("1.0.0");
    conf["timeoutSeconds"] = json!(60);
    let waiting = sandbox.exec("ADD", &conf).start();
    crate::bed::eventually("c1 waits", || node.waiting() == 1);
    node.stop_agent();
    let error = waiting.wait().error(11);
    assert!(error.contains("stopping"), "{error}");
}
