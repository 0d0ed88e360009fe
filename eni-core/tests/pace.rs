//! What a paced cloud does to its callers and to the cloud, in virtual time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eni_core::{
    cloud::{
        Call, Capabilities, Cloud, CloudErrorKind, CloudResult, EniFilter, Lane, PaceConfig, Paced, Pacer,
    },
    model::{EniId, InstanceId, Limits},
    sim::{Fault, Latency, MemoryCloud, SimEnvironment},
};
use futures::future::join_all;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::{
    sync::watch,
    time::{Instant, advance, sleep, sleep_until},
};

const SECOND: Duration = Duration::from_secs(1);
/// How long the clouds here may take for a whole listing.
const LISTING: Duration = Duration::from_secs(120);
const UNAVAILABLE: Fault = Fault::Before(CloudErrorKind::Unavailable);
const THROTTLED: Fault = Fault::Before(CloudErrorKind::Throttled { retry_after: None });

/// A pacer before a memory cloud that notes when each call reached it, and about what.
struct Bench {
    pacer: Arc<Pacer>,
    arrived: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Bench {
    /// The cloud answers each call after `way`, unless `fault` says otherwise.
    fn new(
        config: PaceConfig,
        way: Duration,
        fault: impl Fn(&'static str, &str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let limits = Limits {
            enis: 4,
            addresses_per_eni: 10,
        };
        let mut capabilities = Capabilities::default();
        capabilities.listing_timeout = Some(LISTING);
        let cloud = MemoryCloud::builder()
            .capabilities(capabilities)
            .subnet("subnet-a", "zone-1", "10.0.0.0/16".parse().unwrap())
            .instance("ins-0", "subnet-a", limits)
            .latency(Latency {
                call: way,
                ..Latency::default()
            })
            .build();
        let arrived: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let notes = arrived.clone();
        cloud.set_fault(Arc::new(move |action, resource| {
            notes.lock().push((Instant::now(), resource.to_owned()));
            fault(action, resource)
        }));
        let environment = Arc::new(SimEnvironment::new(1));
        Self {
            pacer: Pacer::new(Arc::new(cloud), environment, config),
            arrived,
        }
    }

    fn healthy(config: PaceConfig) -> Self {
        Self::new(config, Duration::ZERO, |_, _| Fault::None)
    }

    fn calls(&self) -> usize {
        self.arrived.lock().len()
    }

    /// What the calls that reached the cloud were about, in order.
    fn order(&self) -> Vec<String> {
        self.arrived
            .lock()
            .iter()
            .map(|(_, about)| about.clone())
            .collect()
    }

    /// The most calls within one second, wherever it begins.
    fn busiest_second(&self) -> usize {
        let arrived = self.arrived.lock();
        let starts = arrived.iter().enumerate();
        let seconds = starts.map(|(n, (first, _))| {
            arrived[n..]
                .iter()
                .take_while(|(at, _)| *at - *first < SECOND)
                .count()
        });
        seconds.max().unwrap_or(0)
    }

    /// Uses up the burst of `calls_per_second`, so that tokens are short.
    async fn drain(&self) {
        while self.pacer.counts().queued[&Lane::Waiting] == 0 {
            let cloud = self.pacer.on(Lane::Waiting);
            tokio::spawn(async move { drop(detach(&cloud, "drain").await) });
            tokio::task::yield_now().await;
        }
    }

    /// Lets `name` be detached by a task of its own, and enters the line before this returns.
    async fn enter(&self, lane: Lane, name: &str) {
        let (cloud, name) = (self.pacer.on(lane), name.to_owned());
        tokio::spawn(async move { drop(detach(&cloud, &name).await) });
        tokio::task::yield_now().await;
    }
}

fn rate(calls_per_second: u32) -> PaceConfig {
    PaceConfig {
        calls_per_second,
        ..PaceConfig::default()
    }
}

/// A call whose resource the test chooses. There is no such ENI; the cloud's answer is that.
async fn detach(cloud: &Paced, name: &str) -> CloudResult<()> {
    cloud.detach_eni(&EniId::from(name)).await
}

async fn read(cloud: &Paced) -> CloudResult<()> {
    cloud.instances(&[InstanceId::from("ins-0")]).await.map(drop)
}

fn kind<T: std::fmt::Debug>(result: CloudResult<T>) -> CloudErrorKind {
    result.unwrap_err().kind
}

/// A cloud that takes `rate` calls a second of each action, or of all together, by a token bucket of `burst`.
fn throttling(rate: f64, burst: f64, together: bool) -> impl Fn(&'static str, &str) -> Fault + Send + Sync {
    let buckets: Mutex<BTreeMap<&'static str, (f64, Instant)>> = Mutex::default();
    move |action, _| {
        let now = Instant::now();
        let mut buckets = buckets.lock();
        let (tokens, at) = buckets
            .entry(if together { "" } else { action })
            .or_insert((burst, now));
        *tokens = (*tokens + (now - *at).as_secs_f64() * rate).min(burst);
        *at = now;
        if *tokens < 1.0 {
            return THROTTLED;
        }
        *tokens -= 1.0;
        Fault::None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_second_sees_more_calls_than_the_budget(
        rate_per_second in 1..80_u32,
        arrivals in prop::collection::vec((0..2_000_u64, 0..5_usize, 0..2_usize, 0..4_u8), 1..250),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (busiest, left) = runtime.block_on(async {
            let bench = Bench::healthy(rate(rate_per_second));
            let calls = arrivals.iter().map(|(at, lane, call, patience)| {
                let cloud = bench.pacer.on(Lane::ALL[*lane]);
                async move {
                    sleep(Duration::from_millis(*at)).await;
                    // Some give up while they wait, which must not free a token twice.
                    let patience = match patience { 0 => 300, _ => 1_000_000_000 };
                    let patience = Duration::from_millis(patience);
                    let call_made = async {
                        match call { 0 => drop(detach(&cloud, "x").await), _ => drop(read(&cloud).await) }
                    };
                    drop(tokio::time::timeout(patience, call_made).await);
                }
            });
            join_all(calls).await;
            let left: usize = bench.pacer.counts().queued.values().sum();
            (bench.busiest_second(), left)
        });
        prop_assert!(busiest <= rate_per_second as usize, "{busiest} calls within a second");
        prop_assert_eq!(left, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn tens_of_thousands_of_calls_are_served_at_the_full_rate() {
    let bench = Bench::healthy(PaceConfig::default());
    let begun = Instant::now();
    let cloud = bench.pacer.on(Lane::Growth);
    join_all((0..20_000).map(|_| read(&cloud))).await;
    let seconds = begun.elapsed().as_secs_f64();
    let rate = 20_000.0 / seconds;
    assert!((45.5..=50.0).contains(&rate), "{rate} calls per second");
    assert!(bench.busiest_second() <= 50);
}

#[tokio::test(start_paused = true)]
async fn the_rate_settles_below_what_the_cloud_takes_and_wastes_less_than_one_percent() {
    for limit in [5.0, 20.0, 40.0] {
        let way = Duration::from_millis(60);
        let bench = Bench::new(PaceConfig::default(), way, throttling(limit, 5.0, false));
        let cloud = bench.pacer.on(Lane::Growth);
        let end = Instant::now() + Duration::from_secs(3_600);
        let callers = (0..200).map(|_| async {
            while Instant::now() < end {
                drop(detach(&cloud, "eni").await);
            }
        });
        join_all(callers).await;
        let counts = bench.pacer.counts();
        let total = counts.total();
        let throttled = total.throttled as f64 / total.calls as f64;
        assert!(total.throttled > 0, "the limit of {limit} was never met");
        assert!(
            throttled < 0.01,
            "{limit}: {throttled} of {} calls were throttled",
            total.calls
        );
        let used = (total.calls - total.throttled) as f64 / 3_600.0 / limit;
        assert!(used > 0.8, "{limit}: only {used} of the cloud's rate is used");
        assert!(counts.rates[&Call::DetachEni] <= limit * 1.05, "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_agents_that_restart_at_once_are_served_in_three_minutes() {
    let bench = Bench::new(
        PaceConfig::default(),
        Duration::from_millis(60),
        throttling(40.0, 40.0, true),
    );
    let begun = Instant::now();
    let cloud = bench.pacer.on(Lane::Waiting);
    // For each: its instance, its limits, its ENIs; a new ENI and its attachment; two batches of addresses.
    let agents = (0..500).map(|n| {
        let cloud = &cloud;
        async move {
            let (instance, eni) = (InstanceId::from("ins-0"), EniId::from(format!("eni-{n}")));
            cloud.limits(&instance).await.unwrap();
            read(cloud).await.unwrap();
            cloud.enis(&EniFilter::Instance(instance.clone())).await.unwrap();
            for _ in 0..2 {
                let missing = cloud.unassign_addresses(&eni, &[]).await;
                assert_ne!(
                    missing.map_err(|error| error.kind),
                    Err(CloudErrorKind::NotStarted)
                );
            }
            assert_eq!(
                kind(cloud.attach_eni(&eni, &instance).await),
                CloudErrorKind::NotFound
            );
        }
    });
    join_all(agents).await;
    assert!(
        begun.elapsed() < Duration::from_secs(180),
        "{:?}",
        begun.elapsed()
    );
    let total = bench.pacer.counts().total();
    assert!(total.throttled * 100 < total.calls, "{total:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_whole_account_is_found_by_all_calls_together() {
    let bench = Bench::new(
        PaceConfig::default(),
        Duration::from_millis(60),
        throttling(20.0, 10.0, true),
    );
    let cloud = bench.pacer.on(Lane::Growth);
    let end = Instant::now() + Duration::from_secs(1_800);
    let callers = (0..60).map(|n| {
        let cloud = &cloud;
        async move {
            while Instant::now() < end {
                match n % 3 {
                    0 => drop(detach(cloud, "eni").await),
                    1 => drop(read(cloud).await),
                    _ => drop(cloud.delete_eni(&EniId::from("eni")).await),
                }
            }
        }
    });
    join_all(callers).await;
    let total = bench.pacer.counts().total();
    assert!(total.throttled * 100 < total.calls, "{total:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_names_a_pause_is_left_alone_for_that_long() {
    let pause = Duration::from_secs(7);
    let first = AtomicUsize::new(0);
    let bench = Bench::new(rate(50), Duration::ZERO, move |_, _| {
        match first.fetch_add(1, Ordering::Relaxed) {
            0 => Fault::Before(CloudErrorKind::Throttled {
                retry_after: Some(pause),
            }),
            _ => Fault::None,
        }
    });
    let begun = Instant::now();
    read(&bench.pacer.on(Lane::Growth)).await.unwrap();
    assert_eq!(bench.calls(), 2);
    assert!(begun.elapsed() >= pause);
    assert!(begun.elapsed() < pause + SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_most_urgent_lane_goes_first_and_inside_it_whoever_came_first() {
    let bench = Bench::healthy(rate(10));
    bench.drain().await;
    let drained = bench.calls() + 1;
    for (lane, name) in [
        (Lane::Audit, "audit"),
        (Lane::Collection, "collection"),
        (Lane::Release, "release"),
        (Lane::Growth, "growth 1"),
        (Lane::Waiting, "waiting 1"),
        (Lane::Growth, "growth 2"),
        (Lane::Waiting, "waiting 2"),
    ] {
        bench.enter(lane, name).await;
    }
    sleep(SECOND * 10).await;
    let order = bench.order();
    assert_eq!(
        order[drained..],
        [
            "waiting 1",
            "waiting 2",
            "growth 1",
            "growth 2",
            "release",
            "collection",
            "audit"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_lowest_lanes_move_while_urgent_calls_never_end() {
    let bench = Bench::healthy(rate(20));
    let urgent = bench.pacer.on(Lane::Waiting);
    let endless = (0..50).map(|_| async {
        loop {
            drop(detach(&urgent, "urgent").await);
        }
    });
    let endless = join_all(endless);
    let low = async {
        sleep(SECOND).await;
        for lane in [Lane::Release, Lane::Collection, Lane::Audit] {
            drop(detach(&bench.pacer.on(lane), lane.name()).await);
        }
    };
    let begun = Instant::now();
    tokio::select! {
        biased;
        _ = endless => unreachable!(),
        () = low => {}
    }
    // Each was behind 50 others, every 20th start of 20 a second went to the oldest.
    assert!(
        begun.elapsed() < Duration::from_secs(3 * 55),
        "{:?}",
        begun.elapsed()
    );
    let urgent = bench.order().iter().filter(|about| *about == "urgent").count();
    assert!(urgent * 100 > bench.calls() * 95);
}

#[tokio::test(start_paused = true)]
async fn an_audit_takes_a_twentieth_of_the_budget_at_most_even_alone() {
    let bench = Bench::healthy(PaceConfig::default());
    let audit = bench.pacer.on(Lane::Audit);
    let begun = Instant::now();
    join_all((0..100).map(|_| read(&audit))).await;
    let rate = 99.0 / begun.elapsed().as_secs_f64();
    assert!((2.4..=2.5).contains(&rate), "{rate} calls per second");
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_line_overtakes_once_somebody_waits_for_it() {
    let bench = Bench::healthy(rate(10));
    bench.drain().await;
    let drained = bench.calls() + 1;
    let (somebody_waits, urgent) = watch::channel(false);
    bench.enter(Lane::Growth, "first").await;
    let cloud = bench.pacer.on(Lane::Growth).urged_by(urgent.clone());
    tokio::spawn(async move { drop(detach(&cloud, "urged").await) });
    // Nobody can become urgent any more where the sender is gone: it goes in its turn.
    let cloud = bench.pacer.on(Lane::Growth).urged_by(watch::channel(false).1);
    tokio::spawn(async move { drop(detach(&cloud, "never urged").await) });
    tokio::task::yield_now().await;
    assert_eq!(bench.pacer.counts().queued[&Lane::Growth], 3);
    somebody_waits.send_replace(true);
    tokio::task::yield_now().await;
    assert_eq!(bench.pacer.counts().queued[&Lane::Growth], 2);
    sleep(SECOND).await;
    assert_eq!(bench.order()[drained..], ["urged", "first", "never urged"]);
    let calls = bench.pacer.counts().calls;
    let urged = calls[&(Call::DetachEni, Lane::Growth)];
    assert_eq!(
        (urged.calls, urged.not_started),
        (2, 0),
        "it counts where it went"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_costs_the_others_nothing() {
    let bench = Bench::healthy(rate(10));
    bench.drain().await;
    let drained = bench.calls() + 1;
    let cloud = bench.pacer.on(Lane::Growth);
    let abandoned: Vec<_> = (0..100)
        .map(|_| {
            let cloud = cloud.clone();
            tokio::spawn(async move { drop(detach(&cloud, "abandoned").await) })
        })
        .collect();
    tokio::task::yield_now().await;
    bench.enter(Lane::Growth, "patient").await;
    let begun = Instant::now();
    abandoned.iter().for_each(|task| task.abort());
    while bench.calls() <= drained {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.order()[drained..], ["patient"]);
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_given_to_someone_who_left_goes_to_the_next() {
    let bench = Bench::healthy(rate(1));
    read(&bench.pacer.on(Lane::Growth)).await.unwrap();
    let cloud = bench.pacer.on(Lane::Waiting);
    // Polled once, it stands in the line; not polled again, it does not notice its turn.
    let mut leaving = Box::pin(detach(&cloud, "leaving"));
    assert!(futures::poll!(&mut leaving).is_pending());
    bench.enter(Lane::Growth, "next").await;
    let begun = Instant::now();
    sleep(SECOND + Duration::from_millis(5)).await;
    assert_eq!(bench.calls(), 1, "the turn is the leaving one's");
    drop(leaving);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.order()[1..], ["next"]);
    assert!(begun.elapsed() < SECOND * 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_known_to_take_too_long_is_never_started() {
    let config = PaceConfig {
        call_timeout: Duration::from_secs(30),
        ..PaceConfig::default()
    };
    let bench = Bench::new(config, Duration::from_secs(12), |_, _| Fault::None);
    let cloud = bench.pacer.on(Lane::Waiting);
    read(&cloud).await.unwrap();
    for _ in 0..20 {
        let begun = Instant::now();
        let hurried = cloud.clone().until(begun + Duration::from_secs(10));
        let error = read(&hurried).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::NotStarted);
        assert_eq!(error.resource, "ins-0");
        assert_eq!(begun.elapsed(), Duration::ZERO, "it is known at once");
        read(&cloud.clone().until(begun + Duration::from_secs(13)))
            .await
            .unwrap();
    }
    assert_eq!(bench.calls(), 21);
    assert_eq!(bench.pacer.counts().total().not_started, 20);
}

#[tokio::test(start_paused = true)]
async fn a_listing_of_everything_may_take_longer_than_a_call_and_no_longer_than_the_cloud_says() {
    let all = EniFilter::Tags(BTreeMap::new());
    let some = EniFilter::Ids(vec![EniId::from("eni-0")]);
    let config = PaceConfig {
        attempts: 1,
        ..PaceConfig::default()
    };
    let slow = Bench::new(config.clone(), LISTING - SECOND, |_, _| Fault::None);
    let cloud = slow.pacer.on(Lane::Audit);
    cloud.enis(&all).await.unwrap();
    let begun = Instant::now();
    assert_eq!(kind(cloud.enis(&some).await), CloudErrorKind::Unavailable);
    assert_eq!(begun.elapsed(), config.call_timeout);
    let slower = Bench::new(config, LISTING + SECOND, |_, _| Fault::None);
    let begun = Instant::now();
    assert_eq!(
        kind(slower.pacer.on(Lane::Audit).enis(&all).await),
        CloudErrorKind::Unavailable
    );
    assert_eq!(begun.elapsed(), LISTING);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_slower_than_the_deadline_is_learnt_from_calls_that_were_given_up_and_tried_again_later() {
    let bench = Bench::new(PaceConfig::default(), Duration::from_secs(12), |_, _| Fault::None);
    let cloud = bench.pacer.on(Lane::Waiting);
    let hurried = || cloud.clone().until(Instant::now() + Duration::from_secs(10));
    let begun = Instant::now();
    assert_eq!(kind(detach(&hurried(), "eni").await), CloudErrorKind::Unavailable);
    assert_eq!(begun.elapsed(), Duration::from_secs(10), "not past the deadline");
    assert_eq!(kind(detach(&hurried(), "eni").await), CloudErrorKind::NotStarted);
    advance(Duration::from_secs(59)).await;
    assert_eq!(kind(detach(&hurried(), "eni").await), CloudErrorKind::NotStarted);
    advance(SECOND).await;
    assert_eq!(kind(detach(&hurried(), "eni").await), CloudErrorKind::Unavailable);
    assert_eq!(bench.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_would_come_too_late_is_refused_at_once() {
    let bench = Bench::healthy(rate(10));
    for n in 0..100 {
        bench.enter(Lane::Growth, &format!("eni-{n}")).await;
    }
    let begun = Instant::now();
    let soon = bench.pacer.on(Lane::Growth).until(begun + Duration::from_secs(5));
    assert_eq!(kind(detach(&soon, "late").await), CloudErrorKind::NotStarted);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // The same deadline is enough for whoever may go first.
    let urgent = bench
        .pacer
        .on(Lane::Waiting)
        .until(begun + Duration::from_secs(5));
    assert_eq!(kind(detach(&urgent, "urgent").await), CloudErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_overtaken_gives_up_when_it_can_no_longer_end_in_time() {
    let bench = Bench::healthy(rate(2));
    bench.drain().await;
    let begun = Instant::now();
    let low = bench
        .pacer
        .on(Lane::Release)
        .until(begun + Duration::from_secs(4));
    let low = tokio::spawn(async move { detach(&low, "low").await });
    tokio::task::yield_now().await;
    for _ in 0..30 {
        bench.enter(Lane::Waiting, "urgent").await;
    }
    assert_eq!(kind(low.await.unwrap()), CloudErrorKind::NotStarted);
    assert!(
        begun.elapsed() <= Duration::from_millis(4_001),
        "{:?}",
        begun.elapsed()
    );
    sleep(SECOND * 30).await;
    assert!(!bench.order().contains(&"low".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_given_up_after_the_time_out() {
    let bench = Bench::new(PaceConfig::default(), Duration::from_secs(60), |_, _| Fault::None);
    let begun = Instant::now();
    let error = detach(&bench.pacer.on(Lane::Growth), "eni").await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Unavailable);
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(bench.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_repeats_what_reads_and_never_what_writes() {
    let bench = Bench::new(PaceConfig::default(), Duration::ZERO, |_, _| {
        Fault::After(CloudErrorKind::Unavailable)
    });
    let cloud = bench.pacer.on(Lane::Growth);
    assert_eq!(kind(detach(&cloud, "eni").await), CloudErrorKind::Unavailable);
    assert_eq!(bench.calls(), 1);
    assert_eq!(kind(read(&cloud).await), CloudErrorKind::Unavailable);
    assert_eq!(bench.calls(), 1 + 4, "four attempts");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_write_is_repeated_until_the_cloud_takes_it() {
    let count = AtomicUsize::new(0);
    let bench = Bench::new(PaceConfig::default(), Duration::ZERO, move |_, _| {
        match count.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => THROTTLED,
            _ => Fault::None,
        }
    });
    let cloud = bench.pacer.on(Lane::Growth);
    assert_eq!(kind(detach(&cloud, "eni").await), CloudErrorKind::NotFound);
    let counts = bench.pacer.counts();
    let counts = counts.calls[&(Call::DetachEni, Lane::Growth)];
    assert_eq!(
        (counts.calls, counts.throttled, counts.retries, counts.failures),
        (3, 2, 2, 3)
    );
    assert!(counts.waited >= SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_broken_cloud_gets_a_tenth_more_calls_and_not_a_multiple() {
    let bench = Bench::new(PaceConfig::default(), Duration::ZERO, |_, _| UNAVAILABLE);
    let cloud = bench.pacer.on(Lane::Growth);
    for _ in 0..1_000 {
        assert_eq!(kind(read(&cloud).await), CloudErrorKind::Unavailable);
    }
    let total = bench.pacer.counts().total();
    assert_eq!(total.calls, total.retries + 1_000);
    assert!((90..=110).contains(&total.retries), "{total:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_past_the_deadline() {
    let bench = Bench::new(PaceConfig::default(), Duration::ZERO, |_, _| UNAVAILABLE);
    let end = Instant::now() + Duration::from_millis(90);
    let cloud = bench.pacer.on(Lane::Growth).until(end);
    assert_eq!(kind(read(&cloud).await), CloudErrorKind::Unavailable);
    assert_eq!(bench.calls(), 1, "the shortest pause is longer than what is left");
    assert!(Instant::now() < end);
}

#[tokio::test(start_paused = true)]
async fn the_earliest_of_several_deadlines_counts() {
    let bench = Bench::new(PaceConfig::default(), Duration::from_secs(5), |_, _| Fault::None);
    let now = Instant::now();
    let cloud = bench
        .pacer
        .on(Lane::Growth)
        .until(now + SECOND)
        .until(now + SECOND * 60);
    assert_eq!(kind(detach(&cloud, "eni").await), CloudErrorKind::Unavailable);
    assert_eq!(Instant::now(), now + SECOND);
}

#[test]
fn one_seed_gives_one_history() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            let bench = Bench::new(rate(20), Duration::from_millis(30), throttling(8.0, 3.0, true));
            let start = Instant::now();
            let calls = (0..300_u64).map(|n| {
                let cloud = bench.pacer.on(Lane::ALL[n as usize % 5]);
                async move {
                    sleep_until(start + Duration::from_millis(n * 7)).await;
                    match n % 3 {
                        0 => drop(read(&cloud.until(start + Duration::from_secs(20))).await),
                        _ => drop(detach(&cloud, &format!("eni-{n}")).await),
                    }
                }
            });
            join_all(calls).await;
            let arrived = bench.arrived.lock();
            let history: Vec<_> = arrived
                .iter()
                .map(|(at, about)| (*at - start, about.clone()))
                .collect();
            history
        })
    };
    assert_eq!(run(), run());
}
