//! Pods, and what they look like afterwards.

use super::*;

/// The first container's resources after admission; `None` if the pod is left alone.
fn admitted(pod: Value, default: Option<Network>) -> Option<Value> {
    let read: Pod = serde_json::from_value(pod.clone()).unwrap();
    let (_, patch) = lacks(&read, default)?;
    let mut patched = pod;
    json_patch::patch(&mut patched, &patch).expect("the patch applies");
    Some(patched["spec"]["containers"][0]["resources"].clone())
}

fn pod(annotations: Value, resources: Value) -> Value {
    json!({
        "metadata": {"name": "a", "annotations": annotations},
        "spec": {"containers": [{"name": "first", "resources": resources}, {"name": "second"}]},
    })
}

fn asks(resource: &str) -> Option<Value> {
    Some(json!({"limits": {resource: "1"}, "requests": {resource: "1"}}))
}

const ENI_IP: &str = "tke.cloud.tencent.com/eni-ip";
const DIRECT: &str = "tke.cloud.tencent.com/direct-eni";

#[test]
fn a_pod_asks_for_an_address_of_the_default_network() {
    let plain = pod(json!({}), json!({}));
    assert_eq!(admitted(plain.clone(), Some(Network::Route)), asks(ENI_IP));
    assert_eq!(admitted(plain.clone(), Some(Network::Direct)), asks(DIRECT));
    assert_eq!(admitted(plain, None), None);
    let bare = json!({"spec": {"containers": [{"name": "first"}]}});
    assert_eq!(admitted(bare, Some(Network::Route)), asks(ENI_IP));
}

#[test]
fn a_pod_that_names_its_networks_is_in_those_alone() {
    let named = |networks: &str| {
        let pod = pod(json!({ NETWORKS: networks }), json!({}));
        admitted(pod, Some(Network::Route))
    };
    assert_eq!(named("tke-bridge"), None);
    assert_eq!(named(""), None);
    assert_eq!(named("tke-bridge, tke-route-eni"), asks(ENI_IP));
    assert_eq!(named("tke-route-eni,tke-direct-eni"), asks(DIRECT));
    assert_eq!(named("kube-system/tke-route-eni@eth1"), asks(ENI_IP));
    assert_eq!(named("not-tke-route-eni"), None);
}

#[test]
fn a_pod_on_its_nodes_network_needs_none() {
    let mut host = pod(json!({ NETWORKS: "tke-route-eni" }), json!({}));
    host["spec"]["hostNetwork"] = json!(true);
    assert_eq!(admitted(host, Some(Network::Route)), None);
}

#[test]
fn who_asks_already_is_left_alone() {
    let first = pod(json!({}), json!({"limits": {ENI_IP: "1"}}));
    assert_eq!(admitted(first, Some(Network::Route)), None);
    let mut second = pod(json!({}), json!({}));
    second["spec"]["containers"][1]["resources"] = json!({"requests": {ENI_IP: "1"}});
    assert_eq!(admitted(second, Some(Network::Route)), None);
    let other = pod(json!({}), json!({"limits": {DIRECT: "1"}}));
    assert!(
        admitted(other, Some(Network::Route)).is_some(),
        "it asks for something else"
    );
}

#[test]
fn what_the_container_has_stays() {
    let some = pod(json!({}), json!({"limits": {"cpu": "2"}}));
    let after = json!({"limits": {"cpu": "2", ENI_IP: "1"}, "requests": {ENI_IP: "1"}});
    assert_eq!(admitted(some, Some(Network::Route)), Some(after));
}
