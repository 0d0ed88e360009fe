//! Whole nodes in virtual time: pools grow with the pods, shrink without them, and nothing is left.
#![cfg(feature = "sim")]

mod world;

use std::{collections::BTreeSet, time::Duration};

use eni_core::{agent::AddError, cloud::CloudErrorKind, cluster::Cluster, cluster::Scope, model::WarmRange};
use world::World;

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_new_node_gets_its_warm_pool() {
    let world = World::new(1, WARM).await;
    world
        .until("5 idle addresses", MINUTE, |world| {
            world.service("node-0").counts().free == 5
        })
        .await;
    assert_eq!(world.bound("node-0"), 5);
    assert_eq!(world.secondary_enis(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_served_in_order_and_bounded_by_the_cloud_alone() {
    let world = World::new(1, WARM).await;
    let pods: Vec<_> = (0..20).map(|n| format!("pod-{n}")).collect();
    pods.iter().for_each(|pod| world.schedule(pod, "node-0"));
    let adds = pods.iter().map(|pod| world.add("node-0", pod, MINUTE));
    let grants = futures::future::join_all(adds).await;
    let addresses: BTreeSet<_> = grants
        .into_iter()
        .map(|grant| grant.unwrap().allocation.addresses)
        .collect();
    assert_eq!(addresses.len(), 20, "no address twice");
    world
        .until("pods + 5 bound", MINUTE, |world| world.bound("node-0") == 25)
        .await;
    let calls = world.all_calls();
    assert_eq!(calls["create_eni"], 3, "{calls:?}");
    assert!(
        calls.get("assign_addresses").copied().unwrap_or_default() <= 2,
        "{calls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_node_tells_its_waiters_why() {
    let world = World::new(1, WARM).await;
    let pods: Vec<_> = (0..28).map(|n| format!("pod-{n}")).collect();
    pods.iter().for_each(|pod| world.schedule(pod, "node-0"));
    let adds = pods.iter().map(|pod| world.add("node-0", pod, MINUTE));
    let outcomes = futures::future::join_all(adds).await;
    let failures: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(failures.len(), 1, "27 is what the instance can carry");
    assert!(
        matches!(&failures[0], AddError::Timeout { ahead: 0, .. }),
        "{failures:?}"
    );
    assert!(failures[0].to_string().contains("27"), "{}", failures[0]);
}

#[tokio::test(start_paused = true)]
async fn pods_that_go_make_the_pool_shrink_to_its_maximum() {
    let world = World::new(1, WARM).await;
    let pods: Vec<_> = (0..15).map(|n| format!("pod-{n}")).collect();
    for pod in &pods {
        world.schedule(pod, "node-0");
        world.add("node-0", pod, MINUTE).await.unwrap();
    }
    for pod in &pods {
        world.unschedule(pod);
        world.del("node-0", pod).await;
    }
    world
        .until("5 bound", 5 * MINUTE, |world| world.bound("node-0") == 5)
        .await;
    world
        .until("5 idle", MINUTE, |world| {
            world.service("node-0").counts().total() == 5
        })
        .await;
    tokio::time::sleep(MINUTE).await;
    let calls = world.all_calls();
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(world.bound("node-0"), 5, "and it stays there");
    let later = world.all_calls();
    assert_eq!(
        later["enis"] - calls["enis"],
        1,
        "a steady state asks the cloud nothing but the audit"
    );
    assert_eq!(later.get("assign_addresses"), calls.get("assign_addresses"));
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_warm_addresses_drains_to_nothing() {
    let world = World::new(2, WARM).await;
    for node in ["node-0", "node-1"] {
        for n in 0..12 {
            let pod = format!("{node}-pod-{n}");
            world.schedule(&pod, node);
            world.add(node, &pod, MINUTE).await.unwrap();
        }
    }
    for node in ["node-0", "node-1"] {
        for n in 0..12 {
            let pod = format!("{node}-pod-{n}");
            world.unschedule(&pod);
            world.del(node, &pod).await;
        }
        world.set_warm(node, WarmRange { min: 0, max: 0 }).await;
    }
    world
        .until("no ENI of ours", 5 * MINUTE, |world| world.secondary_enis() == 0)
        .await;
    world
        .until("no address", MINUTE, |world| {
            world.service("node-0").counts().total() == 0
        })
        .await;
    tokio::time::sleep(MINUTE).await;
    let records = world.cluster.eni_records().list(&Scope::All).await.unwrap();
    assert!(records.is_empty(), "{records:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_knows_its_owners_and_serves_without_the_cluster() {
    let mut world = World::new(1, WARM).await;
    world.schedule("pod-a", "node-0");
    let before = world.add("node-0", "pod-a", MINUTE).await.unwrap();
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    world.cluster.set_available(false);
    world.restart_agent("node-0").await;
    let again = world.add("node-0", "pod-a", MINUTE).await.unwrap();
    assert_eq!(again, before);
    let other = world.add("node-0", "pod-b", MINUTE).await.unwrap();
    assert_ne!(other.allocation.addresses, before.allocation.addresses);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_subnet_is_left_for_another() {
    let world = World::new(1, WARM).await;
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    let used = world
        .cloud
        .all_enis()
        .into_iter()
        .find(|eni| eni.kind == eni_core::model::EniKind::Secondary);
    let used = used.unwrap().subnet;
    world.cloud.take_addresses(&used, 1000);
    for n in 0..10 {
        let pod = format!("pod-{n}");
        world.schedule(&pod, "node-0");
        world.add("node-0", &pod, 2 * MINUTE).await.unwrap();
    }
    let subnets: BTreeSet<_> = world.cloud.all_enis().into_iter().map(|eni| eni.subnet).collect();
    assert_eq!(subnets.len(), 3, "nodes, a and b: {subnets:?}");
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_is_lost_makes_one_eni() {
    let world = World::new(1, WARM).await;
    world.cloud.inject(
        "create_eni",
        eni_core::sim::Fault::After(CloudErrorKind::Unavailable),
    );
    world
        .until("warm", 2 * MINUTE, |world| {
            world.service("node-0").counts().free == 5
        })
        .await;
    assert_eq!(world.secondary_enis(), 1);
}

#[tokio::test(start_paused = true)]
async fn throttling_delays_and_breaks_nothing() {
    let world = World::new(1, WARM).await;
    for action in ["create_eni", "attach_eni", "enis", "subnets", "limits"] {
        world
            .cloud
            .fail_next(action, CloudErrorKind::Throttled { retry_after: None });
    }
    world
        .until("warm", 2 * MINUTE, |world| {
            world.service("node-0").counts().free == 5
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_told_at_the_node() {
    let world = World::new(1, WARM).await;
    world.cloud.fail_next("create_eni", CloudErrorKind::Denied);
    world
        .until("warm", 2 * MINUTE, |world| {
            world.service("node-0").counts().free == 5
        })
        .await;
    let events = world.cluster.events();
    assert!(
        events.iter().any(|event| event.reason == "CloudPermissionDenied"),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deleted_object_is_made_anew_and_owners_keep_their_addresses() {
    let world = World::new(1, WARM).await;
    world.schedule("pod-a", "node-0");
    let before = world.add("node-0", "pod-a", MINUTE).await.unwrap();
    world
        .until("6 bound", MINUTE, |world| {
            world.service("node-0").counts().total() == 6
        })
        .await;
    world.cluster.node_configs().delete("node-0", None).await.unwrap();
    tokio::time::sleep(MINUTE).await;
    let config = world.cluster.node_configs().get("node-0").await.unwrap().object;
    assert_eq!(config.pool.attached(), 6);
    let counts = world.service("node-0").counts();
    assert_eq!(
        (counts.allocated, counts.free, counts.lost),
        (1, 5, 0),
        "{counts:?}"
    );
    assert_eq!(world.add("node-0", "pod-a", MINUTE).await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn a_senseless_warm_range_is_told_and_ignored() {
    let world = World::new(1, WARM).await;
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    world.set_warm("node-0", WarmRange { min: 9, max: 2 }).await;
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(world.bound("node-0"), 5);
    let events = world.cluster.events();
    assert!(
        events.iter().any(|event| event.reason == "InvalidWarmRange"),
        "{events:?}"
    );
}
