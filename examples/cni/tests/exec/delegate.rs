//! Addresses from another IPAM plugin: Debian's host-local.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    bed::{Node, ip},
    plugin::{Exec, ROUTE_ENI},
};

crate::exec_tests![
    each_version_is_wired_checked_and_given_back,
    the_legacy_key_names_the_eni,
    an_unknown_eni_can_be_tried_again,
    what_cannot_be_wired_is_given_back,
    its_error_is_passed_on,
    several_addresses_are_refused_and_given_back,
    status_and_gc_reach_it_as_they_came,
    its_errors_of_status_and_gc_are_passed_on,
];

fn conf(node: &Node, version: &str) -> Value {
    let mut conf = node.conf(version);
    conf["ipam"] = json!({
        "type": "host-local",
        "dataDir": node.directory.path().join("host-local"),
        "ranges": [[{"subnet": "10.0.1.0/24", "rangeStart": "10.0.1.10", "rangeEnd": "10.0.1.11"}]],
    });
    conf
}

/// The addresses that host-local has given out.
fn given(node: &Node) -> Vec<String> {
    let directory: PathBuf = node.directory.path().join("host-local/pods");
    let files = fs::read_dir(directory).map(|files| {
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    });
    let files: Vec<String> = files.unwrap_or_default();
    files.into_iter().filter(|name| name.starts_with("10.")).collect()
}

fn each_version_is_wired_checked_and_given_back() {
    let node = Node::new(2);
    // Debian's host-local, 1.1.1, speaks 1.0.0 at most.
    for (n, version) in ["0.3.1", "0.4.0", "1.0.0"].into_iter().enumerate() {
        let sandbox = node.sandbox(&format!("c{n}"), &format!("p{n}"));
        let mut conf = conf(&node, version);
        let result = sandbox.exec("ADD", &conf).run().result();
        let address = given(&node).pop().unwrap();
        assert_eq!(result["ips"][0]["address"], format!("{address}/32"), "{result}");
        assert_eq!(result["ips"][0]["version"].is_string(), version != "1.0.0");
        assert!(sandbox.ip("address show dev eth0").contains(&address));
        assert!(
            !ip("rule show").contains(&format!("from {address}")),
            "without a device it leaves by the main table"
        );
        conf["prevResult"] = result;
        if version != "0.3.1" {
            sandbox.exec("CHECK", &conf).run().silent();
            ip(&format!("route delete {address}/32"));
            sandbox.exec("CHECK", &conf).run().error(102);
        }
        for _ in 0..2 {
            sandbox.exec("DEL", &conf).run().silent();
            assert!(given(&node).is_empty());
            sandbox.assert_off_the_wire();
            assert_eq!(node.leftovers(), [""; 0]);
        }
    }
    assert!(node.owners().is_empty(), "the agent was not asked");
}

fn the_legacy_key_names_the_eni() {
    let node = Node::new(2);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = conf(&node, "1.0.0");
    conf["eni"] = json!("eth1");
    conf["prevResult"] = sandbox.exec("ADD", &conf).run().result();
    assert!(
        ip("rule show").contains(&format!("lookup {}", node.link.table)),
        "{}",
        ip("rule show")
    );
    sandbox.assert_connected(&node);
    sandbox.exec("CHECK", &conf).run().silent();
    sandbox.exec("DEL", &conf).run().silent();
    assert_eq!(node.leftovers(), [""; 0]);
}

fn an_unknown_eni_can_be_tried_again() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = conf(&node, "1.0.0");
    conf["eni"] = json!("eth9");
    let error = sandbox.exec("ADD", &conf).run().error(11);
    assert!(error.contains("eth9"), "{error}");
    assert!(given(&node).is_empty());
    sandbox.assert_off_the_wire();
}

fn what_cannot_be_wired_is_given_back() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    sandbox.ip("link add name eth0 type veth peer name other");
    sandbox.exec("ADD", &conf(&node, "1.0.0")).run().error(101);
    assert!(given(&node).is_empty());
    assert_eq!(node.leftovers(), [""; 0]);
}

fn its_error_is_passed_on() {
    let node = Node::new(1);
    let sandboxes = ["c1", "c2", "c3"].map(|id| node.sandbox(id, id));
    sandboxes[..2]
        .iter()
        .for_each(|sandbox| drop(sandbox.exec("ADD", &conf(&node, "1.0.0")).run().result()));
    // 999 is what the reference library answers for everything that the specification has no code for.
    let error = sandboxes[2].exec("ADD", &conf(&node, "1.0.0")).run().error(999);
    assert!(error.contains("no IP addresses available"), "{error}");
    sandboxes[2].assert_off_the_wire();
}

fn several_addresses_are_refused_and_given_back() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = conf(&node, "1.0.0");
    conf["ipam"]["ranges"] = json!([[{"subnet": "10.0.1.0/24"}], [{"subnet": "10.0.2.0/24"}]]);
    let error = sandbox.exec("ADD", &conf).run().error(7);
    assert!(error.contains("several addresses"), "{error}");
    assert!(given(&node).is_empty());
    sandbox.assert_off_the_wire();
}

/// An IPAM plugin that notes what it is asked, and answers with the error in the file `error`, if it is there.
fn noting(node: &Node) -> (Value, PathBuf) {
    let directory = node.directory.path().join("plugins");
    fs::create_dir(&directory).unwrap();
    let program = directory.join("noting");
    // The file's path has no space in it.
    let text = format!(
        "#!/bin/sh\ncd {0}\necho $CNI_COMMAND >> commands\ncat > $CNI_COMMAND\n\
         if [ -e error ]; then cat error; exit 1; fi\n",
        directory.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut conf = node.conf("1.1.0");
    conf["ipam"] = json!({"type": "noting", "own": {"key": 1}});
    (conf, directory)
}

fn call(command: &str, conf: &Value, directory: &std::path::Path) -> Exec {
    let path = directory.to_str().unwrap();
    Exec::new(ROUTE_ENI, command, conf).with("CNI_PATH", path)
}

fn status_and_gc_reach_it_as_they_came() {
    let node = Node::new(1);
    let (mut conf, directory) = noting(&node);
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "eth0"}]);
    for command in ["STATUS", "GC"] {
        call(command, &conf, &directory).run().silent();
        let told: Value = serde_json::from_slice(&fs::read(directory.join(command)).unwrap()).unwrap();
        assert_eq!(told, conf, "{command}");
    }
    let commands = fs::read_to_string(directory.join("commands")).unwrap();
    assert_eq!(commands, "STATUS\nGC\n");
}

fn its_errors_of_status_and_gc_are_passed_on() {
    let node = Node::new(1);
    let (conf, directory) = noting(&node);
    let error = json!({"cniVersion": "1.1.0", "code": 50, "msg": "no pool", "details": "of its own"});
    fs::write(directory.join("error"), error.to_string()).unwrap();
    for command in ["STATUS", "GC"] {
        let error = call(command, &conf, &directory).run().error(50);
        assert!(error.contains("no pool (of its own)"), "{error}");
    }
}
