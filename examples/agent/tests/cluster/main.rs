//! The program itself, beside a real API server and with the real plugins, on a node that is a network namespace. What
//! ipamd publishes is written by the test.

mod agent;
mod bed;
#[path = "../kubelet/mod.rs"]
mod kubelet;
mod node;

use std::{os::unix::fs::PermissionsExt, process::ExitCode, sync::Arc};

use agent::Agent;
use bed::{Bed, Case, NODE_CONFIGS, NODES, PODS, eventually};
use eni_core::cluster::{Cluster, modify};
use kubelet::Kubelet;
use nix::sys::signal::Signal;
use node::{Node, address, published};
use serde_json::json;

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        fn main() -> ExitCode {
            let cases: Vec<Case> = vec![$((stringify!($case), |bed: Arc<Bed>| Box::pin($case(bed)))),*];
            bed::run("the agent beside a real API server", cases)
        }
    };
}

cases![
    a_new_node_gets_its_network_with_its_first_eni_and_not_before,
    a_pod_is_served_by_the_installed_plugin_and_its_operator_sees_it,
    kubelet_is_offered_what_ipamd_grants_and_no_more_than_is_bound_where_told_so,
    it_asks_for_what_concerns_its_own_node_alone_and_is_refused_nothing,
    a_killed_agent_serves_again_from_its_journal_without_the_api_server,
    a_second_agent_on_a_node_ends_and_disturbs_nothing,
    what_cannot_run_says_what_to_do,
];

/// A node that its kubelet registered, and ipamd's object for it.
async fn registered(bed: &Bed, name: &str, instance: &str, addresses: u8) {
    let node = bed.put(NODES, bed::node(name, instance)).await;
    let config = published(name, instance, &node["metadata"]["uid"], addresses);
    bed.cluster
        .node_configs()
        .create(config)
        .await
        .expect("it is created");
}

/// The agent is not ready, for this reason.
async fn waits(agent: &Agent, why: &str) {
    eventually(why, async || {
        let (status, body) = agent.get("/readyz").await;
        (status == 503 && body.contains(why)).then_some(())
    })
    .await;
}

async fn a_new_node_gets_its_network_with_its_first_eni_and_not_before(bed: Arc<Bed>) {
    let node = Node::boot();
    let agent = Agent::start(&bed, &node).await;
    // No Node object yet: kubelet makes it.
    waits(&agent, "instance is not known yet").await;
    assert_eq!(agent.tells("/v1/status").await["ready"], false);
    assert_eq!(agent.tells("/v1/owners").await, json!([]));
    let object = bed.put(NODES, bed::node("node-1", "ins-1")).await;
    // A journal without a word may be a lost one: what ipamd knows of the node tells.
    waits(&agent, "owners are still being looked for").await;
    eventually("the plugins are installed", async || {
        let log = agent.log();
        (log.contains("plugins installed") && log.contains("the node has no network for new pods yet"))
            .then_some(())
    })
    .await;
    assert!(node.path("bin/tke-route-eni").exists() && node.path("bin/tke-eni-ipamc").exists());
    assert_eq!(node.conflist(), None);
    assert_eq!(agent.metric("agent_installed").await, Some(0.0));

    let config = published("node-1", "ins-1", &object["metadata"]["uid"], 3);
    bed.cluster
        .node_configs()
        .create(config)
        .await
        .expect("it is created");
    agent.serves().await;
    assert!(node.conflist().is_some());
    for (metric, value) in [
        ("agent_ready", 1.0),
        ("agent_installed", 1.0),
        ("agent_enis", 1.0),
        ("agent_addresses{state=\"free\"}", 3.0),
        ("agent_unserved{reason=\"no_eni\"}", 0.0),
    ] {
        assert_eq!(agent.metric(metric).await, Some(value), "{metric}");
    }
    assert_eq!(agent.get("/healthz").await, (200, "ok: node-1\n".to_owned()));
    let forwarded = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("it is there");
    assert_eq!(forwarded.trim(), "1");
}

