//! What listings say wrongly, and what others do to our ENIs: nobody's address goes with it.

use std::time::Duration;

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
    let world = World::new(1, WARM).await;
    for n in 0..12 {
        let pod = format!("pod-{n}");
        world.schedule(&pod, "node-0");
        world.add("node-0", &pod, MINUTE).await.unwrap();
    }
    world.cloud.set_listing_lag(Duration::from_secs(25));
    sleep(60 * MINUTE).await;
    let calls = world.metered.counts().calls;
    assert_eq!(
        (calls.get("detach_eni"), calls.get("delete_eni")),
        (None, None),
        "{calls:?}"
    );
    assert_eq!(world.service("node-0").counts().allocated, 12);
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
    let before = world.metered.counts().calls["attach_eni"];
    (0..20).for_each(|n| world.schedule(&format!("pod-{n}"), "node-0"));
    sleep(60 * MINUTE).await;
    let attaches = world.metered.counts().calls["attach_eni"] - before;
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
