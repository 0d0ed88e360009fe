//! Bad input, and VERSION.

use serde_json::{Value, json};

use crate::{
    bed::Node,
    plugin::{ENI_IPAMC, Exec, ROUTE_ENI},
};

crate::exec_tests![
    version_needs_nothing,
    malformed_json_is_not_decoded,
    unsupported_versions_are_told_the_supported_ones,
    missing_variables_are_all_named,
    invalid_variables_are_named,
    unknown_commands_are_refused,
    invalid_values_name_their_key,
    a_missing_namespace_is_an_unknown_container,
    the_nodes_own_namespace_is_refused,
    unknown_keys_are_ignored,
];

fn version_needs_nothing() {
    for program in [ROUTE_ENI, ENI_IPAMC] {
        let all = json!(["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
        for (stdin, said) in [
            ("", "1.1.0"),
            ("{}", "1.1.0"),
            (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
        ] {
            let answer = Exec::new(program, "VERSION", stdin).run().result();
            assert_eq!(answer, json!({"cniVersion": said, "supportedVersions": all}));
        }
        Exec::new(program, "VERSION", "{").run().error(6);
    }
}

fn malformed_json_is_not_decoded() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    for stdin in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        "{\"cniVersion\":\"1.0.0\",",
        "{}{}",
    ] {
        for command in ["ADD", "CHECK", "DEL"] {
            let good = sandbox.exec(command, &json!(null));
            for program in [ROUTE_ENI, ENI_IPAMC] {
                let mut exec = Exec::new(program, command, stdin);
                for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"] {
                    exec = exec.with(name, good.variable(name));
                }
                exec.run().error(6);
            }
        }
    }
    assert!(node.owners().is_empty());
}

fn unsupported_versions_are_told_the_supported_ones() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    for version in ["0.1.0", "0.2.0", "0.3.0", "2.0.0", "", "x"] {
        for command in ["ADD", "CHECK", "DEL"] {
            for program in [ROUTE_ENI, ENI_IPAMC] {
                let error = sandbox
                    .exec_of(program, command, &node.conf(version))
                    .run()
                    .error(1);
                assert!(error.contains("0.3.1, 0.4.0, 1.0.0, 1.1.0"), "{error}");
            }
        }
    }
    let mut unsaid = node.conf("1.0.0");
    unsaid.as_object_mut().unwrap().remove("cniVersion");
    sandbox.exec("ADD", &unsaid).run().error(1);
    // CHECK came with 0.4.0.
    sandbox.exec("CHECK", &node.conf("0.3.1")).run().error(1);
}

fn missing_variables_are_all_named() {
    let node = Node::new(1);
    let exec = |command| Exec::new(ROUTE_ENI, command, node.conf("1.0.0"));
    let error = exec("ADD").run().error(4);
    assert!(
        error.contains("CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
        "{error}"
    );
    let error = exec("DEL").run().error(4);
    assert!(error.contains("CNI_CONTAINERID, CNI_IFNAME"), "{error}");
    let error = exec("ADD").without("CNI_COMMAND").run().error(4);
    assert!(error.contains("CNI_COMMAND"), "{error}");
}

fn invalid_variables_are_named() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let bad = [
        ("CNI_CONTAINERID", "../x"),
        ("CNI_CONTAINERID", "-x"),
        ("CNI_CONTAINERID", "a b"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_IFNAME", "sixteen-letters-"),
        ("CNI_ARGS", "K8S_POD_NAME"),
        ("CNI_ARGS", "K8S_POD_NAME=alone"),
    ];
    for (variable, value) in bad {
        for command in ["ADD", "DEL"] {
            let error = sandbox
                .exec(command, &node.conf("1.0.0"))
                .with(variable, value)
                .run()
                .error(4);
            assert!(error.contains(variable), "{variable}={value}: {error}");
        }
    }
    assert!(node.owners().is_empty());
}

fn unknown_commands_are_refused() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    for command in ["STATE", "gc", "UPDATE", "add"] {
        let error = sandbox.exec(command, &node.conf("1.1.0")).run().error(4);
        assert!(error.contains(command), "{error}");
    }
}

fn invalid_values_name_their_key() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let backend = |backend: Value| json!({"type": "tke-eni-ipamc", "backend": backend});
    let bad = [
        ("name", json!("a/b")),
        ("name", json!("")),
        ("name", json!(null)),
        ("mtu", json!("1500")),
        ("mtu", json!(0)),
        ("mtu", json!(1 << 20)),
        ("disableIPv6", json!("true")),
        ("routeTable", json!({})),
        ("timeoutSeconds", json!(0)),
        ("timeoutSeconds", json!(300)),
        ("eni", json!(["eth1"])),
        ("ipam", json!("tke-eni-ipamc")),
        ("ipam", json!({"type": "/bin/sh"})),
        ("ipam", json!({"type": "no-such-plugin"})),
        ("ipam", backend(json!(61677))),
        ("ipam", backend(json!("10.0.0.1:61677"))),
        ("ipam", backend(json!("agent.example.com:61677"))),
        ("ipam", backend(json!("unix://agent.sock"))),
    ];
    for (key, value) in bad {
        let mut conf = node.conf("0.4.0");
        conf[key] = value;
        let error = sandbox.exec("ADD", &conf).run().error(7);
        assert!(
            error.contains(&format!("key `{key}")) && error.ends_with("in 0.4.0"),
            "{conf}: {error}"
        );
    }
    let mut other = node.conf("1.0.0");
    other["ipam"] = json!({"type": "host-local"});
    let error = sandbox.exec_of(ENI_IPAMC, "ADD", &other).run().error(7);
    assert!(error.contains("ipam.type"), "{error}");
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
}

fn a_missing_namespace_is_an_unknown_container() {
    let node = Node::new(1);
    let mut sandbox = node.sandbox("c1", "a");
    let file = node.directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    sandbox.vanish();
    for path in [sandbox.netns(), file.to_str().unwrap()] {
        let error = sandbox
            .exec("ADD", &node.conf("1.0.0"))
            .with("CNI_NETNS", path)
            .run()
            .error(3);
        assert!(error.contains(path), "{error}");
    }
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
}

fn the_nodes_own_namespace_is_refused() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let own = format!(
        "/proc/{}/task/{}/ns/net",
        std::process::id(),
        nix::unistd::gettid()
    );
    let error = sandbox
        .exec("ADD", &node.conf("1.0.0"))
        .with("CNI_NETNS", &own)
        .run()
        .error(4);
    assert!(error.contains("CNI_NETNS"), "{error}");
    assert!(node.owners().is_empty() && node.leftovers().is_empty());
}

fn unknown_keys_are_ignored() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf("1.0.0");
    conf["runtimeConfig"] = json!({"portMappings": [{"hostPort": 1}]});
    conf["args"] = json!({"org.mesos": [1]});
    conf["cni.dev/valid-attachments"] = json!([]);
    conf["padding"] = json!("x".repeat(1 << 20));
    sandbox.exec("ADD", &conf).run().result();
    sandbox.exec("DEL", &conf).run().silent();
}
