//! What the contract suite cannot ask for: slow watchers, broken connections and what others write.

use std::time::Duration;

use futures::{FutureExt, StreamExt};

use super::MemoryCluster;
use crate::{
    cluster::{Cluster, ClusterError, Event, Scope, Subject, WatchEvent},
    model::{Node, NodeName, Pod, PodKey, PodPhase},
    sim::Fault,
};

fn pod(name: &str, uid: &str, node: Option<&str>) -> Pod {
    Pod {
        key: PodKey::new("default", name),
        uid: uid.into(),
        node: node.map(NodeName::from),
        host_network: false,
        phase: PodPhase::Pending,
        claim: Ok(Default::default()),
        workload: None,
    }
}

fn node(name: &str) -> Node {
    Node {
        name: name.into(),
        uid: "uid".into(),
        instance: None,
        zone: None,
        max_pods: None,
        silent: None,
    }
}

/// A step in short: `=` the whole state, `+` applied, `-` deleted.
fn short(step: WatchEvent<Pod>) -> String {
    let name = |pod: &Pod| format!("{}:{}", pod.key.name, pod.uid);
    match step {
        WatchEvent::Reset(pods) => {
            format!(
                "={}",
                pods.iter()
                    .map(|pod| name(&pod.object))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        }
        WatchEvent::Applied(pod) => format!("+{}", name(&pod.object)),
        WatchEvent::Deleted(pod) => format!("-{}", name(&pod)),
    }
}

#[tokio::test]
async fn a_watch_follows_its_scope() {
    let cluster = MemoryCluster::new();
    cluster.put_pod(pod("a", "1", Some("n")));
    cluster.put_pod(pod("b", "2", None));
    let mut watch = cluster.pods().watch(Scope::Node("n".into())).map(short);
    assert_eq!(watch.next().await.unwrap(), "=a:1");
    cluster.put_pod(pod("b", "2", Some("n")));
    assert_eq!(watch.next().await.unwrap(), "+b:2");
    cluster.put_pod(pod("c", "3", Some("other")));
    cluster.put_pod(pod("b", "2", Some("other")));
    assert_eq!(watch.next().await.unwrap(), "-b:2", "it left the scope");
    cluster.delete_pod(&PodKey::new("default", "a"));
    assert_eq!(watch.next().await.unwrap(), "-a:1");
    assert!(watch.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_slow_watcher_gets_merged_steps_then_the_whole_state() {
    let cluster = MemoryCluster::new();
    let mut watch = cluster.pods().watch(Scope::All).map(short);
    assert_eq!(watch.next().await.unwrap(), "=");
    for uid in ["1", "2", "3"] {
        cluster.put_pod(pod("a", uid, None));
    }
    assert_eq!(watch.next().await.unwrap(), "+a:3");
    for number in 0..3000 {
        cluster.put_pod(pod(&number.to_string(), "x", None));
        cluster.delete_pod(&PodKey::new("default", number.to_string()));
    }
    assert_eq!(watch.next().await.unwrap(), "=a:3");
    assert!(watch.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_interruption_fails_calls_stalls_watches_and_ends_in_a_reset() {
    let cluster = MemoryCluster::new();
    let other = cluster.connect();
    let mut watch = cluster.pods().watch(Scope::All).map(short);
    assert_eq!(watch.next().await.unwrap(), "=");
    cluster.set_available(false);
    assert!(matches!(
        cluster.pods().list(&Scope::All).await,
        Err(ClusterError::Unavailable { .. })
    ));
    assert!(
        other.pods().list(&Scope::All).await.is_ok(),
        "the other connection holds"
    );
    cluster.put_pod(pod("a", "1", None));
    assert!(
        tokio::time::timeout(Duration::from_secs(60), watch.next())
            .await
            .is_err()
    );
    cluster.set_available(true);
    assert_eq!(watch.next().await.unwrap(), "=a:1");
    cluster.put_pod(pod("b", "2", None));
    assert_eq!(watch.next().await.unwrap(), "+b:2");
}

#[tokio::test]
async fn a_short_interruption_between_two_steps_is_seen() {
    let cluster = MemoryCluster::new();
    let mut watch = cluster.pods().watch(Scope::All).map(short);
    assert_eq!(watch.next().await.unwrap(), "=");
    cluster.put_pod(pod("a", "1", None));
    cluster.set_available(false);
    cluster.set_available(true);
    assert_eq!(watch.next().await.unwrap(), "=a:1");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_write() {
    let cluster = MemoryCluster::new();
    cluster.put_node(node("n"));
    let lost = ClusterError::Unavailable {
        message: "lost".to_owned(),
    };
    cluster.inject("get", Fault::Before(lost.clone()));
    assert_eq!(cluster.nodes().get("n").await.unwrap_err(), lost);
    assert_eq!(cluster.nodes().get("n").await.unwrap().object, node("n"));

    cluster.inject("delete", Fault::After(lost.clone()));
    assert_eq!(
        cluster.eni_records().delete("none", None).await.unwrap_err(),
        lost
    );
}

#[tokio::test]
async fn events_are_logged_while_the_cluster_can_be_reached() {
    let cluster = MemoryCluster::new();
    let event = Event {
        subject: Subject::Node("n".into()),
        warning: true,
        reason: "ENILimit",
        message: "the node is full".to_owned(),
    };
    cluster.report(event.clone());
    cluster.set_available(false);
    cluster.report(event.clone());
    assert_eq!(cluster.take_events(), [event]);
    assert_eq!(cluster.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_late_watch_tells_every_step_in_order_and_late() {
    let cluster = MemoryCluster::new();
    let mut watch = cluster.pods().watch(Scope::All);
    assert!(matches!(watch.next().await, Some(WatchEvent::Reset(all)) if all.is_empty()));
    cluster.set_watch_delay(Duration::from_secs(3));
    let began = tokio::time::Instant::now();
    cluster.put_pod(pod("a", "u", Some("node-1")));
    cluster.delete_pod(&PodKey::new("default", "a"));
    assert!(matches!(watch.next().await, Some(WatchEvent::Applied(_))));
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    assert!(matches!(watch.next().await, Some(WatchEvent::Deleted(_))));
    cluster.interrupt_watches();
    assert!(matches!(watch.next().await, Some(WatchEvent::Reset(all)) if all.is_empty()));
}
