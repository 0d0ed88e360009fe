//! What a node remembers across restarts, reboots, clocks that jump, and the loss of its journal.

mod node;

use std::time::Duration;

use eni_core::{
    agent::{Add, CachedResult, NotReady, Witnesses},
    gc::Collector,
    journal::{CommitFault, Hold, Journal, MemoryJournal},
    model::*,
    network::{NodeNetwork, WiredPod},
    sandbox::Sandbox,
};
use jiff::SignedDuration;
use node::{COOLDOWN, Node, key, uid};
use tokio::time::{Instant, advance};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A node whose only address was released 20 s ago.
async fn resting() -> Node {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.del("c1").await.unwrap();
    advance(Duration::from_secs(20)).await;
    node
}

#[tokio::test(start_paused = true)]
async fn a_rest_goes_on_after_a_restart_whatever_the_wall_clock_does() {
    for jump in [SignedDuration::ZERO, HOUR, -HOUR] {
        let mut node = resting().await;
        node.environment.jump(jump);
        node.restart().await;
        advance(Duration::from_secs(9)).await;
        assert_eq!(node.service.counts().cooling, 1, "{jump}: too early");
        advance(Duration::from_secs(1)).await;
        assert_eq!(node.service.counts().free, 1, "{jump}: too late");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rest_begins_anew_after_a_reboot_whatever_the_wall_clock_does() {
    for jump in [SignedDuration::ZERO, HOUR, -HOUR] {
        let mut node = resting().await;
        node.environment.jump(jump);
        node.reboot().await;
        advance(COOLDOWN - Duration::from_secs(1)).await;
        assert_eq!(node.service.counts().cooling, 1, "{jump}: too early");
        advance(Duration::from_secs(1)).await;
        assert_eq!(node.service.counts().free, 1, "{jump}: too late");
    }
}

#[tokio::test(start_paused = true)]
async fn of_addresses_that_left_the_pool_fences_are_forgotten_and_rests_last_to_their_end() {
    let mut node = Node::new(3).await;
    node.run("web", "c1").await;
    node.del("c1").await.unwrap();
    node.service.withdraw(1).await.unwrap();
    assert_eq!(node.journal.load().await.unwrap().held.len(), 2);
    let attached = std::mem::take(&mut node.pool.enis[0].attached);
    node.publish().await;
    let held = node.journal.load().await.unwrap().held;
    assert!(matches!(held[..], [(_, Hold::Cooling { .. })]), "{held:?}");

    node.restart().await;
    node.pool.enis[0].attached = attached;
    node.publish().await;
    assert_eq!(
        node.service.counts().cooling,
        1,
        "it may have left for a moment only"
    );
    node.pool.enis[0].attached.clear();
    node.publish().await;
    advance(Duration::from_secs(30)).await;
    node.restart().await;
    assert_eq!(node.journal.load().await.unwrap().held, []);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_vanished_is_dropped_when_it_is_released_and_rests_should_it_come_back() {
    let mut node = Node::new(1).await;
    node.run("web", "c1").await;
    let attached = std::mem::take(&mut node.pool.enis[0].attached);
    node.publish().await;
    node.del("c1").await.unwrap();
    assert_eq!(node.service.counts().total(), 0);
    node.restart().await;
    node.pool.enis[0].attached = attached;
    node.publish().await;
    assert_eq!(node.service.counts().cooling, 1);
}

/// A node on which `web` runs in `c1` and whose journal is lost; the agent has not read the pool.
async fn lost() -> (Node, PodAddresses) {
    let mut node = Node::new(3).await;
    let addresses = node.run("web", "c1").await;
    node.journal = MemoryJournal::new();
    node.reopen().await;
    (node, addresses)
}

async fn seen(node: &Node) -> Witnesses {
    Witnesses {
        wired: node.network.survey().await.unwrap().pods,
        ..Witnesses::default()
    }
}

fn cached(container: &str, pod: &str, addresses: PodAddresses) -> CachedResult {
    CachedResult {
        key: key(container),
        addresses,
        pod: Some(PodKey::new("default", pod)),
        pod_uid: Some(uid(pod)),
        netns: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_serves_nobody_before_the_witnesses_were_heard() {
    let (node, addresses) = lost().await;
    node.publish().await;
    assert_eq!(node.service.status(), Err(NotReady::Recovering));
    let add = |container: &str| Add {
        request: node.request("new", container),
        deadline: Instant::now() + Duration::from_secs(10),
        started: Duration::from_secs(60),
    };
    let refused = node.service.add(add("c2")).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("its owners are still being looked for"),
        "{refused}"
    );
    assert_eq!(
        node.service.withdraw(3).await.unwrap(),
        [],
        "nothing is known to be idle"
    );
    node.collector.collect().await.unwrap_err();

    let mut waiting = Box::pin(node.service.add(add("c3")));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(
        node.service.recover(&seen(&node).await).await.unwrap(),
        [key("c1")]
    );
    let (grant, _wiring) = waiting.await.unwrap();
    assert_ne!(grant.allocation.addresses, addresses);
    assert_eq!(node.service.status(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_before_gets_its_address_again_from_a_lost_journal() {
    let (mut node, addresses) = lost().await;
    node.publish().await;
    let mut again = Box::pin(node.service.add(Add {
        request: node.request("web", "c1"),
        deadline: Instant::now() + Duration::from_secs(10),
        started: Duration::from_secs(60),
    }));
    assert!(futures::poll!(&mut again).is_pending());
    node.service.recover(&seen(&node).await).await.unwrap();
    assert_eq!(again.await.unwrap().0.allocation.addresses, addresses);
    node.restart().await;
    assert!(!node.service.recovering(), "it is remembered");
    assert_eq!(node.owners(), ["c1"]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_during_recovery_does_not_leave_a_journal_that_is_believed() {
    let (mut node, _) = lost().await;
    node.publish().await;
    node.restart().await;
    assert!(node.service.recovering(), "the pool alone is no memory");
    node.journal.fail_next(CommitFault::Before);
    node.service.recover(&seen(&node).await).await.unwrap_err();
    assert!(node.service.recovering());
    assert!(matches!(node.service.status(), Err(NotReady::Journal(_))));
    node.service.recover(&seen(&node).await).await.unwrap();
    node.restart().await;
    assert_eq!(node.owners(), ["c1"]);
    assert_eq!(node.service.counts().allocated, 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_without_a_device_is_held_unless_its_address_is_seen_elsewhere() {
    let (node, addresses) = lost().await;
    node.publish().await;
    let other: PodAddresses = std::net::IpAddr::from([10, 0, 0, 12]).into();
    let witnesses = Witnesses {
        cached: vec![
            cached("c1", "web", addresses),
            cached("an-old-one", "gone", addresses),
            cached("not-seen", "db", other),
        ],
        ..seen(&node).await
    };
    node.service.recover(&witnesses).await.unwrap();
    assert_eq!(node.owners(), ["c1", "not-seen"]);
    let owners = node.service.owners();
    assert_eq!(
        owners[0].1.pod,
        Some(PodKey::new("default", "web")),
        "the result names the pod"
    );
    assert_eq!(owners[0].1.eni, node.pool.enis[0].id);
    assert_eq!(node.service.counts().free, 1);
    // It was dead after all, which takes two witnesses as ever.
    while node.owners().len() > 1 {
        node.collector.collect().await.unwrap();
        advance(eni_core::gc::INTERVAL).await;
    }
    assert_eq!(node.owners(), ["c1"]);
}

#[tokio::test(start_paused = true)]
async fn a_del_during_recovery_is_answered_and_its_address_rests() {
    let (node, _) = lost().await;
    node.publish().await;
    let witnesses = seen(&node).await;
    assert!(node.del("c1").await.unwrap().is_none());
    node.service.recover(&witnesses).await.unwrap();
    assert!(node.owners().is_empty());
    assert_eq!(node.service.counts().cooling, 1);
    assert_eq!(node.journal.load().await.unwrap().held.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_the_pool_does_not_have_yet_is_its_owners_when_it_comes() {
    let (mut node, addresses) = lost().await;
    node.service.recover(&seen(&node).await).await.unwrap();
    assert_eq!(node.service.counts().lost, 1);
    node.publish().await;
    assert_eq!(node.service.counts().allocated, 1);
    assert_eq!(
        node.service.grant(&key("c1")).unwrap().allocation.addresses,
        addresses
    );
    node.restart().await;
    assert!(node.service.grant(&key("c1")).is_some(), "also after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_rules_somebody_flushed_is_known_by_the_kept_result() {
    let (node, addresses) = lost().await;
    node.publish().await;
    let wired = vec![WiredPod {
        key: key("c1"),
        addresses: PodAddresses::default(),
    }];
    let cached = vec![cached("c1", "web", addresses)];
    let witnesses = Witnesses {
        wired,
        cached,
        ..Witnesses::default()
    };
    node.service.recover(&witnesses).await.unwrap();
    assert_eq!(
        node.service.grant(&key("c1")).unwrap().allocation.addresses,
        addresses
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_pod_the_runtime_alone_names_is_collected_when_that_is_gone() {
    let (node, _) = lost().await;
    node.publish().await;
    let sandbox = Sandbox {
        container: "c1".into(),
        ready: true,
        pod: Some((PodKey::new("default", "web"), uid("web"))),
    };
    let witnesses = Witnesses {
        sandboxes: vec![sandbox],
        ..seen(&node).await
    };
    node.service.recover(&witnesses).await.unwrap();
    let owners = node.service.owners();
    assert_eq!(owners[0].1.pod_uid, Some(uid("web")));
    // The pod and its sandbox go, and the DEL is lost.
    node.delete_pod("web");
    node.kill("c1");
    for _ in 0..10 {
        node.collector.collect().await.unwrap();
        advance(eni_core::gc::INTERVAL).await;
    }
    assert!(node.owners().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_remembers_needs_no_recovery() {
    let mut node = Node::new(2).await;
    node.run("web", "c1").await;
    node.restart().await;
    assert!(!node.service.recovering());
    let stranger = WiredPod {
        key: key("stranger"),
        addresses: std::net::IpAddr::from([10, 0, 0, 11]).into(),
    };
    let witnesses = Witnesses {
        wired: vec![stranger],
        ..Witnesses::default()
    };
    assert_eq!(node.service.recover(&witnesses).await.unwrap(), []);
    assert_eq!(node.owners(), ["c1"]);
}
