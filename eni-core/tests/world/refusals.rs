//! What the pool controller makes of refusals, and of creations that were not answered.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eni_core::{
    cloud::{Capabilities, Cloud, CloudErrorKind, CreateEni},
    cluster::Cluster,
    model::{EniKind, WarmRange},
    sim::Fault,
};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{Setup, World};

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const NONE: WarmRange = WarmRange { min: 0, max: 0 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn refused_creations_leave_nothing(kind: CloudErrorKind) {
    let world = World::new(1, NONE).await;
    sleep(SECOND).await;
    let refusal = kind.clone();
    world.cloud.set_fault(Arc::new(move |action, _| match action {
        "create_eni" => Fault::Before(refusal.clone()),
        _ => Fault::None,
    }));
    world.schedule("pod-a", "node-0");
    sleep(5 * MINUTE).await;
    assert_eq!(world.records().await, [], "{kind:?}");
    let calls = world.calls("create_eni");
    assert!((2..=12).contains(&calls), "{kind:?}: {calls} calls");
    assert!(world.monitor.stats().breakers_open > 0, "{kind:?}");
    world.cloud.clear_fault();
    world.add("node-0", "pod-a", 10 * MINUTE).await.unwrap();
    assert_eq!(world.secondary_enis(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_creation_beyond_a_quota_leaves_no_record() {
    refused_creations_leave_nothing(CloudErrorKind::Quota).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_without_permission_leaves_no_record() {
    refused_creations_leave_nothing(CloudErrorKind::Denied).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_is_invalid_leaves_no_record() {
    refused_creations_leave_nothing(CloudErrorKind::Invalid).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_in_a_subnet_that_ran_out_leaves_no_record() {
    let subnet = "subnet-a".into();
    refused_creations_leave_nothing(CloudErrorKind::Exhausted { subnet }).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_unanswered_creation_keeps_the_record() {
    let world = World::new(1, NONE).await;
    sleep(SECOND).await;
    world
        .cloud
        .inject("create_eni", Fault::After(CloudErrorKind::Unavailable));
    world
        .cloud
        .inject("create_eni", Fault::Before(CloudErrorKind::Quota));
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", 3 * MINUTE).await.unwrap();
    assert_eq!(world.secondary_enis(), 1, "the first one was found and is used");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_subnet_does_not_count_with_its_last_reading() {
    let world = World::new(1, NONE).await;
    sleep(MINUTE).await;
    world.cloud.set_fault(Arc::new(|action, resource| match action {
        "subnets" if resource.contains("subnet-a") => Fault::Before(CloudErrorKind::NotFound),
        _ => Fault::None,
    }));
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    let enis = world.cloud.all_enis().into_iter();
    let ours: Vec<_> = enis.filter(|eni| eni.kind == EniKind::Secondary).collect();
    assert_eq!(
        (ours.len(), ours[0].subnet.clone()),
        (1, "subnet-b".into()),
        "{ours:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_vpc_is_probed_and_not_hammered() {
    let setup = Setup {
        cloud: |cloud| cloud.eni_quota(30),
        agents: false,
        ..Setup::new(20, WARM)
    };
    let world = World::with(setup).await;
    sleep(2 * MINUTE).await;
    assert_eq!(world.secondary_enis(), 10);
    let before = world.calls("create_eni");
    sleep(30 * MINUTE).await;
    let later = world.calls("create_eni") - before;
    assert!(later <= 20, "{later} creations were tried in half an hour");
    assert!(world.reasons().contains("ENILimit"), "{:?}", world.reasons());
    assert_eq!(world.records().await.len(), 10);
}

/// Somebody attaches an ENI to an instance.
async fn attach_by_hand(world: &World, name: &str) {
    let request = CreateEni {
        name: name.into(),
        subnet: "subnet-a".into(),
        secondary: 0,
        security_groups: vec![],
        tags: BTreeMap::new(),
        token: name.into(),
    };
    let eni = world.cloud.create_eni(&request).await.unwrap();
    sleep(SECOND).await;
    world.cloud.attach_eni(&eni.id, &"ins-0".into()).await.unwrap();
    sleep(SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn enis_of_somebody_else_take_slots_and_the_node_is_full() {
    let world = World::new(1, NONE).await;
    attach_by_hand(&world, "foreign-1").await;
    attach_by_hand(&world, "foreign-2").await;
    for n in 0..27 {
        world.schedule(&format!("pod-{n}"), "node-0");
    }
    sleep(3 * MINUTE).await;
    assert_eq!(world.bound("node-0"), 9, "one slot is left");
    assert_eq!(world.records().await.len(), 1);
    let config = world.cluster.node_configs().get("node-0").await.unwrap().object;
    assert_eq!(config.pool.capacity, 9);
    let before = world.all_calls();
    sleep(5 * MINUTE).await;
    let after = world.all_calls();
    for action in ["create_eni", "attach_eni", "limits"] {
        assert_eq!(after[action], before[action], "{action} goes on: {after:?}");
    }
    assert_eq!(
        world.secondary_enis(),
        3,
        "what could not be attached is deleted, what is foreign is not"
    );
}

/// A cloud without client tokens, and the queries by record that it was asked.
async fn without_tokens() -> (World, Arc<Mutex<u32>>) {
    let setup = Setup {
        cloud: |cloud| {
            let mut capabilities = Capabilities::default();
            (capabilities.assign_batch, capabilities.unassign_batch) = (10, 10);
            capabilities.describe_batch = 100;
            cloud.capabilities(capabilities)
        },
        ..Setup::new(1, NONE)
    };
    let world = World::with(setup).await;
    sleep(SECOND).await;
    let queries = Arc::new(Mutex::new(0));
    let seen = queries.clone();
    world.cloud.set_fault(Arc::new(move |action, resource| {
        if action == "enis" && resource.contains("eni-record") {
            *seen.lock() += 1;
        }
        Fault::None
    }));
    (world, queries)
}

#[tokio::test(start_paused = true)]
async fn without_client_tokens_a_creation_costs_no_listing() {
    let (world, queries) = without_tokens().await;
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    assert_eq!((*queries.lock(), world.secondary_enis()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn without_client_tokens_an_unanswered_creation_is_found_by_one_small_query() {
    let (world, queries) = without_tokens().await;
    world
        .cloud
        .inject("create_eni", Fault::After(CloudErrorKind::Unavailable));
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    assert_eq!((*queries.lock(), world.calls("create_eni")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_client_tokens_a_lagging_listing_makes_no_second_eni() {
    let (world, _) = without_tokens().await;
    world.cloud.set_listing_lag(20 * SECOND);
    world
        .cloud
        .inject("create_eni", Fault::After(CloudErrorKind::Unavailable));
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", 5 * MINUTE).await.unwrap();
    assert_eq!((world.secondary_enis(), world.calls("create_eni")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_client_tokens_a_creation_that_never_arrived_is_sent_again() {
    let (world, _) = without_tokens().await;
    world
        .cloud
        .inject("create_eni", Fault::Before(CloudErrorKind::Unavailable));
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", 5 * MINUTE).await.unwrap();
    assert_eq!((world.secondary_enis(), world.calls("create_eni")), (1, 2));
}
