//! What the pool controller survives: clouds that lag, lose answers, run out, or are changed by others.

use std::{collections::BTreeSet, time::Duration};

use eni_core::{
    cloud::CloudErrorKind,
    cluster::Cluster,
    model::{EniKind, WarmRange},
    sim::Fault,
};
use tokio::time::{Instant, sleep};

use super::World;

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const NONE: WarmRange = WarmRange { min: 0, max: 0 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn warm() -> World {
    let world = World::new(1, WARM).await;
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lags_makes_no_second_eni() {
    let world = World::new(1, WARM).await;
    world.cloud.set_listing_lag(5 * SECOND);
    sleep(3 * MINUTE).await;
    assert_eq!(world.secondary_enis(), 1);
    assert_eq!(world.service("node-0").counts().free, 5);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_whose_answer_is_lost_is_not_repeated() {
    let world = warm().await;
    for _ in 0..4 {
        world
            .cloud
            .inject("assign_addresses", Fault::After(CloudErrorKind::Unavailable));
    }
    world.schedule("pod-a", "node-0");
    for _ in 0..60 {
        sleep(SECOND).await;
        assert!(
            world.bound("node-0") <= 6,
            "{} bound for one pod more",
            world.bound("node-0")
        );
    }
    assert_eq!(world.service("node-0").counts().free, 6);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_room_is_served_when_there_is_room_again() {
    let world = World::new(1, NONE).await;
    let subnets = ["subnet-a", "subnet-b"].map(Into::into);
    let taken = subnets
        .clone()
        .map(|subnet| world.cloud.take_addresses(&subnet, 5000));
    sleep(MINUTE).await;
    world.schedule("pod-a", "node-0");
    let relief = async {
        sleep(20 * SECOND).await;
        subnets
            .iter()
            .zip(&taken)
            .for_each(|(subnet, taken)| world.cloud.give_back(subnet, taken));
        Instant::now()
    };
    let (granted, relieved) = futures::join!(world.add("node-0", "pod-a", 5 * MINUTE), relief);
    granted.unwrap();
    assert!(
        relieved.elapsed() < 2 * MINUTE,
        "{:?} after there was room",
        relieved.elapsed()
    );
    let events = world.cluster.events();
    assert!(
        events.iter().any(|event| event.reason == "SubnetExhausted"),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_made_anew_is_never_empty() {
    let world = warm().await;
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    world
        .until("6 addresses", MINUTE, |world| {
            world.service("node-0").counts().total() == 6
        })
        .await;
    world.cluster.set_latency(Duration::from_millis(50));
    world.ipamd.set_latency(Duration::from_millis(50));
    world.cluster.node_configs().delete("node-0", None).await.unwrap();
    for _ in 0..3000 {
        sleep(Duration::from_millis(10)).await;
        assert!(
            world.service("node-0").in_service(),
            "the ENI went out of service"
        );
        assert_eq!(world.service("node-0").counts().lost, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_somebody_took_away_is_not_given_out() {
    let world = warm().await;
    let enis = world.cloud.all_enis();
    let eni = enis.iter().find(|eni| eni.kind == EniKind::Secondary).unwrap();
    let ip = eni.secondary_addresses().next().unwrap().ip;
    world.cloud.unassign_by_hand(&eni.id, ip);
    world.cloud.take_addresses(&eni.subnet, 5000);
    // The audit sees it, and the lag that listings are granted passes.
    sleep(12 * MINUTE).await;
    let mut given = BTreeSet::new();
    for n in 0..6 {
        let pod = format!("pod-{n}");
        world.schedule(&pod, "node-0");
        let granted = world.add("node-0", &pod, 2 * MINUTE).await.unwrap();
        given.extend(granted.allocation.addresses.iter());
    }
    assert!(!given.contains(&ip), "{given:?}");
}

#[tokio::test(start_paused = true)]
async fn subnets_that_cannot_be_read_stop_nobody() {
    let world = warm().await;
    world
        .cloud
        .set_fault(std::sync::Arc::new(|action, _| match action {
            "subnets" => Fault::Before(CloudErrorKind::Denied),
            _ => Fault::None,
        }));
    sleep(2 * MINUTE).await;
    for n in 0..3 {
        let pod = format!("pod-{n}");
        world.schedule(&pod, "node-0");
        world.add("node-0", &pod, MINUTE).await.unwrap();
    }
    world
        .until("8 bound", MINUTE, |world| world.bound("node-0") == 8)
        .await;
}