async fn a_pod_is_served_by_the_installed_plugin_and_its_operator_sees_it(bed: Arc<Bed>) {
    let node = Node::boot();
    registered(&bed, "node-1", "ins-1", 3).await;
    let pod = bed.put(PODS, bed::pod("web", "node-1")).await;
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    let agent = Agent::start(&bed, &node).await;
    agent.serves().await;
    let web = node.sandbox("web");
    let result = node.cni("ADD", &web, None).expect("an address");
    node.assert_connected(&web);
    node.cni("CHECK", &web, Some(&result)).expect("all is well");

    let own = node.path("introspection.sock");
    let mode = std::fs::metadata(own).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let owners = agent.tells("/v1/owners").await;
    assert_eq!(owners[0]["pod"], "default/web");
    assert_eq!(
        format!("{}/32", owners[0]["addresses"][0].as_str().expect("text")),
        address(&result)
    );
    let enis = agent.tells("/v1/enis").await;
    let states: Vec<_> = enis[0]["addresses"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["state"])
        .collect();
    assert_eq!(states.iter().filter(|state| **state == "owned").count(), 1);
    assert_eq!(states.iter().filter(|state| **state == "idle").count(), 2);
    let status = agent.tells("/v1/status").await;
    assert_eq!(
        (&status["node"], &status["instance"], &status["granted"]),
        (&json!("node-1"), &json!("ins-1"), &json!(7))
    );
    assert_eq!(agent.tells("/v1/waiting").await, json!([]));

    node.cni("DEL", &web, Some(&result)).expect("it is gone");
    let calls = agent.tells("/v1/calls").await;
    assert_eq!(
        (&calls[0]["call"], &calls[1]["call"]),
        (&json!("DEL"), &json!("ADD"))
    );
    assert_eq!(calls[1]["pod"], "default/web");
    assert_eq!(agent.tells("/v1/owners").await, json!([]));
    for (metric, value) in [
        ("agent_adds_total{outcome=\"ok\"}", 1.0),
        ("agent_dels_total{outcome=\"released\"}", 1.0),
        ("agent_add_seconds_count", 1.0),
        ("agent_del_seconds_count", 1.0),
        ("agent_addresses{state=\"allocated\"}", 0.0),
    ] {
        assert_eq!(agent.metric(metric).await, Some(value), "{metric}");
    }
    assert!(agent.metric("agent_journal_commit_seconds_count").await >= Some(2.0));
    assert!(agent.metric("agent_dialogue_age_seconds").await.is_some());
    // ipamd reads what the node advertises.
    eventually("the agent reports", async || {
        (bed.find(NODE_CONFIGS, "node-1").await["agent"]["advertised"] == 7).then_some(())
    })
    .await;
}

async fn kubelet_is_offered_what_ipamd_grants_and_no_more_than_is_bound_where_told_so(bed: Arc<Bed>) {
    let (node, kubelet) = (Node::boot(), Kubelet::start());
    registered(&bed, "node-1", "ins-1", 3).await;
    let directory = format!("--kubelet-dir={}", kubelet.directory().display());
    let flags = ["--device-plugin=true", &directory];
    let shows = async |healthy: usize| {
        let kubelet = &kubelet;
        let look = || kubelet.with(|known| known.devices.clone());
        eventually(&format!("kubelet is shown {healthy}"), async || {
            look().filter(|(shown, total)| (shown.len(), *total) == (healthy, 9))
        })
        .await;
    };
    let mut agent = Agent::start_with(&bed, &node, &flags).await;
    shows(7).await;
    eventually("ipamd reads it", async || {
        (bed.find(NODE_CONFIGS, "node-1").await["agent"]["advertised"] == 7).then_some(())
    })
    .await;
    agent.send(Signal::SIGTERM);
    assert!(agent.ended().await.success());
    let bound = [flags[0], flags[1], "--advertise=bound"];
    let _agent = Agent::start_with(&bed, &node, &bound).await;
    shows(3).await;
}

async fn it_asks_for_what_concerns_its_own_node_alone_and_is_refused_nothing(bed: Arc<Bed>) {
    let before = bed.asked(0).await.len();
    let node = Node::boot();
    registered(&bed, "node-1", "ins-1", 3).await;
    registered(&bed, "node-2", "ins-2", 3).await;
    bed.put(PODS, bed::pod("elsewhere", "node-2")).await;
    let mut agent = Agent::start(&bed, &node).await;
    agent.serves().await;
    eventually("the agent reports", async || {
        (bed.find(NODE_CONFIGS, "node-1").await["agent"]["advertised"] == 7).then_some(())
    })
    .await;
    agent.send(Signal::SIGTERM);
    assert!(agent.ended().await.success());
    let asked = bed.asked(before).await;
    for event in &asked {
        let (uri, code) = (
            event["requestURI"].as_str().expect("a URI"),
            &event["responseStatus"]["code"],
        );
        assert_ne!(*code, 403, "{event}");
        let own = [
            "/node-1",
            "fieldSelector=metadata.name%3Dnode-1",
            "fieldSelector=spec.nodeName%3Dnode-1",
        ];
        assert!(own.iter().any(|part| uri.contains(part)), "{uri}");
    }
    let verbs = |verb: &str| asked.iter().filter(|event| event["verb"] == verb).count();
    assert!(
        verbs("get") > 0 && verbs("watch") >= 2 && verbs("update") > 0,
        "{asked:?}"
    );
}

