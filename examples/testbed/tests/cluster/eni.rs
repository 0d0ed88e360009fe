//! Pods on ENIs: ours alone, and whatever happens to the agent.

use std::{collections::BTreeSet, thread, time::Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::{
    Bed, Case, Outcome,
    pods::{PATIENCE, pods, running, server},
};

pub(crate) const CASES: &[Case] = &[
    (
        "every_pod_has_an_address_that_its_nodes_eni_has",
        addresses_are_of_enis,
    ),
    ("a_burst_beyond_the_warm_pool_is_served", burst),
    (
        "pods_keep_their_network_while_the_agent_is_killed_and_comes_back",
        agent_is_killed,
    ),
];

/// What is judged by all that the others did.
pub(crate) const LAST: &[Case] = &[
    ("the_data_plane_follows_the_cloud", data_plane_follows),
    ("no_agent_reads_what_is_another_nodes", agents_read_their_own),
    ("the_schedulers_extender_bound_what_was_scheduled", extender_bound),
];

/// As whom the scheduler's extender asks.
const EXTENDER: &str = "system:serviceaccount:kube-system:tke-eni-ip-scheduler";

/// As whom agents ask.
const AGENT: &str = "system:serviceaccount:kube-system:tke-eni-agent";

/// What the Kubernetes client says of a server that does not answer.
const UNREACHABLE: &str = "kube_client::client::builder: failed with error client error";

/// More than the warm pool holds, in pods.
const BURST: usize = 12;

/// The addresses of the ENIs of a node, as ipamd says.
fn attached(bed: &Bed, node: &str) -> Result<BTreeSet<String>, Failed> {
    let config = bed
        .cluster
        .kubectl()
        .run(&["get", "nodeeniconfig", node, "--output=json"])?;
    let mut found = BTreeSet::new();
    collect(&serde_json::from_str(&config)?, &mut found);
    Ok(found)
}

/// Every text of an object that is an address.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.parse::<std::net::IpAddr>().is_ok() => {
            found.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        _ => {}
    }
}

fn addresses_are_of_enis(bed: &Bed) -> Outcome {
    let pods = pods(bed)?;
    let distinct: BTreeSet<&str> = pods.iter().map(|pod| pod.address.as_str()).collect();
    assert_eq!(distinct.len(), pods.len(), "{pods:?}");
    for pod in &pods {
        let addresses = attached(bed, &pod.node)?;
        assert!(
            addresses.contains(&pod.address),
            "{pod:?} is not of {addresses:?}"
        );
    }
    Ok(())
}

fn data_plane_follows(bed: &Bed) -> Outcome {
    pods(bed)?;
    let mut logs = String::new();
    for node in ["node-1", "node-2"] {
        // Of containers that have ended, too.
        let command = "cat /var/log/pods/kube-system_tke-eni-ipamd-*/*/*.log";
        let read = bed.cluster.exec(node, &["sh", "-c", command])?;
        logs.push_str(&String::from_utf8_lossy(&read.stdout));
    }
    // An API server that is away is an error to its client, and has been away in these tests.
    let is_error = |line: &&str| line.contains(" ERROR ") && !line.contains(UNREACHABLE);
    let errors: Vec<&str> = logs.lines().filter(is_error).collect();
    assert!(
        logs.contains("this process leads") && errors.is_empty(),
        "{errors:?}"
    );
    Ok(())
}

/// All agents are one account: the node is told by the address that a request came from.
fn agents_read_their_own(bed: &Bed) -> Outcome {
    pods(bed)?;
    let nodes = bed.cluster.kubectl().run(&["get", "nodes", "--output=json"])?;
    let nodes: Value = serde_json::from_str(&nodes)?;
    let mut seen = BTreeSet::new();
    let events = bed.cluster.audit()?;
    for event in events.iter().filter(|event| event["user"]["username"] == AGENT) {
        let from = &event["sourceIPs"][0];
        let list = nodes["items"].as_array().into_iter().flatten();
        let node = list
            .filter(|node| node["status"]["addresses"][0]["address"] == *from)
            .find_map(|node| node["metadata"]["name"].as_str());
        let node = node.ok_or_else(|| format!("no node asks from {from}"))?;
        seen.insert(node);
        let asked = &event["objectRef"];
        let uri = event["requestURI"].as_str().unwrap_or_default();
        let own = match asked["resource"].as_str() {
            Some("nodes" | "nodeeniconfigs") => {
                asked["name"] == node || uri.contains(&format!("metadata.name%3D{node}"))
            }
            Some("pods") => uri.contains(&format!("spec.nodeName%3D{node}")),
            // What it writes and never reads.
            Some("events") => event["verb"] != "list" && event["verb"] != "watch",
            _ => false,
        };
        assert!(own, "the agent of {node} asks {} {uri}", event["verb"]);
    }
    assert_eq!(seen.len(), 2, "agents of {seen:?} alone ask for anything");
    Ok(())
}

