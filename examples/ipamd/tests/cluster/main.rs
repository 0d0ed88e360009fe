//! The program itself, on a real API server and a cloud in its memory. There are no kubelets: nodes and pods are
//! objects.

mod bed;
mod replica;
mod scale;
mod tencent;

use std::{process::ExitCode, sync::Arc, time::Duration};

use bed::{Bed, Case, EVENTS, LEASES, NODE_CONFIGS, NODES, PODS, RECORDS, eventually};
use nix::sys::signal::Signal;
use replica::Replica;
use scale::two_thousand_nodes_and_ten_thousand_pods_come_to_rest;
use serde_json::{Value, json};
use tencent::Tencent;
use tokio::time::Instant;

/// The default of `--leader-elect-lease-duration`.
const LEASE: Duration = Duration::from_secs(20);
/// The longest call to the cloud.
const CALL: Duration = Duration::from_secs(10);

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        fn main() -> ExitCode {
            let cases: Vec<Case> = vec![$((stringify!($case), |bed: Arc<Bed>| Box::pin($case(bed)))),*];
            bed::run("ipamd on a real API server", cases)
        }
    };
}

cases![
    one_of_two_leads_and_pools_grow_with_pods,
    a_slip_of_an_operator_is_told_at_the_node_and_holds_up_nothing,
    a_node_is_marked_until_it_advertises_addresses,
    sigterm_hands_over_at_once,
    a_killed_leader_is_waited_out,
    a_leader_that_loses_its_lease_becomes_a_candidate_and_leads_again,
    the_published_role_and_the_lease_suffice_for_all_of_this_so_far,
    // An API server that has just started refuses what it has not read the roles for yet.
    a_leader_cut_off_from_the_api_server_gives_up_and_leads_again,
    an_api_server_that_is_down_is_waited_for,
    tencents_api_carries_a_pool_and_its_next_leader,
    what_cannot_run_says_what_to_do,
    two_thousand_nodes_and_ten_thousand_pods_come_to_rest,
];

/// The replica leads.
async fn leads(replica: &Replica) {
    eventually("it leads", async || {
        (replica.metric("ipamd_leader").await == Some(1.0)).then_some(())
    })
    .await;
}

/// The pool of a node, once it has this many addresses for pods.
async fn pool(bed: &Bed, node: &str, addresses: usize) -> Value {
    eventually(&format!("{node} has {addresses} addresses"), async || {
        let config = bed.find(NODE_CONFIGS, node).await?;
        (config["status"]["addressCount"] == addresses).then_some(config)
    })
    .await
}

/// How often an event was told that is one object, once it was told this often.
async fn told(bed: &Bed, reason: &str, times: u64) -> u64 {
    eventually(&format!("{reason} is told {times} times"), async || {
        let mut events = bed.list(EVENTS).await;
        events.retain(|event| event["reason"] == reason);
        assert!(events.len() <= 1, "{events:?}");
        let event = events.pop()?;
        assert_eq!(event["source"]["component"], "tke-eni-ipamd");
        event["count"].as_u64().filter(|count| *count >= times)
    })
    .await
}

