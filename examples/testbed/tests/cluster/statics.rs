//! Static addresses: whatever happens to a pod, the next one of its name has its address.

use std::{collections::BTreeMap, time::Duration};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use testbed::kubernetes::images::PAUSE_IMAGE;

use crate::{Bed, Case, Outcome};

pub(crate) const CASES: &[Case] = &[
    ("the_pods_of_a_stateful_set_keep_their_addresses", addresses_stay),
    (
        "an_address_that_goes_with_its_pod_goes_back_to_its_subnet",
        addresses_go,
    ),
    (
        "a_pod_waits_for_the_only_node_of_its_addresss_zone",
        zone_is_closed,
    ),
];

/// What leaves the cluster with a node less.
pub(crate) const LAST: Case = (
    "a_dead_nodes_addresses_stay_until_its_pods_are_gone_and_follow_them_then",
    node_dies,
);

/// Pods of the StatefulSet.
const PODS: usize = 10;

/// How long ten pods may take that are made one after the other, on cores that others use too.
const LONG: Duration = Duration::from_secs(180);

/// The nodes of the first zone, which share its subnets.
const NODES: [&str; 2] = ["node-1", "node-3"];

/// The only node of the second zone.
const ALONE: &str = "node-2";

/// For how long a dead node's pods are watched that must not move, once it is known to be dead.
const STILL: Duration = Duration::from_secs(15);

/// A StatefulSet on some nodes; its pods do nothing.
fn stateful_set(name: &str, replicas: usize, policy: &str, nodes: &[&str]) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"tke.cloud.tencent.com/vpc-ip-claim-delete-policy": policy},
                },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "kubernetes.io/hostname", "operator": "In", "values": nodes},
                        ]}],
                    }}},
                    "containers": [{
                        "name": "idle",
                        "image": PAUSE_IMAGE.tag,
                        "resources": {"limits": {"tke.cloud.tencent.com/eni-ip": 1}},
                    }],
                },
            },
        },
    })
}

/// The running pods of a StatefulSet: each one's address, node and uid.
fn pods(list: &str) -> BTreeMap<String, [String; 3]> {
    let list: Value = serde_json::from_str(list).unwrap_or_default();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let runs = |pod: &&Value| {
        pod["status"]["containerStatuses"][0]["ready"] == true
            && pod["metadata"]["deletionTimestamp"].is_null()
    };
    let described = |pod: &Value| {
        let described = [
            &pod["status"]["podIP"],
            &pod["spec"]["nodeName"],
            &pod["metadata"]["uid"],
        ];
        (text(&pod["metadata"]["name"]), described.map(text))
    };
    pods.iter().filter(runs).map(described).collect()
}

fn addresses(pods: &BTreeMap<String, [String; 3]>) -> BTreeMap<&str, &str> {
    pods.iter()
        .map(|(name, pod)| (name.as_str(), pod[0].as_str()))
        .collect()
}

impl Bed {
    /// Waits until all pods of a StatefulSet run and are as wanted.
    fn pods_of(
        &self,
        what: &str,
        name: &str,
        wanted: impl Fn(&BTreeMap<String, [String; 3]>) -> bool,
    ) -> Result<BTreeMap<String, [String; 3]>, Failed> {
        let selector = format!("--selector=app={name}");
        let arguments = ["get", "pods", &selector, "--output=json"];
        let list = self
            .cluster
            .kubectl()
            .wait(what, LONG, &arguments, |text| wanted(&pods(text)))?;
        Ok(pods(&list))
    }
}

fn addresses_stay(bed: &Bed) -> Outcome {
    let kubectl = bed.cluster.kubectl();
    kubectl.feed(
        &["apply", "--filename=-"],
        &stateful_set("kept", PODS, "Never", &NODES).to_string(),
    )?;
    let first = bed.pods_of("ten pods run", "kept", |pods| pods.len() == PODS)?;
    let distinct: std::collections::BTreeSet<_> = first.values().map(|[address, ..]| address).collect();
    assert_eq!(distinct.len(), PODS, "{first:?}");

    kubectl.run(&["rollout", "restart", "statefulset/kept"])?;
    let others = |pods: &BTreeMap<String, [String; 3]>, before: &BTreeMap<String, [String; 3]>| {
        let other =
            |(name, pod): (&String, &[String; 3])| before.get(name).is_some_and(|before| before[2] != pod[2]);
        pods.len() == PODS && pods.iter().all(other)
    };
    let restarted = bed.pods_of("every pod is another", "kept", |pods| others(pods, &first))?;
    assert_eq!(
        addresses(&restarted),
        addresses(&first),
        "after a rolling restart"
    );

    kubectl.run(&["scale", "statefulset/kept", "--replicas=0"])?;
    bed.pods_of("no pod runs", "kept", BTreeMap::is_empty)?;
    let claims = [
        "get",
        "vpcipclaims",
        r#"--output=jsonpath={range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}"#,
    ];
    let retained = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("kept-") && line.ends_with(" Retained"))
            .count()
            == PODS
    };
    kubectl.wait("ten addresses are kept", LONG, &claims, retained)?;
    kubectl.run(&["scale", "statefulset/kept", "--replicas=10"])?;
    let back = bed.pods_of("ten pods run again", "kept", |pods| pods.len() == PODS)?;
    assert_eq!(
        addresses(&back),
        addresses(&first),
        "after scaling to none and back"
    );

    let moved = |pods: &BTreeMap<String, [String; 3]>| {
        pods.len() == PODS && pods.values().all(|[_, node, _]| node == NODES[1])
    };
    kubectl.run(&["cordon", NODES[0]])?;
    let here: Vec<_> = back
        .iter()
        .filter(|(_, [_, node, _])| node == NODES[0])
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(!here.is_empty(), "{back:?}");
    kubectl.run(&[&["delete", "pods", "--wait=false"], &here[..]].concat())?;
    let moved = bed.pods_of("all pods run on the other node", "kept", moved)?;
    kubectl.run(&["uncordon", NODES[0]])?;
    assert_eq!(addresses(&moved), addresses(&first), "after a drain");
    Ok(())
}

