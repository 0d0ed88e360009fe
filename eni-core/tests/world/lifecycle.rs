//! Nodes, instances and ENIs that go: what is cleaned up after them, and what is left alone.

use std::time::Duration;

use eni_core::{
    cloud::{Cloud, CloudErrorKind, CreateEni},
    cluster::{Cluster, Scope},
    model::*,
    sim::Fault,
};
use tokio::time::sleep;

use super::{LIMITS, World};

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const MINUTE: Duration = Duration::from_secs(60);

async fn warm(nodes: usize) -> World {
    let world = World::new(nodes, WARM).await;
    let warm = |world: &World| world.nodes.values().all(|node| node.service.counts().free == 5);
    world.until("warm", MINUTE, warm).await;
    world
}

async fn records(world: &World) -> Vec<EniRecord> {
    let records = world.cluster.eni_records().list(&Scope::All).await.unwrap();
    records.into_iter().map(|read| read.object).collect()
}

async fn has_config(world: &World, node: &str) -> bool {
    world.cluster.node_configs().get(node).await.is_ok()
}

fn node(name: &str, instance: &str, uid: &str) -> Node {
    Node {
        name: name.into(),
        uid: uid.into(),
        instance: Some(instance.into()),
        zone: Some("zone-1".into()),
        max_pods: None,
        silent: None,
    }
}