async fn one_of_two_leads_and_pools_grow_with_pods(bed: Arc<Bed>) {
    for node in ["node-1", "node-2"] {
        bed.put(NODES, bed::node(node)).await;
    }
    let first = Replica::start(&bed, &[]).await;
    leads(&first).await;
    let second = Replica::start(&bed, &[]).await;
    let config = pool(&bed, "node-1", 5).await;
    pool(&bed, "node-2", 5).await;
    assert_eq!(config["spec"]["instance"], "ins-1");
    assert_eq!(
        config["status"]["capacity"], 27,
        "(4 - 1) ENIs of (10 - 1) addresses"
    );
    let eni = &config["status"]["eniInfos"][0];
    assert_eq!(eni["subnet"], "subnet-a");
    let records = bed.list(RECORDS).await;
    assert!(
        records
            .iter()
            .any(|record| record["status"]["eniID"] == eni["id"]),
        "{records:?}"
    );

    // More than one ENI carries, so that a second one comes.
    for number in 0..7 {
        bed.put(PODS, bed::pod(&format!("pod-{number}"), "node-1")).await;
    }
    let config = pool(&bed, "node-1", 12).await;
    assert_eq!(config["status"]["eniCount"], 2);
    assert_eq!(
        bed.find(NODE_CONFIGS, "node-2").await.unwrap()["status"]["addressCount"],
        5
    );

    assert_eq!(second.metric("ipamd_leader").await, Some(0.0));
    assert_eq!(
        second.metric("ipamd_nodes").await,
        None,
        "a candidate knows of no pool"
    );
    assert_eq!(first.metric("ipamd_nodes").await, Some(2.0));
    eventually("nothing is lacking", async || {
        (first.metric("ipamd_addresses_lacking").await == Some(0.0)).then_some(())
    })
    .await;
    let created = r#"ipamd_actions_total{kind="create",outcome="done"}"#;
    assert_eq!(first.metric(created).await, Some(3.0));
    let calls = r#"ipamd_cloud_calls_total{call="create_eni",lane="growth"}"#;
    assert_eq!(first.metric(calls).await, Some(3.0));
    for path in ["/healthz", "/health"] {
        let (status, text) = first.get(path).await;
        assert!(status == 200 && text.ends_with("leads\n"), "{status} {text}");
        let (status, text) = second.get(path).await;
        assert!(
            status == 200 && text.ends_with("waits to lead\n"),
            "{status} {text}"
        );
    }
    assert_eq!(first.get("/nowhere").await.0, 404);
    let lines = first.log();
    let line = lines.lines().find(|line| line.contains("ipamd starts")).unwrap();
    assert!(
        line.contains(r#"cluster="cls-test""#) && line.contains("identity="),
        "{line}"
    );
}

async fn a_slip_of_an_operator_is_told_at_the_node_and_holds_up_nothing(bed: Arc<Bed>) {
    bed.put(NODES, bed::node("node-1")).await;
    let replica = Replica::start(&bed, &["--ip-min-warm-target=2", "--ip-max-warm-target=3"]).await;
    pool(&bed, "node-1", 2).await;
    let slip = |config: &mut Value| config["spec"]["warm"] = json!({"min": 5, "max": 2});
    eventually("it is edited", async || {
        bed.edit(NODE_CONFIGS, "node-1", slip).await.ok()
    })
    .await;
    let event = eventually("an event tells of it", async || {
        let events = bed.list(EVENTS).await;
        events
            .into_iter()
            .find(|event| event["reason"] == "InvalidWarmRange")
    })
    .await;
    assert_eq!(event["involvedObject"]["kind"], "Node");
    assert_eq!(event["involvedObject"]["name"], "node-1");
    assert_eq!(event["source"]["component"], "tke-eni-ipamd");
    bed.put(PODS, bed::pod("pod-1", "node-1")).await;
    pool(&bed, "node-1", 3).await;
    bed.put(NODES, bed::node("node-2")).await;
    pool(&bed, "node-2", 2).await;
    drop(replica);
}

async fn a_node_is_marked_until_it_advertises_addresses(bed: Arc<Bed>) {
    let mut theirs = bed::node("node-1");
    theirs["spec"]["taints"] = json!([{"key": "theirs", "effect": "NoSchedule"}]);
    bed.put(NODES, theirs).await;
    let replica = Replica::start(&bed, &["--enable-node-taint", "--enable-node-condition"]).await;
    let marked = async |tainted: bool, status: &str| {
        eventually(&format!("tainted: {tainted}, condition: {status}"), async || {
            let node = bed.find(NODES, "node-1").await?;
            let has = |list: &Value, name: &str, value: &str| {
                let entries = list.as_array().into_iter().flatten();
                entries.into_iter().any(|entry| entry[name] == value)
            };
            let (taints, conditions) = (&node["spec"]["taints"], &node["status"]["conditions"]);
            assert!(has(taints, "key", "theirs"), "{node}");
            let ours = conditions.as_array()?.iter();
            let ours = ours
                .clone()
                .find(|found| found["type"] == "tke.cloud.tencent.com/ENIIPUnavailable")?;
            let right = has(taints, "key", "tke.cloud.tencent.com/eni-ip-unavailable") == tainted;
            (right && ours["status"] == status).then_some(())
        })
        .await
    };
    marked(true, "True").await;
    let advertise =
        |node: &mut Value| node["status"]["allocatable"]["tke.cloud.tencent.com/eni-ip"] = json!("5");
    eventually("it advertises", async || {
        bed.edit_status("node-1", advertise).await.ok()
    })
    .await;
    marked(false, "False").await;
    let lose = |node: &mut Value| node["status"]["allocatable"]["tke.cloud.tencent.com/eni-ip"] = json!("0");
    eventually("it lost them", async || {
        bed.edit_status("node-1", lose).await.ok()
    })
    .await;
    marked(true, "True").await;
    drop(replica);
}

async fn sigterm_hands_over_at_once(bed: Arc<Bed>) {
    let mut first = Replica::start(&bed, &[]).await;
    leads(&first).await;
    let second = Replica::start(&bed, &[]).await;
    let mut elsewhere = bed::node("node-2");
    elsewhere["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "zone-2"});
    bed.put(NODES, elsewhere).await;
    let told = told(&bed, "SubnetExhausted", 1).await;

    let begun = Instant::now();
    first.send(Signal::SIGTERM);
    assert_eq!(first.ended().await.code(), Some(0), "{}", first.log());
    leads(&second).await;
    assert!(begun.elapsed() < LEASE, "it was handed over, not waited out");
    let lease = bed.find(LEASES, "tke-eni-ipamd").await.unwrap();
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap();
    assert!(second.get("/healthz").await.1.contains(holder), "{lease}");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    bed.put(NODES, bed::node("node-1")).await;
    pool(&bed, "node-1", 5).await;
    // What the first one told is counted up by the second.
    self::told(&bed, "SubnetExhausted", told + 1).await;
}

async fn a_killed_leader_is_waited_out(bed: Arc<Bed>) {
    let mut first = Replica::start(&bed, &[]).await;
    leads(&first).await;
    let second = Replica::start(&bed, &[]).await;
    let begun = Instant::now();
    first.send(Signal::SIGKILL);
    first.ended().await;
    leads(&second).await;
    assert!(
        begun.elapsed() > CALL,
        "a call of the dead one may have been under way"
    );
    bed.put(NODES, bed::node("node-1")).await;
    pool(&bed, "node-1", 5).await;
}

async fn a_leader_that_loses_its_lease_becomes_a_candidate_and_leads_again(bed: Arc<Bed>) {
    bed.put(NODES, bed::node("node-1")).await;
    let replica = Replica::start(&bed, &[]).await;
    pool(&bed, "node-1", 5).await;
    let steal = |lease: &mut Value| {
        lease["spec"]["holderIdentity"] = json!("thief");
        lease["spec"]["leaseDurationSeconds"] = json!(4);
    };
    eventually("it is stolen", async || {
        bed.edit(LEASES, "tke-eni-ipamd", steal).await.ok()
    })
    .await;
    eventually("it leads no more", async || {
        (replica.metric("ipamd_leader").await == Some(0.0)).then_some(())
    })
    .await;
    leads(&replica).await;
    assert_eq!(replica.metric("ipamd_terms_total").await, Some(2.0));
    // The same process has the same cloud, and finds in it what it made.
    bed.put(PODS, bed::pod("pod-1", "node-1")).await;
    pool(&bed, "node-1", 6).await;
    assert_eq!(bed.list(RECORDS).await.len(), 1);
}

async fn a_leader_cut_off_from_the_api_server_gives_up_and_leads_again(bed: Arc<Bed>) {
    bed.put(NODES, bed::node("node-1")).await;
    let replica = Replica::start(&bed, &[]).await;
    pool(&bed, "node-1", 5).await;
    let cut = Instant::now();
    bed.server(|server| server.crash_server()).await;
    eventually("it leads no more", async || {
        (replica.metric("ipamd_leader").await == Some(0.0)).then_some(())
    })
    .await;
    assert!(cut.elapsed() < LEASE, "the lease still holds off the others");
    bed.server(|server| server.start_server().unwrap()).await;
    leads(&replica).await;
    bed.put(PODS, bed::pod("pod-1", "node-1")).await;
    pool(&bed, "node-1", 6).await;
}

async fn an_api_server_that_is_down_is_waited_for(bed: Arc<Bed>) {
    bed.server(|server| server.stop_server()).await;
    let replica = Replica::start(&bed, &[]).await;
    eventually("it says so", async || {
        replica
            .log()
            .contains("the kinds cannot be defined yet")
            .then_some(())
    })
    .await;
    assert_eq!(replica.get("/healthz").await.0, 200, "a restart would not help");
    let mut other = Replica::start(&bed, &[]).await;
    other.send(Signal::SIGTERM);
    assert_eq!(other.ended().await.code(), Some(0), "it ends while it waits, too");
    assert!(other.log().contains("ipamd stops"), "{}", other.log());
    bed.server(|server| server.start_server().unwrap()).await;
    leads(&replica).await;
}

async fn tencents_api_carries_a_pool_and_its_next_leader(bed: Arc<Bed>) {
    let tencent = Tencent::start(&bed).await;
    let node = "node-aaaaaaaa";
    bed.put(NODES, bed::node(node)).await;
    let everything = "--log-level=info,eni_cloud_tencent=trace,reqwest=trace,hyper=trace,hyper_util=trace";
    let mut first = Replica::start(&bed, &[&tencent.flags()[..], &[everything]].concat()).await;
    pool(&bed, node, 5).await;
    // More than one ENI carries, so that a second one comes.
    for number in 0..7 {
        bed.put(PODS, bed::pod(&format!("pod-{number}"), node)).await;
    }
    let config = pool(&bed, node, 12).await;
    assert_eq!(config["status"]["eniCount"], 2);
    let created = r#"ipamd_cloud_requests_total{action="CreateNetworkInterface"}"#;
    assert_eq!(first.metric(created).await, Some(2.0));
    let log = first.log();
    assert!(log.contains("request_id="), "requests are told");
    assert!(
        !log.contains("hush") && !log.contains("Signature="),
        "secrets are not"
    );

    // The next one finds by tags what this one made.
    first.send(Signal::SIGKILL);
    first.ended().await;
    let second = Replica::start(&bed, &tencent.flags()).await;
    leads(&second).await;
    bed.put(PODS, bed::pod("pod-7", node)).await;
    pool(&bed, node, 13).await;
    assert_eq!(second.metric(created).await, None);
    let enis = tencent.attached().await;
    let ours = |tag: &str, value: &str| {
        enis.iter()
            .filter(|eni| eni.tags.get(tag).is_some_and(|has| has == value))
            .count()
    };
    assert_eq!(
        (
            enis.len(),
            ours("tke-clusterId", "cls-test"),
            ours("tke-created-eni", "true")
        ),
        (2, 2, 2)
    );
    assert_eq!(
        enis.iter()
            .map(|eni| eni.secondary_addresses().count())
            .sum::<usize>(),
        13
    );

    let mut misled = Replica::spawn(
        &bed,
        &["--cloud=tencent", "--region=a/b", "--credentials=machine-role"],
    );
    assert_eq!(misled.ended().await.code(), Some(1));
    assert!(
        misled.log().contains("write it as ap-guangzhou"),
        "{}",
        misled.log()
    );
}

async fn what_cannot_run_says_what_to_do(bed: Arc<Bed>) {
    let mut wrong = Replica::spawn(&bed, &["--enable-security-groups"]);
    assert_eq!(wrong.ended().await.code(), Some(2));
    assert!(wrong.log().contains("leave it out"), "{}", wrong.log());
    let mut lost = Replica::spawn(&bed, &["--kubeconfig=/nowhere"]);
    assert_eq!(lost.ended().await.code(), Some(1));
    assert!(lost.log().contains("give it a kubeconfig file"), "{}", lost.log());
    let taken = Replica::start(&bed, &[]).await;
    let mut second = Replica::spawn(&bed, &[&format!("--health-address={}", taken.address())]);
    assert_eq!(second.ended().await.code(), Some(1));
    assert!(second.log().contains("take another port"), "{}", second.log());
}

async fn the_published_role_and_the_lease_suffice_for_all_of_this_so_far(bed: Arc<Bed>) {
    bed.put(NODES, bed::node("node-1")).await;
    // All that it does for nodes, and the marks, which are off by default.
    let replica = Replica::start(&bed, &["--enable-node-taint", "--enable-node-condition"]).await;
    pool(&bed, "node-1", 5).await;
    eventually("the node is marked", async || {
        let node = bed.find(NODES, "node-1").await?;
        node["spec"]["taints"].as_array().map(|_| ())
    })
    .await;
    drop(replica);
    let asked = bed.asked().await;
    let refused: Vec<_> = asked
        .iter()
        .filter(|event| event["responseStatus"]["code"] == 403)
        .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    for kind in ["nodes", "pods", "vpcenis", "nodeeniconfigs", "leases"] {
        let of = |event: &&Value| event["objectRef"]["resource"] == kind;
        assert!(asked.iter().any(|event| of(&event)), "it asked for {kind}");
    }
}