fn addresses_go(bed: &Bed) -> Outcome {
    let kubectl = bed.cluster.kubectl();
    kubectl.feed(
        &["apply", "--filename=-"],
        &stateful_set("gone", 2, "Immediate", &NODES).to_string(),
    )?;
    let pods = bed.pods_of("two pods run", "gone", |pods| pods.len() == 2)?;
    kubectl.run(&["delete", "statefulset", "gone"])?;
    let claims = ["get", "vpcipclaims", "--output=name"];
    kubectl.wait("their claims are over", LONG, &claims, |text| {
        !text.contains("gone-")
    })?;
    let enis = ["get", "nodeeniconfigs", "--output=json"];
    // Another pod may have got the same address since.
    let off = |text: &str| pods.values().all(|[_, _, uid]| !text.contains(uid.as_str()));
    kubectl.wait("no node keeps an address for them", LONG, &enis, off)?;
    Ok(())
}

fn zone_is_closed(bed: &Bed) -> Outcome {
    let kubectl = bed.cluster.kubectl();
    let name = "zonal";
    kubectl.feed(
        &["apply", "--filename=-"],
        &stateful_set(name, 2, "Never", &[ALONE]).to_string(),
    )?;
    let first = bed.pods_of("two pods run", name, |pods| pods.len() == 2)?;
    kubectl.run(&["cordon", ALONE])?;
    // Now the pods may go anywhere: it is their addresses that may not.
    kubectl.feed(
        &["apply", "--filename=-"],
        &stateful_set(name, 2, "Never", &[ALONE, NODES[0], NODES[1]]).to_string(),
    )?;
    let claim = ["get", "vpcipclaim", "zonal-1", "--output=jsonpath={.spec.subnet}"];
    let subnet = kubectl.run(&claim)?;
    assert!(!subnet.trim().is_empty(), "the claim has no subnet");
    let why = [
        "get",
        "pods",
        "--selector=app=zonal",
        r#"--output=jsonpath={.items[*].status.conditions[?(@.type=="PodScheduled")].message}"#,
    ];
    let told = |text: &str| text.contains("InsufficientIPOrENI") && text.contains(subnet.trim());
    kubectl.wait("the reason names the subnet", LONG, &why, told)?;
    kubectl.run(&["uncordon", ALONE])?;
    let back = bed.pods_of("two other pods run", name, |pods| {
        pods.len() == 2 && pods.iter().all(|(name, pod)| first[name][2] != pod[2])
    })?;
    assert_eq!(addresses(&back), addresses(&first), "once the zone is open again");
    assert!(back.values().all(|[_, node, _]| node == ALONE), "{back:?}");
    kubectl.run(&["delete", "statefulset", name])?;
    let claims = ["get", "vpcipclaims", "--output=name"];
    kubectl.wait("its claims go with a StatefulSet", LONG, &claims, |text| {
        !text.contains("zonal-")
    })?;
    Ok(())
}

fn node_dies(bed: &Bed) -> Outcome {
    let kubectl = bed.cluster.kubectl();
    let (name, dies) = ("survives", NODES[1]);
    kubectl.feed(
        &["apply", "--filename=-"],
        &stateful_set(name, PODS, "Never", &NODES).to_string(),
    )?;
    let first = bed.pods_of("ten pods run", name, |pods| pods.len() == PODS)?;
    let lost: Vec<&str> = first
        .iter()
        .filter(|(_, [_, node, _])| node == dies)
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(!lost.is_empty(), "{first:?}");
    let claims = [
        "get",
        "vpcipclaims",
        r#"--output=jsonpath={range .items[*]}{.metadata.name} {.spec.podUID} {.spec.node} {.status.ip}{"\n"}{end}"#,
    ];
    let held = || -> Result<Vec<String>, Failed> {
        let text = kubectl.run(&claims)?;
        let ours = text.lines().filter(|line| line.starts_with("survives-"));
        Ok(ours.map(str::to_owned).collect())
    };
    let before = held()?;
    assert_eq!(before.len(), PODS, "{before:?}");

    bed.cluster.kill_node(dies)?;
    let ready = [
        "get",
        "node",
        dies,
        r#"--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}"#,
    ];
    kubectl.wait("the node is known to be dead", LONG, &ready, |text| {
        text.trim() == "Unknown"
    })?;
    std::thread::sleep(STILL);
    assert_eq!(held()?, before, "while the pods of the dead node are there");

    kubectl.run(&["delete", "node", dies])?;
    let moved = |pods: &BTreeMap<String, [String; 3]>| {
        pods.len() == PODS && pods.values().all(|[_, node, _]| node == NODES[0])
    };
    let moved = bed.pods_of("all pods run on the other node", name, moved)?;
    assert_eq!(addresses(&moved), addresses(&first), "after a node's death");
    let stayed = |name: &str| !lost.contains(&name);
    for (name, pod) in first.iter().filter(|(name, _)| stayed(name)) {
        assert_eq!(pod, &moved[name], "a pod of the other node is touched");
    }
    let bound: Vec<_> = (bed.cluster.enis()?.into_iter())
        .filter(|eni| eni.instance.is_some())
        .flat_map(|eni| eni.addresses)
        .map(|address| address.to_string())
        .collect();
    for [address, ..] in moved.values() {
        let places = bound.iter().filter(|bound| *bound == address).count();
        assert_eq!(places, 1, "{address} is on {places} ENIs");
    }
    Ok(())
}