fn ours(name: &str) -> CreateEni {
    CreateEni {
        name: name.into(),
        subnet: "subnet-a".into(),
        secondary: 1,
        security_groups: vec![],
        tags: [("cluster".to_owned(), "test".to_owned())].into(),
        token: name.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_terminated_instance_leaves_nothing_behind() {
    let world = warm(2).await;
    world.cloud.terminate_instance(&"ins-0".into());
    world.cloud.forget_instance(&"ins-0".into());
    world.cluster.delete_node(&"node-0".into());
    world
        .until("only the other node's ENI", 15 * MINUTE, |world| {
            world.secondary_enis() == 1
        })
        .await;
    sleep(2 * MINUTE).await;
    assert!(!has_config(&world, "node-0").await, "the object goes last");
    assert!(
        records(&world)
            .await
            .iter()
            .all(|record| record.node.as_str() == "node-1")
    );
    assert_eq!(world.bound("node-1"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_missing_node_object_or_a_stopped_instance_removes_nothing() {
    let world = warm(2).await;
    world.cluster.delete_node(&"node-0".into());
    world.cloud.set_running(&"ins-1".into(), false);
    sleep(60 * MINUTE).await;
    assert_eq!((world.bound("node-0"), world.bound("node-1")), (5, 5));
    assert!(has_config(&world, "node-0").await);
}

#[tokio::test(start_paused = true)]
async fn instances_that_cannot_be_read_are_not_taken_for_gone() {
    let world = warm(2).await;
    world
        .cloud
        .set_fault(std::sync::Arc::new(|action, _| match action {
            "instances" => Fault::Before(CloudErrorKind::Unavailable),
            _ => Fault::None,
        }));
    world.cluster.delete_node(&"node-0".into());
    sleep(60 * MINUTE).await;
    assert_eq!(world.bound("node-0"), 5);
    assert!(has_config(&world, "node-0").await);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_on_another_instance_gets_a_pool_at_once_and_the_old_enis_go_later() {
    let world = warm(1).await;
    world.cloud.add_instance("ins-9", "subnet-nodes", LIMITS);
    world.cluster.put_node(node("node-0", "ins-9", "uid-9"));
    let on = |world: &World, instance: &str| {
        let enis = world.cloud.all_enis().into_iter();
        let enis = enis.filter(|eni| eni.kind == EniKind::Secondary);
        let enis = enis.filter(|eni| eni.instance == Some(instance.into()));
        enis.map(|eni| eni.secondary_addresses().count()).sum::<usize>()
    };
    world
        .until("a pool on the new instance", MINUTE, |world| {
            on(world, "ins-9") == 5
        })
        .await;
    assert_eq!(on(&world, "ins-0"), 5, "the old one may still be alive");
    let events = world.cluster.events();
    assert!(
        events.iter().any(|event| event.reason == "ENIOfFormerInstance"),
        "{events:?}"
    );
    let config = world.cluster.node_configs().get("node-0").await.unwrap().object;
    assert_eq!(
        (config.spec.instance.as_str(), config.spec.node_uid.as_str()),
        ("ins-9", "uid-9")
    );

    world.cloud.terminate_instance(&"ins-0".into());
    world
        .until("one ENI", 25 * MINUTE, |world| world.secondary_enis() == 1)
        .await;
    assert_eq!(on(&world, "ins-9"), 5);
}

#[tokio::test(start_paused = true)]
async fn a_leaked_eni_is_deleted_and_foreign_and_young_ones_are_not() {
    let world = warm(1).await;
    let foreign = CreateEni {
        tags: Default::default(),
        ..ours("foreign")
    };
    let foreign = world.cloud.create_eni(&foreign).await.unwrap().id;
    let leaked = world.cloud.create_eni(&ours("leaked")).await.unwrap().id;
    let exists = |world: &World, id: &EniId| world.cloud.all_enis().iter().any(|eni| eni.id == *id);
    sleep(15 * MINUTE).await;
    assert!(exists(&world, &leaked), "seen in one listing");
    world
        .until("the leak is gone", 15 * MINUTE, |world| !exists(world, &leaked))
        .await;
    sleep(30 * MINUTE).await;
    assert!(exists(&world, &foreign));
    assert_eq!(world.bound("node-0"), 5);
}

#[tokio::test(start_paused = true)]
async fn an_attached_eni_without_a_record_is_adopted() {
    let world = warm(1).await;
    let id = world.cloud.create_eni(&ours("lost")).await.unwrap().id;
    sleep(Duration::from_secs(5)).await;
    world.cloud.attach_eni(&id, &"ins-0".into()).await.unwrap();
    let deadline = tokio::time::Instant::now() + 15 * MINUTE;
    let recorded = |records: Vec<EniRecord>| records.iter().any(|record| record.id.as_ref() == Some(&id));
    while !recorded(records(&world).await) {
        assert!(tokio::time::Instant::now() < deadline, "it has no record");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(world.cloud.all_enis().iter().any(|eni| eni.id == id));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_record_comes_back_and_nobody_loses_an_address() {
    let world = warm(1).await;
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    for record in records(&world).await {
        world
            .cluster
            .eni_records()
            .delete(&record.name, None)
            .await
            .unwrap();
    }
    sleep(30 * MINUTE).await;
    assert_eq!(records(&world).await.len(), 1);
    let counts = world.service("node-0").counts();
    assert_eq!(
        (counts.lost, counts.allocated, counts.free),
        (0, 1, 5),
        "{counts:?}"
    );
    assert_eq!(world.secondary_enis(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_node_is_granted_what_it_can_use_and_then_nothing_is_written() {
    let world = warm(2).await;
    sleep(MINUTE).await;
    let configs = || async { world.cluster.node_configs().list(&Scope::All).await.unwrap() };
    let before = configs().await;
    assert!(
        before.iter().all(|read| read.object.pool.granted == 27),
        "{before:?}"
    );
    sleep(30 * MINUTE).await;
    assert_eq!(configs().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_square_wave_of_pods_costs_few_calls_and_ends_where_it_began() {
    let world = warm(1).await;
    sleep(MINUTE).await;
    let count = |world: &World| {
        let calls = world.all_calls();
        let of = |action| calls.get(action).copied().unwrap_or_default();
        of("assign_addresses") + of("unassign_addresses") + of("create_eni") + of("delete_eni")
    };
    for wave in 0..3 {
        let before = count(&world);
        let pods: Vec<_> = (0..4).map(|n| format!("pod-{wave}-{n}")).collect();
        pods.iter().for_each(|pod| world.schedule(pod, "node-0"));
        for pod in &pods {
            world.add("node-0", pod, MINUTE).await.unwrap();
        }
        sleep(3 * MINUTE).await;
        pods.iter().for_each(|pod| world.unschedule(pod));
        for pod in &pods {
            world.del("node-0", pod).await;
        }
        sleep(5 * MINUTE).await;
        // One up and one down.
        assert!(
            count(&world) - before <= 2,
            "wave {wave}: {} calls",
            count(&world) - before
        );
        assert_eq!(world.bound("node-0"), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_keeps_its_warm_pool_before_shares_are_dealt_out() {
    let world = World::new(1, WARM).await;
    world.schedule("pod-a", "node-0");
    sleep(MINUTE).await;
    assert_eq!((world.bound("node-0"), world.calls("unassign_addresses")), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_a_node_counts_on_top_of_what_its_pods_need() {
    let world = warm(1).await;
    for wave in ["a", "b"] {
        let pods: Vec<_> = (0..5).map(|n| format!("pod-{wave}-{n}")).collect();
        pods.iter().for_each(|pod| world.schedule(pod, "node-0"));
        for pod in &pods {
            world.add("node-0", pod, MINUTE).await.unwrap();
        }
        if wave == "a" {
            for pod in &pods {
                world.unschedule(pod);
                world.del("node-0", pod).await;
            }
        }
    }
    // 5 pods, 5 that rest after those before, and 5 that are idle.
    let grown = |world: &World| {
        let counts = world.service("node-0").counts();
        (counts.allocated, counts.cooling, counts.free) == (5, 5, 5)
    };
    world.until("15 bound", MINUTE / 3, grown).await;
    world
        .until("what rested is given back", 3 * MINUTE, |world| {
            world.bound("node-0") == 10
        })
        .await;
}
