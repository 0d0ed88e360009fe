//! What listings say wrongly, and what others do to our ENIs: nobody's address goes with it.

use std::{collections::BTreeMap, time::Duration};

use eni_core::{
    cloud::{Cloud, CreateEni},
    model::*,
};
use tokio::time::sleep;

use super::World;

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_stale_listing_never_detaches_or_deletes_an_eni_in_use() {
    let mut world = World::new(1, WARM).await;
    for n in 0..12 {
        let pod = format!("pod-{n}");
        world.schedule(&pod, "node-0");
        world.add("node-0", &pod, MINUTE).await.unwrap();
    }
    world.cloud.set_listing_lag(Duration::from_secs(25));
    for _ in 0..6 {
        sleep(10 * MINUTE).await;
        world.restart_agent("node-0").await;
    }
    let calls = world.all_calls();
    assert_eq!(
        (calls.get("detach_eni"), calls.get("delete_eni")),
        (None, None),
        "{calls:?}"
    );
    assert_eq!(world.service("node-0").counts().allocated, 12);
}

#[tokio::test(start_paused = true)]
async fn an_eni_that_somebody_detached_comes_back_and_its_pods_keep_their_addresses() {
    let world = World::new(1, WARM).await;
    let mut granted = BTreeMap::new();
    for n in 0..12 {
        let pod = format!("pod-{n}");
        world.schedule(&pod, "node-0");
        granted.insert(pod.clone(), world.add("node-0", &pod, MINUTE).await.unwrap());
    }
    let is_warm = |world: &World| world.service("node-0").counts().free == 5;
    world.until("warm", MINUTE, is_warm).await;
    let detached = granted["pod-0"].allocation.eni.clone();
    world.cloud.detach_by_hand(&detached);
    // The agent sees its device go, whatever ipamd knows.
    sleep(MINUTE).await;
    world.schedule("pod-new", "node-0");
    let new = world.add("node-0", "pod-new", MINUTE).await.unwrap();
    assert_ne!(new.allocation.eni, detached, "it is not on the node");
    let told = world.add("node-0", "pod-0", MINUTE / 60).await.unwrap_err();
    assert!(told.to_string().contains(detached.as_str()), "{told}");
    // ipamd sees it with the next audit.
    let back = |world: &World| {
        let enis = world.cloud.all_enis();
        let eni = enis.iter().find(|eni| eni.id == detached);
        eni.is_some_and(|eni| eni.state == EniState::InUse)
    };
    world.until("it is attached again", 12 * MINUTE, back).await;
    sleep(MINUTE).await;
    for (pod, before) in &granted {
        let again = world.add("node-0", pod, MINUTE).await.unwrap();
        assert_eq!(again.allocation, before.allocation, "{pod}");
    }
    assert_eq!(world.calls("detach_eni") + world.calls("delete_eni"), 0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_others_took_end_in_an_event_and_not_in_a_loop() {
    let world = World::new(1, WARM).await;
    world
        .until("warm", MINUTE, |world| world.bound("node-0") == 5)
        .await;
    for n in 0..2 {
        let foreign = CreateEni {
            name: format!("foreign-{n}"),
            subnet: "subnet-a".into(),
            secondary: 0,
            security_groups: vec![],
            tags: Default::default(),
            token: format!("foreign-{n}"),
        };
        let id = world.cloud.create_eni(&foreign).await.unwrap().id;
        sleep(Duration::from_secs(5)).await;
        world.cloud.attach_eni(&id, &"ins-0".into()).await.unwrap();
        sleep(Duration::from_secs(5)).await;
    }
    let before = world.all_calls()["attach_eni"];
    (0..20).for_each(|n| world.schedule(&format!("pod-{n}"), "node-0"));
    sleep(60 * MINUTE).await;
    let attaches = world.all_calls()["attach_eni"] - before;
    assert!(
        attaches <= 2 * 70,
        "at most one a minute for each of two ENIs: {attaches}"
    );
    let events = world.cluster.events();
    assert!(
        events.iter().any(|event| event.reason == "ENILimit"),
        "{events:?}"
    );
}
