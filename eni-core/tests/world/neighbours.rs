//! Nodes that share what is scarce: a subnet's last addresses, and the budget of calls.

use std::{collections::BTreeMap, time::Duration};

use eni_core::{
    cloud::PaceConfig,
    model::{Pod, PodKey, PodPhase, WarmRange},
};
use tokio::time::{Instant, sleep};

use super::{LIMITS, Setup, World};

const NONE: WarmRange = WarmRange { min: 0, max: 0 };
const WARM: WarmRange = WarmRange { min: 5, max: 5 };
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn pods(node: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{node}-pod-{n}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shrinks_lets_a_starved_one_in_the_same_subnet_grow() {
    let world = World::new(2, NONE).await;
    let leaving = pods("node-0", 20);
    leaving.iter().for_each(|pod| world.schedule(pod, "node-0"));
    for pod in &leaving {
        world.add("node-0", pod, MINUTE).await.unwrap();
    }
    for subnet in ["subnet-a", "subnet-b"] {
        world.cloud.take_addresses(&subnet.into(), 5000);
    }
    let coming = pods("node-1", 15);
    coming.iter().for_each(|pod| world.schedule(pod, "node-1"));
    let refused = world.add("node-1", &coming[0], 5 * MINUTE).await;
    assert!(refused.is_err(), "there is no address left: {refused:?}");
    for pod in &leaving {
        world.unschedule(pod);
        world.del("node-0", pod).await;
    }
    // A cooldown, the way back, and the pause of a circuit that was open for a while.
    let given = Instant::now();
    let adds = coming.iter().map(|pod| world.add("node-1", pod, 15 * MINUTE));
    for granted in futures::future::join_all(adds).await {
        granted.unwrap();
    }
    assert!(given.elapsed() < 11 * MINUTE, "{:?}", given.elapsed());
    assert_eq!(world.bound("node-0"), 0);
}

#[tokio::test(start_paused = true)]
async fn finished_pods_and_those_of_the_host_network_get_no_addresses() {
    let world = World::new(1, WARM).await;
    for n in 0..50 {
        world.cluster.put_pod(Pod {
            key: PodKey::new("default", format!("pod-{n}")),
            uid: format!("uid-{n}").into(),
            node: Some("node-0".into()),
            host_network: n % 2 == 0,
            phase: if n % 2 == 0 {
                PodPhase::Running
            } else {
                PodPhase::Finished
            },
            claim: Ok(Default::default()),
            workload: None,
        });
    }
    sleep(5 * MINUTE).await;
    assert_eq!(world.bound("node-0"), 5);
    assert_eq!(world.monitor.stats().deficit, 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_sandbox_overtakes_the_growth_of_a_whole_cluster() {
    let setup = Setup {
        // Two calls a second, for which 40 new nodes want some 150.
        config: |mut config| {
            config.pace = PaceConfig {
                calls_per_second: 2,
                call_limits: BTreeMap::new(),
                ..PaceConfig::default()
            };
            config
        },
        ..Setup::new(1, WARM)
    };
    let world = World::with(setup).await;
    let warm = |world: &World| world.service("node-0").counts().free == 5;
    world.until("warm", 2 * MINUTE, warm).await;
    for n in 1..=40 {
        world
            .cloud
            .add_instance(format!("ins-{n}"), "subnet-nodes", LIMITS);
        world.put_node(n);
    }
    sleep(10 * SECOND).await;
    for pod in pods("node-0", 8) {
        world.schedule(&pod, "node-0");
        let began = Instant::now();
        world.add("node-0", &pod, MINUTE).await.unwrap();
        assert!(began.elapsed() < 10 * SECOND, "{pod} took {:?}", began.elapsed());
    }
    let stats = world.monitor.stats();
    let queued: usize = stats.calls.queued.values().sum();
    assert!(
        queued > 0 && stats.due + stats.busy > 20,
        "the cluster still grows: {stats:?}"
    );
    world
        .until("everybody is served", 10 * MINUTE, |world| {
            world.secondary_enis() == 41
        })
        .await;
}