async fn a_killed_agent_serves_again_from_its_journal_without_the_api_server(bed: Arc<Bed>) {
    let node = Node::boot();
    registered(&bed, "node-1", "ins-1", 3).await;
    for pod in ["web", "old", "new"] {
        bed.put(PODS, bed::pod(pod, "node-1")).await;
    }
    let agent = Agent::start(&bed, &node).await;
    agent.serves().await;
    let (web, old, new) = (node.sandbox("web"), node.sandbox("old"), node.sandbox("new"));
    let result = node.cni("ADD", &web, None).expect("an address");
    let gone = node.cni("ADD", &old, None).expect("an address");
    let conflist = node.conflist();
    agent.send(Signal::SIGKILL);
    drop(agent);
    assert_eq!(node.conflist(), conflist, "pods that run need it for their DEL");
    node.assert_connected(&web);
    node.cni("DEL", &old, Some(&gone)).expect("it is written down");
    bed.server(|server| server.crash_server()).await;

    let mut agent = Agent::start(&bed, &node).await;
    agent.serves().await;
    let owners = agent.tells("/v1/owners").await;
    assert_eq!(
        owners.as_array().map(Vec::len),
        Some(1),
        "the DEL was made good: {owners}"
    );
    node.cni("CHECK", &web, Some(&result)).expect("all is well");
    node.assert_connected(&web);
    let given = node.cni("ADD", &new, None).expect("an address");
    assert_ne!(address(&given), address(&result));
    node.assert_connected(&new);
    assert_eq!(agent.metric("agent_dialogue_age_seconds").await, None);

    bed.server(|server| server.start_server().expect("it serves"))
        .await;
    let store = bed.cluster.node_configs();
    let grown = modify(&*store, "node-1", |config| {
        config.pool = published("node-1", "ins-1", &json!("-"), 5).pool;
        true
    });
    grown.await.expect("it is written");
    eventually("it has what ipamd gave meanwhile", async || {
        let enis = agent.tells("/v1/enis").await;
        (enis[0]["addresses"].as_array()?.len() == 5).then_some(())
    })
    .await;
    agent.send(Signal::SIGTERM);
    assert!(agent.ended().await.success());
    assert_eq!(node.conflist(), conflist);
    node.assert_connected(&web);
}

async fn a_second_agent_on_a_node_ends_and_disturbs_nothing(bed: Arc<Bed>) {
    let node = Node::boot();
    registered(&bed, "node-1", "ins-1", 3).await;
    let agent = Agent::start(&bed, &node).await;
    agent.serves().await;
    let mut second = Agent::spawn(&bed, &node, &[]);
    assert_eq!(second.ended().await.code(), Some(1));
    let log = second.log();
    assert!(log.contains("is another agent running on this node?"), "{log}");
    let web = node.sandbox("web");
    node.cni("ADD", &web, None).expect("an address");
    assert_eq!(agent.tells("/v1/owners").await.as_array().map(Vec::len), Some(1));
}

async fn what_cannot_run_says_what_to_do(bed: Arc<Bed>) {
    let node = Node::boot();
    for (flags, code, advice) in [
        (&["--kubeconfig=/nowhere"][..], 1, "give it a kubeconfig file"),
        (&["--primary-interface=eth7"], 1, "see `ip link`"),
        (&["--health-address=192.0.2.9:1"], 1, "take another port"),
        (&["--kube-client-qps=10"], 2, "leave it out"),
    ] {
        let mut agent = Agent::spawn(&bed, &node, flags);
        assert_eq!(agent.ended().await.code(), Some(code), "{flags:?}");
        let log = agent.log();
        assert!(log.contains(advice), "{flags:?}: {log}");
    }
}
