//! Garbage on a node: what is reclaimed, and above all what is not.

mod node;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use eni_core::{
    agent::{Add, NodePods, ReclaimError},
    gc::{Collector, INTERVAL, MINIMUM_AGE, NodeCollector, Sweep},
    journal::CommitFault,
    model::*,
    network::{Leftover, NetworkError, NodeNetwork, PodInterface, PodWiring},
    sim::Fault,
};
use node::{COOLDOWN, Node, key, netns, uid};
use tokio::time::{Instant, advance};

fn refused() -> NetworkError {
    NetworkError::Kernel {
        operation: "a test".to_owned(),
        message: "refused".to_owned(),
    }
}

/// As many rounds as it takes for whoever can be judged to be judged, and two more.
async fn rounds(node: &Node) -> Sweep {
    let mut all = Sweep::default();
    let first = Instant::now();
    while first.elapsed() <= MINIMUM_AGE + 2 * INTERVAL {
        let sweep = node.collector.collect().await.unwrap();
        all.reclaimed.extend(sweep.reclaimed);
        all.failed.extend(sweep.failed);
        advance(INTERVAL).await;
    }
    all
}

/// The same while evidence may be missing.
async fn rounds_without_evidence(node: &Node) {
    let first = Instant::now();
    while first.elapsed() <= MINIMUM_AGE + 2 * INTERVAL {
        node.collector.collect().await.unwrap_err();
        advance(INTERVAL).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_del_of_a_deleted_pod_is_made_good() {
    let node = Node::new(2).await;
    node.run("web", "c1").await;
    node.run("db", "c2").await;
    node.kill("c1");
    node.delete_pod("web");
    let sweep = rounds(&node).await;
    assert_eq!(node.owners(), ["c2"]);
    assert_eq!(sweep.reclaimed.len(), 1, "{sweep:?}");
    assert!(sweep.reclaimed[0].contains("its pod is gone"), "{sweep:?}");
    let kernel = node.network.survey().await.unwrap();
    assert_eq!((kernel.pods.len(), kernel.leftovers.len()), (1, 0), "{kernel:?}");
    assert_eq!(node.service.counters().reclaimed, 1);
    assert_eq!(node.run("next", "c3").await.iter().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reclaimed_address_rests_like_a_released_one() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.kill("c1");
    node.delete_pod("web");
    while node.collector.collect().await.unwrap().reclaimed.is_empty() {
        advance(INTERVAL).await;
    }
    assert_eq!(node.service.counts().cooling, 1);
    advance(COOLDOWN).await;
    assert_eq!(node.service.counts().free, 1);
}

/// Case 7 of the field: an address was taken while its sandbox was alive.
#[tokio::test(start_paused = true)]
async fn a_sandbox_that_lives_keeps_its_address_though_its_pod_is_gone() {
    let node = Node::new(2).await;
    node.run("web", "c1").await;
    node.delete_pod("web");
    rounds(&node).await;
    assert_eq!(
        node.owners(),
        ["c1"],
        "its device and its runtime say that it lives"
    );
    node.sandboxes.remove("c1");
    rounds(&node).await;
    assert_eq!(node.owners(), ["c1"], "its device says that it lives");
    node.sandboxes.put("c1", true);
    node.network.remove_namespace(&netns("c1"));
    rounds(&node).await;
    assert_eq!(node.owners(), ["c1"], "its runtime says that it lives");
}

/// Case 9 of the field: an address went before its pod had ended.
#[tokio::test(start_paused = true)]
async fn a_pod_that_needs_it_keeps_its_address_though_its_sandbox_is_dead() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.kill("c1");
    rounds(&node).await;
    assert_eq!(node.owners(), ["c1"]);
}

/// Case 30 of the field: pods that have completed counted as users.
#[tokio::test(start_paused = true)]
async fn a_finished_pod_with_a_stopped_sandbox_gives_its_address_back() {
    let node = Node::new(1).await;
    node.run("job", "c1").await;
    node.put_pod("job", uid("job"), PodPhase::Finished);
    rounds(&node).await;
    assert_eq!(node.owners(), ["c1"], "its sandbox runs");
    node.sandboxes.put("c1", false);
    node.network.remove_namespace(&netns("c1"));
    rounds(&node).await;
    assert!(node.owners().is_empty());
}

/// Case 14 of the field: each sandbox that is made anew for a pod leaked an address.
#[tokio::test(start_paused = true)]
async fn fifty_sandboxes_of_one_pod_leave_one_address_in_use() {
    let node = Node::new(60).await;
    for n in 0..50 {
        let container = format!("c{n}");
        node.run("web", &container).await;
        if n < 49 {
            match n % 2 {
                0 => drop(node.del(&container).await.unwrap()),
                _ => node.kill(&container),
            }
        }
    }
    rounds(&node).await;
    assert_eq!(node.owners(), ["c49"]);
    advance(COOLDOWN).await;
    assert_eq!(node.service.counts().free, 59);
}

/// Cases 5 and 43 of the field: a pod's name says nothing about who owns an address.
#[tokio::test(start_paused = true)]
async fn a_pod_of_the_same_name_neither_saves_nor_loses_anything() {
    let node = Node::new(3).await;
    node.run("web", "c1").await;
    node.put_pod("web", "uid-of-the-next".into(), PodPhase::Running);
    let mut request = node.request("web", "c2");
    request.pod_uid = Some("uid-of-the-next".into());
    let add = Add {
        request,
        deadline: Instant::now() + Duration::from_secs(9),
        started: Duration::from_secs(9),
    };
    let (grant, wiring) = node.service.add(add).await.unwrap();
    drop(wiring);
    node.sandboxes.put("c2", true);
    node.kill("c1");
    let released = node.del("c1").await.unwrap();
    assert_ne!(released.unwrap().addresses, grant.allocation.addresses);
    rounds(&node).await;
    assert_eq!(node.owners(), ["c2"]);
}

/// Cases 12 and 13 of the field: a DEL that the reboot swallowed.
#[tokio::test(start_paused = true)]
async fn dels_lost_across_a_reboot_are_made_good_by_the_boot() {
    let mut node = Node::new(4).await;
    node.run("web", "c1").await;
    node.run("db", "c2").await;
    node.reboot().await;
    // `web` starts anew and `db` is gone; a runtime that still says "ready" is of the former boot.
    node.sandboxes.put("c1", true);
    node.run("web", "c3").await;
    node.delete_pod("db");
    let sweep = rounds(&node).await;
    assert_eq!(node.owners(), ["c3"], "{sweep:?}");
    assert!(
        sweep.reclaimed.iter().all(|line| line.contains("boot-0")),
        "{sweep:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_that_starts_again_under_its_id_after_a_reboot_is_not_of_the_former_boot() {
    let mut node = Node::new(1).await;
    node.run("web", "c1").await;
    node.reboot().await;
    node.add("web", "c1").await.unwrap();
    node.delete_pod("web");
    rounds(&node).await;
    assert_eq!(node.owners(), ["c1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reclaimed_while_anything_cannot_be_read() {
    let mut node = Node::new(2).await;
    node.run("web", "c1").await;
    node.delete_pod("web");
    node.kill("c1");

    node.sandboxes.set_error(Some("the socket is closed"));
    rounds_without_evidence(&node).await;
    node.sandboxes.set_error(None);

    for _ in 0..20 {
        node.network.inject("survey", Fault::Before(refused()));
    }
    for _ in 0..20 {
        node.collector.collect().await.unwrap_err();
        advance(INTERVAL).await;
    }

    node.pods = Arc::new(NodePods::default());
    node.restart().await;
    rounds_without_evidence(&node).await;
    assert_eq!(node.owners(), ["c1"]);
}

#[tokio::test(start_paused = true)]
async fn two_rounds_must_agree() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.delete_pod("web");
    node.collector.collect().await.unwrap();
    advance(MINIMUM_AGE).await;
    node.kill("c1");
    let sweep = node.collector.collect().await.unwrap();
    assert_eq!((sweep.suspected, sweep.reclaimed.len()), (1, 0));
    // A runtime that was wrong for a moment is right again.
    node.sandboxes.put("c1", true);
    assert_eq!(node.collector.collect().await.unwrap(), Sweep::default());
    node.sandboxes.remove("c1");
    assert_eq!(node.collector.collect().await.unwrap().suspected, 1);
    assert_eq!(node.collector.collect().await.unwrap().reclaimed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_young_are_not_judged_by_our_own_clock() {
    let mut node = Node::new(1).await;
    node.run("web", "c1").await;
    node.delete_pod("web");
    node.kill("c1");
    advance(10 * MINIMUM_AGE).await;
    node.restart().await;
    let start = Instant::now();
    while start.elapsed() < MINIMUM_AGE {
        assert_eq!(node.collector.collect().await.unwrap(), Sweep::default());
        advance(Duration::from_secs(10)).await;
    }
    assert_eq!(node.collector.collect().await.unwrap().suspected, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_not_judged_and_waits_for_nobody() {
    let node = Node::new(1).await;
    let request = node.request("web", "c1");
    let add = Add {
        request,
        deadline: Instant::now() + Duration::from_secs(9),
        started: Duration::from_secs(1),
    };
    let (_, wiring) = node.service.add(add).await.unwrap();
    rounds(&node).await;
    assert_eq!(node.owners(), ["c1"], "its plugin is still wiring");
    drop(wiring);
    rounds(&node).await;
    assert!(node.owners().is_empty(), "its plugin died");
}

#[tokio::test(start_paused = true)]
async fn an_add_that_comes_first_is_seen_under_the_lock() {
    let node = Node::new(2).await;
    node.run("web", "c1").await;
    let (_, old) = node.service.owners().remove(0);
    node.del("c1").await.unwrap();
    node.add("web", "c1").await.unwrap();
    let reclaimed = node.service.reclaim(&key("c1"), &old, &*node.network).await;
    assert!(!reclaimed.unwrap(), "what was judged is not what is there");
    assert_eq!(node.owners(), ["c1"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_off_the_wire_or_recorded_stays_owned_until_it_can() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.kill("c1");
    node.delete_pod("web");
    node.network.inject("unwire", Fault::Before(refused()));
    node.network.inject("unwire", Fault::None);
    node.journal.fail_next(CommitFault::Before);
    let (_, owned) = node.service.owners().remove(0);
    for journal in [false, true] {
        let error = node
            .service
            .reclaim(&key("c1"), &owned, &*node.network)
            .await
            .unwrap_err();
        assert_eq!(matches!(error, ReclaimError::Journal(_)), journal, "{error}");
        assert_eq!(node.owners(), ["c1"]);
    }
    rounds(&node).await;
    assert!(node.owners().is_empty());
}

/// A device of ours that nobody owns: DEL was answered, and its plugin died before it unwired.
#[tokio::test(start_paused = true)]
async fn a_device_that_nobody_owns_is_taken_off_the_wire() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.release("c1").await.unwrap();
    node.sandboxes.put("c1", false);
    rounds(&node).await;
    assert_eq!(node.network.survey().await.unwrap(), Default::default());
    assert_eq!(node.service.counters().leftovers, 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_of_a_sandbox_that_runs_is_left_alone() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.release("c1").await.unwrap();
    rounds(&node).await;
    assert_eq!(node.network.wired().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rules_of_a_free_address_go_and_nobody_gets_it_meanwhile() {
    let node = Node::new(1).await;
    let ip = node.run("web", "c1").await.iter().next().unwrap();
    node.release("c1").await.unwrap();
    node.kill("c1");
    advance(COOLDOWN).await;
    assert_eq!(node.service.counts().free, 1);
    let kernel = node.network.survey().await.unwrap();
    assert_eq!(kernel.leftovers, [Leftover::Address(ip)]);

    node.network
        .inject("clear", Fault::Delay(Duration::from_secs(60)));
    let mut clearing = Box::pin(node.service.clear(Leftover::Address(ip), &*node.network));
    assert!(futures::poll!(&mut clearing).is_pending());
    advance(Duration::from_secs(20)).await;
    assert_eq!(node.service.counts().free, 0, "nobody gets it while its rules go");
    drop(clearing);
    assert_eq!(node.service.counts().cooling, 1, "what was dropped may still run");
    advance(COOLDOWN).await;
    rounds(&node).await;
    assert_eq!(node.network.survey().await.unwrap(), Default::default());
    advance(COOLDOWN).await;
    node.run("next", "c2").await;
}

#[tokio::test(start_paused = true)]
async fn rules_of_an_owned_address_and_whatever_lives_are_left_alone() {
    let node = Node::new(2).await;
    let ip = node.run("web", "c1").await.iter().next().unwrap();
    assert!(
        !node
            .service
            .clear(Leftover::Address(ip), &*node.network)
            .await
            .unwrap()
    );
    let before = node.network.list().await.unwrap();
    rounds(&node).await;
    assert_eq!(node.network.list().await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn the_table_of_an_eni_that_left_is_cleared() {
    let node = Node::new(1).await;
    node.network.detach(node.pool.enis[0].mac);
    assert_eq!(node.network.survey().await.unwrap().leftovers.len(), 1);
    rounds(&node).await;
    assert_eq!(node.network.survey().await.unwrap(), Default::default());
}

fn attached(containers: &[&str]) -> BTreeSet<(Arc<str>, Arc<str>)> {
    let pairs = containers
        .iter()
        .map(|container| (Arc::from(*container), Arc::from("eth0")));
    pairs.collect()
}

#[tokio::test(start_paused = true)]
async fn cni_gc_reclaims_what_the_runtime_does_not_list_in_that_network_alone() {
    let node = Node::new(4).await;
    for n in ["c1", "c2", "c3"] {
        node.run(n, n).await;
    }
    node.kill("c1");
    node.kill("c3");
    let elsewhere = node
        .collector
        .collect_network("other", &attached(&[]))
        .await
        .unwrap();
    assert_eq!(elsewhere, Sweep::default());
    let sweep = node
        .collector
        .collect_network("net", &attached(&["c2", "c3"]))
        .await
        .unwrap();
    assert_eq!(sweep.reclaimed.len(), 1, "{sweep:?}");
    assert_eq!(node.owners(), ["c2", "c3"]);
}

#[tokio::test(start_paused = true)]
async fn cni_gc_with_a_list_that_is_wrong_takes_nothing_that_lives() {
    let node = Node::new(4).await;
    node.run("web", "c1").await;
    let request = node.request("db", "c2");
    let add = Add {
        request,
        deadline: Instant::now() + Duration::from_secs(9),
        started: Duration::from_secs(1),
    };
    let (_, _wiring) = node.service.add(add).await.unwrap();
    node.collector
        .collect_network("net", &attached(&[]))
        .await
        .unwrap();
    assert_eq!(
        node.owners(),
        ["c1", "c2"],
        "one is on the wire, the other in flight"
    );
    node.network.inject("survey", Fault::Before(refused()));
    node.collector
        .collect_network("net", &attached(&[]))
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn cni_gc_after_a_reboot_takes_what_the_former_boot_left() {
    let mut node = Node::new(2).await;
    node.run("web", "c1").await;
    node.reboot().await;
    let sweep = node
        .collector
        .collect_network("net", &attached(&[]))
        .await
        .unwrap();
    assert!(sweep.reclaimed[0].contains("boot-0"), "{sweep:?}");
    assert!(node.owners().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_collector_runs_by_itself() {
    let node = Node::new(1).await;
    node.run("web", "c1").await;
    node.kill("c1");
    node.delete_pod("web");
    let (network, sandboxes) = (node.network.clone(), node.sandboxes.clone());
    let collector = NodeCollector::new(node.service.clone(), network, sandboxes, node.pods.clone());
    let task = tokio::spawn(async move { collector.run(INTERVAL).await });
    tokio::time::sleep(MINIMUM_AGE + 2 * INTERVAL).await;
    assert!(node.owners().is_empty());
    task.abort();
}

/// Case 15 of the field: an ADD that ends at any of its steps leaves nothing after a DEL, and nothing
/// after garbage collection either.
#[tokio::test(start_paused = true)]
async fn an_add_that_fails_at_any_step_leaves_nothing_after_a_del_or_garbage_collection() {
    #[derive(Clone, Copy, Debug)]
    enum Step {
        CommitFails(CommitFault),
        CallerHangsUpWhileCommitting,
        PluginDiesBeforeWiring,
        WiringFails { after: bool },
        PluginDiesAfterWiring,
        AgentDiesWhileCommitting,
        AgentDiesAfterCommitting,
        AgentDiesAfterWiring,
        NodeReboots,
    }
    let steps = [
        Step::CommitFails(CommitFault::Before),
        Step::CommitFails(CommitFault::After),
        Step::CallerHangsUpWhileCommitting,
        Step::PluginDiesBeforeWiring,
        Step::WiringFails { after: false },
        Step::WiringFails { after: true },
        Step::PluginDiesAfterWiring,
        Step::AgentDiesWhileCommitting,
        Step::AgentDiesAfterCommitting,
        Step::AgentDiesAfterWiring,
        Step::NodeReboots,
    ];
    for (step, by_del) in steps.into_iter().flat_map(|step| [(step, true), (step, false)]) {
        let mut node = Node::new(3).await;
        node.run("neighbour", "c0").await;
        let commits_slowly = matches!(
            step,
            Step::CallerHangsUpWhileCommitting | Step::AgentDiesWhileCommitting
        );
        if commits_slowly {
            node.journal.set_latency(Duration::from_secs(1));
        }
        if let Step::CommitFails(fault) = step {
            node.journal.fail_next(fault);
        }
        let add = Add {
            request: node.request("web", "c1"),
            deadline: Instant::now() + Duration::from_secs(9),
            started: Duration::from_secs(1),
        };
        let mut adding = Box::pin(node.service.add(add));
        if commits_slowly {
            assert!(futures::poll!(&mut adding).is_pending());
            drop(adding);
            tokio::time::sleep(Duration::from_secs(2)).await;
            node.journal.set_latency(Duration::ZERO);
        } else if let Ok((grant, _wiring)) = adding.await {
            let wires = matches!(
                step,
                Step::WiringFails { .. }
                    | Step::PluginDiesAfterWiring
                    | Step::AgentDiesAfterWiring
                    | Step::NodeReboots
            );
            if let Step::WiringFails { after } = step {
                let fault = if after { Fault::After } else { Fault::Before };
                node.network.inject("wire", fault(refused()));
            }
            if wires {
                let wiring = wiring("c1", &grant.allocation, grant.link.table);
                let wired = node.network.wire(&wiring).await;
                assert_eq!(
                    wired.is_err(),
                    matches!(step, Step::WiringFails { .. }),
                    "{step:?}"
                );
            }
        }
        // No sandbox comes of it.
        node.network.remove_namespace(&netns("c1"));
        match step {
            Step::AgentDiesWhileCommitting | Step::AgentDiesAfterCommitting | Step::AgentDiesAfterWiring => {
                node.restart().await;
            }
            Step::NodeReboots => node.reboot().await,
            _ => {}
        }
        if by_del {
            node.del("c1").await.unwrap();
            node.del("c1").await.unwrap();
        } else {
            rounds(&node).await;
        }
        assert_eq!(node.owners(), ["c0"], "{step:?}, by DEL: {by_del}");
        advance(COOLDOWN).await;
        let counts = node.service.counts();
        assert_eq!(
            (counts.free, counts.total()),
            (2, 3),
            "{step:?}, by DEL: {by_del}"
        );
        let kernel = node.network.survey().await.unwrap();
        assert!(
            kernel.leftovers.is_empty(),
            "{step:?}, by DEL: {by_del}: {kernel:?}"
        );
        node.restart().await;
        assert_eq!(
            node.owners(),
            ["c0"],
            "the journal agrees: {step:?}, by DEL: {by_del}"
        );
    }
}

fn wiring(container: &str, owned: &Allocation, table: u32) -> PodWiring {
    let interface = PodInterface {
        key: key(container),
        pod: owned.pod.clone(),
        addresses: None,
    };
    PodWiring {
        interface,
        netns: netns(container),
        addresses: owned.addresses,
        table: Some(table),
        mtu: 1500,
    }
}
