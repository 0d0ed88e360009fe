//! Files as the runtime leaves them, good and bad.

use serde_json::json;

use super::*;

/// What libcni keeps of an ADD of a network with this configuration.
fn kept(config: Value) -> Value {
    json!({
        "kind": "cniCacheV1", "containerId": "c1", "ifName": "eth0", "networkName": "pods",
        "config": STANDARD.encode(config.to_string()),
        "netns": "/proc/self/ns/net",
        "cniArgs": [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", "web-0"],
            ["K8S_POD_UID", "u1"]],
        "result": {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eni07eaad73233"}, {"name": "eth0", "sandbox": "/proc/self/ns/net"}],
            "ips": [{"interface": 1, "address": "10.0.1.10/32", "gateway": "169.254.1.1"}],
            "dns": {},
        },
    })
}

fn ours() -> Value {
    json!({"name": "pods", "plugins": [{"type": "tke-route-eni"}, {"type": "portmap"}]})
}

fn read(files: &[(&str, String)]) -> Vec<CachedResult> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    read_all(&[directory.path().join("not-there"), directory.path().to_owned()])
}

#[test]
fn a_result_tells_its_owner() {
    let results = read(&[("pods-c1-eth0", kept(ours()).to_string())]);
    let expected = CachedResult {
        key: SandboxKey::new("pods", "c1", "eth0"),
        addresses: "10.0.1.10".parse::<std::net::IpAddr>().unwrap().into(),
        pod: Some(PodKey::new("default", "web-0")),
        pod_uid: Some(Uid::from("u1")),
        netns: netns::identify("/proc/self/ns/net").unwrap(),
    };
    assert!(expected.netns.is_some());
    assert_eq!(results, [expected]);
}

#[test]
fn a_broken_file_is_passed_over_and_hides_no_other() {
    let with = |key: &str, value: Value| {
        let mut kept = kept(ours());
        kept[key] = value;
        kept.to_string()
    };
    let results = read(&[
        ("a", String::new()),
        ("b", "{".to_owned()),
        ("c", with("kind", json!("cniCacheV9"))),
        ("d", with("containerId", json!(null))),
        ("e", with("config", json!("%"))),
        (
            "f",
            with("result", json!({"ips": [{"address": "10.0.0.300/32"}]})),
        ),
        ("g", with("result", json!({"ips": []}))),
        // A result as libcni kept it before it kept anything else.
        ("h", json!({"cniVersion": "0.3.1", "ips": []}).to_string()),
        ("i", kept(ours()).to_string()),
    ]);
    assert_eq!(results.len(), 1);
}

#[test]
fn other_networks_are_none_of_our_business() {
    for (config, ours) in [
        (json!({"type": "bridge", "ipam": {"type": "host-local"}}), false),
        (
            json!({"plugins": [{"type": "bridge"}, {"type": "portmap"}]}),
            false,
        ),
        (json!({"plugins": []}), false),
        (json!({"type": "tke-route-eni"}), true),
        (
            json!({"plugins": [{"type": "ptp", "ipam": {"type": "tke-eni-ipamc"}}]}),
            true,
        ),
    ] {
        let results = read(&[("pods-c1-eth0", kept(config.clone()).to_string())]);
        assert_eq!(results.len(), usize::from(ours), "{config}");
    }
}

#[test]
fn a_namespace_that_is_gone_is_not_told() {
    let mut gone = kept(ours());
    gone["result"]["interfaces"][1]["sandbox"] = json!("/run/netns/there-is-none");
    let results = read(&[("pods-c1-eth0", gone.to_string())]);
    assert_eq!(results[0].netns, None);
}

#[test]
fn addresses_of_other_interfaces_are_not_its_own() {
    let mut more = kept(ours());
    more["result"]["ips"] = json!([
        {"interface": 0, "address": "10.9.9.9/24"},
        {"interface": 1, "address": "10.0.1.10/32"},
        {"address": "fd00::10/128"},
    ]);
    let results = read(&[("pods-c1-eth0", more.to_string())]);
    assert_eq!(results[0].addresses.to_string(), "10.0.1.10,fd00::10");
}
