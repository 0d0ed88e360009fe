//! What the pool controller does with its leadership, and with a watch that lags behind its own writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eni_core::{
    cloud::CloudErrorKind,
    cluster::{Cluster, ClusterError},
    leadership::Leadership,
    model::WarmRange,
    sim::{Fault, Latency},
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{Setup, World};

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const NONE: WarmRange = WarmRange { min: 0, max: 0 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A lease that a test renews.
struct Lease(Mutex<Option<Instant>>);

impl Lease {
    fn of(length: Duration) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Instant::now() + length))))
    }

    fn renew(&self, length: Duration) {
        *self.0.lock() = Some(Instant::now() + length);
    }
}

impl Leadership for Lease {
    fn remaining(&self) -> Option<Duration> {
        let end = (*self.0.lock())?;
        (end > Instant::now()).then(|| end - Instant::now())
    }
}

async fn led_by(lease: &Arc<Lease>) -> World {
    let world = World::with(Setup {
        leadership: lease.clone(),
        ..Setup::new(1, WARM)
    })
    .await;
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    world
}

/// Counts what takes something away and reaches the cloud, from now on.
fn removals(world: &World) -> impl Fn() -> u64 + use<> {
    let counted = Arc::new(AtomicU64::new(0));
    let count = counted.clone();
    world.cloud.set_fault(Arc::new(move |action, _| {
        if matches!(action, "unassign_addresses" | "detach_eni" | "delete_eni") {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Fault::None
    }));
    move || counted.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_replaced_ends_at_once() {
    let lease = Lease::of(30 * SECOND);
    let mut world = led_by(&lease).await;
    let left = lease.remaining().unwrap();
    let began = Instant::now();
    world.controller_ends().await;
    assert!(
        began.elapsed() <= left + Duration::from_millis(1),
        "{:?} of {left:?}",
        began.elapsed()
    );
    let calls = world.all_calls();
    world.schedule("pod-a", "node-0");
    sleep(MINUTE).await;
    assert_eq!(world.all_calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn leadership_that_is_given_up_ends_the_controller_too() {
    let lease = Lease::of(3600 * SECOND);
    let mut world = led_by(&lease).await;
    *lease.0.lock() = None;
    let began = Instant::now();
    world.controller_ends().await;
    assert!(began.elapsed() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_away_with_less_lease_left_than_a_call_takes() {
    let lease = Lease::of(3600 * SECOND);
    let world = led_by(&lease).await;
    let removals = removals(&world);
    world.set_warm("node-0", NONE).await;
    // A call takes 10 s at most; the lease is renewed every second, and never that long.
    for _ in 0..120 {
        lease.renew(9 * SECOND);
        sleep(SECOND).await;
        assert_eq!(removals(), 0);
    }
    lease.renew(3600 * SECOND);
    world
        .until("nothing bound", 3 * MINUTE, |world| world.bound("node-0") == 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_takes_nothing_away_until_the_last_ones_calls_have_ended() {
    let lease = Lease::of(3600 * SECOND);
    let mut world = led_by(&lease).await;
    let removals = removals(&world);
    world.set_warm("node-0", NONE).await;
    let began = Instant::now();
    world.restart_controller().await;
    while removals() == 0 {
        sleep(SECOND / 10).await;
        assert!(began.elapsed() < MINUTE, "it never begins");
    }
    assert!(began.elapsed() >= 10 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_makes_no_second_eni() {
    let world = World::new(3, WARM).await;
    world.ipamd.set_watch_delay(5 * SECOND);
    for n in 0..3 {
        world.schedule(&format!("pod-{n}"), &format!("node-{n}"));
    }
    for _ in 0..600 {
        sleep(SECOND / 5).await;
        assert!(world.secondary_enis() <= 3, "{}", world.secondary_enis());
        assert!(world.records().await.len() <= 3);
    }
    for n in 0..3 {
        assert_eq!(world.bound(&format!("node-{n}")), 6);
    }
    assert_eq!(world.calls("create_eni"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_gone_does_not_come_back_with_a_late_event() {
    let world = World::new(1, NONE).await;
    sleep(MINUTE).await;
    world.cloud.set_latency(Latency {
        call: SECOND / 5,
        ..Latency::orders(SECOND)
    });
    // The refusal's record is shown when the subnet is tried again.
    world.ipamd.set_watch_delay(15 * SECOND);
    world.cloud.fail_next("create_eni", CloudErrorKind::Quota);
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", 2 * MINUTE).await.unwrap();
    sleep(5 * MINUTE).await;
    assert_eq!((world.secondary_enis(), world.records().await.len()), (1, 1));
    assert_eq!(world.calls("create_eni"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_written_without_an_answer_is_not_written_twice() {
    let world = World::new(1, NONE).await;
    sleep(MINUTE).await;
    world.ipamd.set_watch_delay(10 * SECOND);
    let unanswered = ClusterError::Unavailable {
        message: "the answer was lost".into(),
    };
    world.ipamd.inject("create", Fault::After(unanswered));
    world.schedule("pod-a", "node-0");
    world.add("node-0", "pod-a", MINUTE).await.unwrap();
    assert_eq!(world.records().await.len(), 1);
    assert_eq!(world.secondary_enis(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_controller_asks_for_no_limits() {
    let mut world = World::new(3, WARM).await;
    let warm = |world: &World| (0..3).all(|n| world.service(&format!("node-{n}")).counts().free == 5);
    world.until("warm", MINUTE, warm).await;
    assert_eq!(world.calls("limits"), 3);
    world.restart_controller().await;
    for n in 0..3 {
        world.schedule(&format!("pod-{n}"), &format!("node-{n}"));
    }
    sleep(MINUTE).await;
    assert_eq!(world.bound("node-1"), 6);
    assert_eq!(world.calls("limits"), 3);
    let stored = world.cluster.node_configs().get("node-1").await.unwrap();
    assert_eq!(stored.object.spec.limits, Some(super::LIMITS));
}
