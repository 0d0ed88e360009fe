//! Every key of the network configuration, good and bad.

use serde_json::json;

use super::*;

fn read(conf: Value) -> Result<Conf, Error> {
    let document = Document::read(conf.to_string().into_bytes())?;
    let version = document.version()?;
    Conf::read(document, version)
}

/// A minimal configuration with one more key.
fn with(key: &str, value: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "tke-route-eni"});
    conf[key] = value;
    conf
}

#[test]
fn reads_the_published_shape() {
    let conf = read(json!({
        "cniVersion": "0.3.1", "name": "generic-veth", "type": "tke-route-eni",
        "routeTable": 1, "disableIPv6": true, "mtu": 1500, "eni": "eth1",
        "ipam": {"type": "tke-eni-ipamc", "backend": "127.0.0.1:61677"},
        "runtimeConfig": {"portMappings": []}, "args": {"x": 1}, "capabilities": {"portMappings": true},
    }))
    .unwrap();
    assert_eq!(conf.version, SpecVersion::V0_3_1);
    assert_eq!(conf.network, "generic-veth");
    assert_eq!(conf.mtu, 1500);
    assert!(conf.disable_ipv6);
    assert_eq!(conf.eni.as_deref(), Some("eth1"));
    assert_eq!(conf.ipam, Ipam::Agent("127.0.0.1:61677".parse().unwrap()));
}

#[test]
fn has_defaults() {
    for conf in [
        with("x", json!(null)),
        with("ipam", json!({})),
        with("ipam", json!({"type": "tke-eni-ipamc"})),
        with("mtu", json!(null)),
    ] {
        let conf = read(conf).unwrap();
        assert_eq!(conf.mtu, 1500);
        assert_eq!(conf.timeout, Duration::from_secs(60));
        assert!(!conf.disable_ipv6);
        assert_eq!(conf.ipam, Ipam::Agent(Endpoint::default()));
    }
}

#[test]
fn another_ipam_keeps_its_own_keys() {
    let conf = read(with(
        "ipam",
        json!({"type": "host-local", "backend": 7, "ranges": []}),
    ))
    .unwrap();
    assert_eq!(conf.ipam, Ipam::Plugin("host-local".to_owned()));
}

#[test]
fn malformed_values_name_their_key() {
    let bad = [
        ("name", json!("")),
        ("name", json!("a/b")),
        ("name", json!(7)),
        ("name", json!(null)),
        ("mtu", json!("1500")),
        ("mtu", json!(67)),
        ("mtu", json!(65536)),
        ("mtu", json!(-1)),
        ("mtu", json!(1.5)),
        ("disableIPv6", json!("yes")),
        ("routeTable", json!("main")),
        ("timeoutSeconds", json!(0)),
        ("timeoutSeconds", json!(231)),
        ("timeoutSeconds", json!("60")),
        ("eni", json!("")),
        ("eni", json!(1)),
        ("ipam", json!("tke-eni-ipamc")),
        ("ipam", json!([])),
        ("ipam.type", json!({"type": 1})),
        ("ipam.type", json!({"type": ""})),
        ("ipam.type", json!({"type": "../../bin/sh"})),
        ("ipam.backend", json!({"backend": 61677})),
        ("ipam.backend", json!({"backend": "10.0.0.1:61677"})),
        ("ipam.backend", json!({"backend": "unix://relative"})),
        ("cniVersion", json!(1)),
    ];
    for (key, value) in bad {
        let top = key.split('.').next().unwrap();
        let error = read(with(top, value.clone())).unwrap_err();
        assert_eq!(error.code, Code::Config, "{key} {value}: {error}");
        assert!(
            error.to_string().contains(&format!("key `{key}`")),
            "{key} {value}: {error}"
        );
    }
}

#[test]
fn what_is_no_json_object_is_not_decoded() {
    for text in [
        "",
        "{",
        "[]",
        "7",
        "null",
        "\"conf\"",
        "{\"name\":}",
        "{} {}",
        "\u{0}",
    ] {
        let decoded = Document::read(text.into()).map(drop);
        assert_eq!(decoded.unwrap_err().code, Code::Decoding, "{text:?}");
    }
}

#[test]
fn an_unsaid_version_is_an_old_one() {
    for version in [json!(null), json!(""), json!("0.1.0"), json!("9.9.9")] {
        assert_eq!(
            read(with("cniVersion", version)).unwrap_err().code,
            Code::IncompatibleVersion
        );
    }
}

#[test]
fn check_demands_a_result() {
    let missing = read(with("x", json!(1))).unwrap().prev_result().unwrap_err();
    assert_eq!(missing.code, Code::Config);
    assert!(missing.to_string().contains("prevResult"));
    for broken in [
        json!("x"),
        json!({"ips": "x"}),
        json!({"ips": [{"address": "10.0.0.300/32"}]}),
    ] {
        let error = read(with("prevResult", broken))
            .and_then(|conf| conf.prev_result())
            .unwrap_err();
        assert_eq!(error.code, Code::Config);
        assert!(error.to_string().contains("prevResult"));
    }
}
