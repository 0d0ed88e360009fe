//! What pods do on any network, and what nodes have to be.

use std::{collections::BTreeSet, fs, sync::PoisonError, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use testbed::{
    cluster::{ClusterError, Cni},
    kubernetes::images::AGNHOST_IMAGE,
};

use crate::{Bed, Case, Outcome};

/// How long anything may take that a cluster does in a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CASES: &[Case] = &[
    (
        "pods_reach_each_other_on_a_node_and_across_nodes",
        everybody_is_reached,
    ),
    ("a_service_leads_to_its_pods_and_to_the_api_server", services),
    ("what_a_pod_says_is_in_its_log", logs),
    (
        "what_a_kubelet_sets_for_its_machine_stays_in_its_node",
        settings_stay,
    ),
];

/// What is judged by all that the others did.
pub(crate) const LAST: Case = ("the_api_server_refuses_nobody", nobody_is_refused);

/// A pod of the tests.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) address: String,
}

/// Two pods on each node, behind a Service; made by whoever asks first.
pub(crate) fn pods(bed: &Bed) -> Result<Vec<Pod>, ClusterError> {
    let kubectl = bed.cluster.kubectl();
    bed.applied.call_once(|| {
        let objects = objects(bed.cni).to_string();
        kubectl
            .feed(&["apply", "--filename=-"], &objects)
            .expect("pods are accepted");
    });
    let arguments = ["get", "pods", "--selector=app=servers", "--output=json"];
    let list = kubectl.wait("four pods run", PATIENCE, &arguments, |text| {
        running(text).len() == 4
    })?;
    Ok(running(&list))
}

fn objects(cni: Cni) -> Value {
    let pod = |(number, node): (usize, &str)| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("server-{number}"), "labels": {"app": "servers"}},
            "spec": {
                "nodeName": node,
                "terminationGracePeriodSeconds": 1,
                "containers": [server(cni)],
            },
        })
    };
    let mut items: Vec<Value> = ["node-1", "node-1", "node-2", "node-2"]
        .into_iter()
        .enumerate()
        .map(pod)
        .collect();
    items.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "servers"},
        "spec": {"selector": {"app": "servers"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// A container that serves; on ENIs a pod asks for its address as for any resource.
pub(crate) fn server(cni: Cni) -> Value {
    let limits = match cni {
        Cni::Eni | Cni::EniStatic => json!({"tke.cloud.tencent.com/eni-ip": 1}),
        Cni::Bridge | Cni::None => json!({}),
    };
    json!({
        "name": "server",
        "image": AGNHOST_IMAGE.tag,
        "args": ["netexec"],
        "resources": {"limits": limits},
    })
}

/// The pods of a list that run.
pub(crate) fn running(list: &str) -> Vec<Pod> {
    let list: Value = serde_json::from_str(list).unwrap_or_default();
    let pods = list["items"].as_array().cloned().unwrap_or_default();
    let pod = |pod: &Value| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let runs = pod["status"]["containerStatuses"][0]["ready"] == true;
        Some(Pod {
            name: text(&pod["metadata"]["name"])?,
            node: text(&pod["spec"]["nodeName"])?,
            address: text(&pod["status"]["podIP"])?,
        })
        .filter(|_| runs)
    };
    pods.iter().filter_map(pod).collect()
}

fn everybody_is_reached(bed: &Bed) -> Outcome {
    let pods = pods(bed)?;
    let kubectl = bed.cluster.kubectl();
    for from in &pods {
        for to in &pods {
            let ping = ["exec", &from.name, "--", "ping", "-c1", "-W2", &to.address];
            let answer = kubectl.run(&ping);
            answer.map_err(|error| format!("{from:?} does not reach {to:?}: {error}"))?;
        }
    }
    Ok(())
}

fn services(bed: &Bed) -> Outcome {
    let pods = pods(bed)?;
    let kubectl = bed.cluster.kubectl();
    let address = kubectl.run(&["get", "service", "servers", "--output=jsonpath={.spec.clusterIP}"])?;
    let url = format!("http://{address}/hostname");
    for from in &pods {
        let get = ["exec", &from.name, "--", "wget", "-q", "-O-", &url];
        let arrives = |text: &str| pods.iter().any(|pod| pod.name == text);
        kubectl.wait(
            &format!("{from:?} reaches a pod by {url}"),
            PATIENCE,
            &get,
            arrives,
        )?;
        let connect = [
            "exec",
            &from.name,
            "--",
            "/agnhost",
            "connect",
            "10.96.0.1:443",
            "--timeout=3s",
        ];
        kubectl.wait("the API server's Service", PATIENCE, &connect, |_| true)?;
    }
    Ok(())
}

fn logs(bed: &Bed) -> Outcome {
    for pod in pods(bed)? {
        let log = bed.cluster.kubectl().run(&["logs", &pod.name])?;
        if !log.contains("Started HTTP server on port 8080") {
            return Err(format!("{pod:?} says: {log}").into());
        }
    }
    Ok(())
}

fn settings_stay(bed: &Bed) -> Outcome {
    let setting = "/proc/sys/kernel/panic";
    let outside = fs::read_to_string(setting)?;
    let inside = bed.cluster.exec("node-1", &["cat", setting])?;
    // kubelet 1.20 sets 10 s.
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim(), "10");
    assert_eq!(fs::read_to_string(setting)?, outside);
    assert_ne!(
        outside.trim(),
        "10",
        "this machine has what kubelet would set, which proves nothing"
    );
    Ok(())
}

fn nobody_is_refused(bed: &Bed) -> Outcome {
    pods(bed)?;
    // An API server that has not read its roles yet refuses everybody, and says that it is not ready.
    let starts = bed.starts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let meanwhile = |event: &Value| {
        let received = event["requestReceivedTimestamp"].as_str();
        let received: Option<Timestamp> = received.and_then(|text| text.parse().ok());
        received.is_some_and(|received| {
            starts
                .iter()
                .any(|(start, ready)| (*start..=*ready).contains(&received))
        })
    };
    // Nobody may make anything in a namespace that is being deleted, whatever their rights.
    let events = bed.cluster.audit()?;
    let deletes =
        |event: &&Value| event["verb"] == "delete" && event["objectRef"]["resource"] == "namespaces";
    let deleted = events.iter().filter(deletes);
    let deleted: BTreeSet<&str> = deleted
        .filter_map(|event| event["objectRef"]["name"].as_str())
        .collect();
    let ends = |event: &Value| {
        let namespace = event["objectRef"]["namespace"].as_str();
        event["verb"] == "create" && namespace.is_some_and(|namespace| deleted.contains(namespace))
    };
    // A kubelet may read the Secrets of a pod as soon as the authorizer has seen that the pod is bound to its
    // node: a moment after the kubelet may have. It asks again, and its rights are the API server's, not ours.
    let lags = |event: &Value| {
        let user = event["user"]["username"].as_str();
        let resource = event["objectRef"]["resource"].as_str();
        user.is_some_and(|user| user.starts_with("system:node:"))
            && matches!(resource, Some("secrets" | "configmaps"))
            && matches!(event["verb"].as_str(), Some("get" | "list" | "watch"))
    };
    let excused = |event: &Value| meanwhile(event) || ends(event) || lags(event);
    let refused: Vec<String> = events
        .iter()
        .filter(|event| event["responseStatus"]["code"] == 403 && !excused(event))
        .map(|event| {
            format!(
                "{} {} {}: {}",
                event["user"]["username"],
                event["verb"],
                event["requestURI"],
                event["responseStatus"]["message"]
            )
        })
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    Ok(())
}
