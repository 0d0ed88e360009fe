//! A chain before Debian's portmap and bandwidth, executed as a runtime does it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    bed::{DEADLINE, NODE, Node, Sandbox},
    plugin::{DEBIAN_PLUGINS, Outcome, ROUTE_ENI},
};

crate::exec_tests![host_port_and_bandwidth_work_and_are_taken_down];

const HOST_PORT: u16 = 18080;
const POD_PORT: u16 = 8080;

/// The plugins of the network, with what the runtime adds to each.
fn chain(node: &Node) -> Vec<(String, Value)> {
    let with_capability = |name: &str, runtime: Value| {
        let conf = json!({"type": name, "cniVersion": "1.0.0", "name": "pods", "runtimeConfig": runtime});
        (format!("{DEBIAN_PLUGINS}/{name}"), conf)
    };
    let ports =
        json!({"portMappings": [{"hostPort": HOST_PORT, "containerPort": POD_PORT, "protocol": "tcp"}]});
    let limits = json!({"bandwidth": {
        "ingressRate": 80_000_000, "ingressBurst": 8_000_000, "egressRate": 80_000_000, "egressBurst": 8_000_000,
    }});
    vec![
        (ROUTE_ENI.to_owned(), node.conf("1.0.0")),
        with_capability("portmap", ports),
        with_capability("bandwidth", limits),
    ]
}

fn call(sandbox: &Sandbox, command: &str, plugin: &(String, Value), previous: Option<&Value>) -> Outcome {
    let mut conf = plugin.1.clone();
    if let Some(previous) = previous {
        conf["prevResult"] = previous.clone();
    }
    sandbox.exec_of(&plugin.0, command, &conf).run()
}

fn tool(arguments: &[&str]) -> String {
    let output = Command::new(arguments[0]).args(&arguments[1..]).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn host_port_and_bandwidth_work_and_are_taken_down() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "web-0");
    let chain = chain(&node);
    let result = chain.iter().fold(None, |previous: Option<Value>, plugin| {
        Some(call(&sandbox, "ADD", plugin, previous.as_ref()).result())
    });
    let result = result.unwrap();
    // Debian's portmap 1.1.1 is left out: its CHECK demands an IPv6 chain that its ADD does not make.
    for plugin in [&chain[0], &chain[2]] {
        call(&sandbox, "CHECK", plugin, Some(&result)).silent();
    }

    let host = result["interfaces"][0]["name"].as_str().unwrap();
    let qdisc = tool(&["tc", "qdisc", "show", "dev", host]);
    assert!(qdisc.contains("tbf") && qdisc.contains("rate 80Mbit"), "{qdisc}");
    reaches_host_port(&node, &sandbox);

    for plugin in chain.iter().rev() {
        call(&sandbox, "DEL", plugin, Some(&result)).silent();
    }
    assert!(node.owners().is_empty());
    assert_eq!(node.leftovers(), [""; 0]);
    assert!(!tool(&["iptables-save", "-t", "nat"]).contains(&HOST_PORT.to_string()));
}

/// A connection from beyond the router to the node's port ends in the pod, and both directions work.
fn reaches_host_port(node: &Node, sandbox: &Sandbox) {
    let listener = sandbox.listen(POD_PORT);
    let server = std::thread::spawn(move || {
        let (mut connection, peer) = listener.accept().unwrap();
        let mut question = [0; 4];
        connection.read_exact(&mut question).unwrap();
        connection.write_all(b"pong").unwrap();
        (question, peer)
    });
    let mut client = node.at_router(|| {
        let address = (NODE.parse::<std::net::IpAddr>().unwrap(), HOST_PORT).into();
        TcpStream::connect_timeout(&address, DEADLINE).expect("the host port answers")
    });
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    let (question, peer) = server.join().unwrap();
    assert_eq!((&question, &answer), (b"ping", b"pong"));
    assert_eq!(
        peer.ip(),
        client.local_addr().unwrap().ip(),
        "the pod sees who asked"
    );
}