/// The scheduler asks nobody else for pods that want an address, and binds none of them itself.
fn extender_bound(bed: &Bed) -> Outcome {
    let get = r#"exec 3<>/dev/tcp/127.0.0.1/50055; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3"#;
    let metrics = bed.cluster.exec("node-1", &["bash", "-c", get])?;
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    assert!(metrics.contains("ip_scheduler_leader 1\n"), "{metrics}");
    let bindings =
        |event: &&Value| event["verb"] == "create" && event["objectRef"]["subresource"] == "binding";
    let events = bed.cluster.audit()?;
    let by_extender = (events.iter().filter(bindings))
        .filter(|event| event["user"]["username"] == EXTENDER)
        .count();
    assert!(by_extender >= BURST, "{by_extender} bindings");
    Ok(())
}

fn burst(bed: &Bed) -> Outcome {
    let kubectl = bed.cluster.kubectl();
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burst"},
        "spec": {
            "replicas": BURST,
            "selector": {"matchLabels": {"app": "burst"}},
            "template": {
                "metadata": {"labels": {"app": "burst"}},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": "node-1"},
                    "terminationGracePeriodSeconds": 1,
                    "containers": [server(bed.cni)],
                },
            },
        },
    });
    kubectl.feed(&["apply", "--filename=-"], &deployment.to_string())?;
    let get = ["get", "pods", "--selector=app=burst", "--output=json"];
    let list = kubectl.wait("the burst runs", PATIENCE, &get, |text| {
        running(text).len() == BURST
    })?;
    let distinct: BTreeSet<String> = running(&list).into_iter().map(|pod| pod.address).collect();
    assert_eq!(distinct.len(), BURST);
    kubectl.run(&["delete", "deployment", "burst"])?;
    kubectl.wait("the burst is gone", PATIENCE, &get, |text| {
        !text.contains("\"burst-")
    })?;
    Ok(())
}

fn agent_is_killed(bed: &Bed) -> Outcome {
    let pods = pods(bed)?;
    let agent = || -> Result<String, Failed> {
        let found = bed.cluster.exec("node-2", &["pidof", "tke-eni-agent"])?;
        Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    };
    let before = agent()?;
    let killed = bed.cluster.exec("node-2", &["kill", "-KILL", &before])?;
    assert!(killed.status.success(), "{killed:?}");
    let here: Vec<_> = pods.iter().filter(|pod| pod.node == "node-2").collect();
    let other = pods
        .iter()
        .find(|pod| pod.node == "node-1")
        .ok_or("no pod on node-1")?;
    let reach = || -> Outcome {
        for pod in &here {
            let ping = ["exec", &other.name, "--", "ping", "-c1", "-W2", &pod.address];
            bed.cluster.kubectl().run(&ping)?;
        }
        Ok(())
    };
    reach()?;
    let begun = Instant::now();
    loop {
        let now = agent()?;
        if !now.is_empty() && now != before {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "agent {before} was killed, and there is no other"
        );
        thread::yield_now();
    }
    reach()?;
    // It serves again.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "labels": {"app": "late"}},
        "spec": {"nodeName": "node-2", "terminationGracePeriodSeconds": 1, "containers": [server(bed.cni)]},
    });
    let kubectl = bed.cluster.kubectl();
    kubectl.feed(&["apply", "--filename=-"], &pod.to_string())?;
    let get = ["get", "pods", "--selector=app=late", "--output=json"];
    let list = kubectl.wait("a pod after the agent came back", PATIENCE, &get, |text| {
        running(text).len() == 1
    })?;
    let late = running(&list);
    assert!(
        !pods.iter().any(|pod| pod.address == late[0].address),
        "{late:?} and {pods:?}"
    );
    Ok(())
}
