//! Many nodes: the budget holds, and an event costs the work of its node alone.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use eni_core::{controller::PoolStats, model::WarmRange, sim::Fault};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{Setup, World};

const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The most calls that reached the cloud within one second.
#[derive(Default)]
struct Peak {
    recent: VecDeque<Instant>,
    most: usize,
}

fn busiest_second(world: &World) -> Arc<Mutex<Peak>> {
    let peak: Arc<Mutex<Peak>> = Arc::default();
    let seen = peak.clone();
    world.cloud.set_fault(Arc::new(move |_, _| {
        let (mut peak, now) = (seen.lock(), Instant::now());
        peak.recent.push_back(now);
        while peak.recent.front().is_some_and(|at| *at + SECOND <= now) {
            peak.recent.pop_front();
        }
        peak.most = peak.most.max(peak.recent.len());
        Fault::None
    }));
    peak
}

async fn many(nodes: usize) -> (World, Arc<Mutex<Peak>>) {
    let setup = Setup {
        agents: false,
        cloud: |cloud| {
            cloud
                .subnet("subnet-a", "zone-1", "10.16.0.0/16".parse().unwrap())
                .subnet("subnet-b", "zone-1", "10.17.0.0/16".parse().unwrap())
        },
        ..Setup::new(nodes, WARM)
    };
    let world = World::with(setup).await;
    let peak = busiest_second(&world);
    (world, peak)
}

fn is_settled(stats: &PoolStats, nodes: usize) -> bool {
    let published = stats
        .actions
        .get(&("publish", "done"))
        .copied()
        .unwrap_or_default();
    published as usize >= nodes && (stats.due, stats.busy, stats.paused, stats.in_flight) == (0, 0, 0, 0)
}

#[tokio::test(start_paused = true)]
async fn five_hundred_nodes_come_up_at_once_within_the_budget() {
    let (world, peak) = many(500).await;
    let began = Instant::now();
    world
        .until("all settled", 3 * MINUTE, |world| {
            is_settled(&world.monitor.stats(), 500)
        })
        .await;
    assert_eq!(world.secondary_enis(), 500);
    let stats = world.monitor.stats();
    assert_eq!((stats.nodes, stats.deficit), (500, 0));
    // One call each for limits, creation and attachment; 20 a second for the first, 46 for all.
    assert!(began.elapsed() < 40 * SECOND, "{:?}", began.elapsed());
    for action in ["limits", "create_eni", "attach_eni"] {
        assert_eq!(world.calls(action), 500, "{action}");
    }
    let seconds = began.elapsed().as_secs();
    assert!(
        world.calls("enis") <= seconds + 2,
        "one reading for all nodes a second"
    );
    let outcomes: BTreeSet<_> = stats.actions.keys().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, BTreeSet::from(["done"]), "no order was given in vain");
    assert!(peak.lock().most <= 50, "{} calls in a second", peak.lock().most);
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_first_grant_is_postponed_keep_their_warm_pools() {
    let setup = Setup {
        config: |mut config| {
            config.grants.changes = 1;
            config
        },
        ..Setup::new(60, WARM)
    };
    let world = World::with(setup).await;
    // A deal every three seconds changes one grant, and agents offer back every five seconds.
    sleep(MINUTE).await;
    assert_eq!(
        (world.secondary_enis(), world.calls("unassign_addresses")),
        (60, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_are_finished_one_after_the_other_and_not_all_at_the_end() {
    let (world, _) = many(500).await;
    sleep(15 * SECOND).await;
    let stats = world.monitor.stats();
    let published = stats
        .actions
        .get(&("publish", "done"))
        .copied()
        .unwrap_or_default();
    assert!(published > 100, "{published} nodes have addresses after 15 s");
    assert!(!is_settled(&stats, 500));
}

#[tokio::test(start_paused = true)]
async fn an_event_costs_a_round_of_its_node_and_no_other() {
    let (world, _) = many(500).await;
    world
        .until("all settled", 3 * MINUTE, |world| {
            is_settled(&world.monitor.stats(), 500)
        })
        .await;
    let before = world.monitor.stats().turns;
    world.schedule("pod-a", "node-77");
    sleep(30 * SECOND).await;
    let turns = world.monitor.stats().turns - before;
    assert!((1..=12).contains(&turns), "{turns} turns for one pod");
}

#[tokio::test(start_paused = true)]
async fn a_steady_state_costs_three_calls_per_audit_whatever_happens_in_the_cluster() {
    let (world, _) = many(100).await;
    world
        .until("all settled", 3 * MINUTE, |world| {
            is_settled(&world.monitor.stats(), 100)
        })
        .await;
    let before: u64 = world.all_calls().values().sum();
    for minute in 0..60 {
        // Pods come and go; the warm pool is not used up, for a pod that left made room.
        world.schedule("pod-a", &format!("node-{minute}"));
        world.unschedule("pod-a");
        sleep(MINUTE).await;
    }
    let after: u64 = world.all_calls().values().sum();
    // ENIs, subnets and instances, every ten minutes.
    assert!(after - before <= 18, "{} calls in an hour", after - before);
    assert!(world.monitor.stats().audit_age.unwrap() < 11 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn an_audit_that_fails_concludes_nothing_and_is_repeated() {
    use eni_core::cloud::CloudErrorKind;
    let world = World::new(1, WARM).await;
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    world.cloud.set_fault(Arc::new(|action, _| match action {
        "enis" => Fault::Before(CloudErrorKind::Unavailable),
        _ => Fault::None,
    }));
    sleep(30 * MINUTE).await;
    assert_eq!(world.service("node-0").counts().lost, 0);
    assert!(world.monitor.stats().audit_age.unwrap() > 25 * MINUTE);
    world.cloud.clear_fault();
    sleep(3 * MINUTE).await;
    assert!(world.monitor.stats().audit_age.unwrap() < 3 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_slow_audit_delays_no_pod() {
    let world = World::new(1, WARM).await;
    world
        .until("warm", MINUTE, |world| world.service("node-0").counts().free == 5)
        .await;
    // The next listing is the audit's, 10 minutes after the first one.
    world.cloud.inject("enis", Fault::Delay(9 * SECOND));
    while world.calls("enis") == 0 || world.monitor.stats().audit_age.unwrap() < 600 * SECOND {
        sleep(SECOND / 10).await;
    }
    for n in 0..6 {
        world.schedule(&format!("pod-{n}"), "node-0");
    }
    let adds = (0..6).map(|n| format!("pod-{n}"));
    for pod in adds {
        world.add("node-0", &pod, 5 * SECOND).await.unwrap();
    }
    assert!(
        world.monitor.stats().audit_age.unwrap() >= 600 * SECOND,
        "it is still read"
    );
}
