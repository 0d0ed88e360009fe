//! The node service: order, repetition, cancellation and restarts.

mod node;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use eni_core::{
    agent::{
        Add, AddError, Del, DelError, Grant, NodeService, NotReady, ServiceConfig, WiringGuard, Witnesses,
    },
    allocator::{AddressRequest, MINIMUM_COOLING, PoolCounts, Shortage},
    env::SystemEnvironment,
    journal::{CommitFault, Journal, MemoryJournal},
    model::*,
    network::EniLink,
};
use node::{COOLDOWN, key, pool};
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);

/// When a plugin started, by the boot clock.
fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

async fn publish(service: &NodeService, pool: NodePool) {
    let link = EniLink {
        index: 7,
        table: 4007,
    };
    let links = pool.enis.iter().map(|eni| (eni.id.clone(), link)).collect();
    service.accept(pool, &links).await.unwrap();
}

async fn open(journal: &MemoryJournal) -> Arc<NodeService> {
    let config = ServiceConfig {
        cooldown: COOLDOWN,
        ..ServiceConfig::default()
    };
    let journal = Arc::new(journal.clone());
    let service = NodeService::open(journal, SystemEnvironment::shared(), config)
        .await
        .unwrap();
    // No pods run that a lost journal would have known of.
    service.recover(&Witnesses::default()).await.unwrap();
    let waiters = service.clone();
    tokio::spawn(async move { waiters.run().await });
    service
}

/// A service with `count` addresses in its pool.
async fn serving(count: u8) -> (Arc<NodeService>, MemoryJournal) {
    let journal = MemoryJournal::new();
    let service = open(&journal).await;
    publish(&service, pool(count)).await;
    (service, journal)
}

async fn add_at(
    service: &Arc<NodeService>,
    container: &str,
    started: Duration,
) -> Result<(Grant, WiringGuard), AddError> {
    let request = AddressRequest {
        key: key(container),
        pod: None,
        pod_uid: None,
        families: Families::V4,
        origin: None,
    };
    service
        .add(Add {
            request,
            deadline: Instant::now() + SOON,
            started,
        })
        .await
}

async fn add(service: &Arc<NodeService>, container: &str) -> Result<PodAddresses, AddError> {
    add_at(service, container, at(1))
        .await
        .map(|(grant, _)| grant.allocation.addresses)
}

async fn del_at(
    service: &Arc<NodeService>,
    container: &str,
    started: Duration,
) -> Result<Option<Allocation>, DelError> {
    service
        .del(Del {
            key: key(container),
            deadline: Instant::now() + SOON,
            started,
        })
        .await
}

async fn del(service: &Arc<NodeService>, container: &str) -> Option<Allocation> {
    del_at(service, container, at(2)).await.unwrap()
}

/// Starts an ADD and lets it reach the queue.
async fn waiting_add(
    service: &Arc<NodeService>,
    container: &'static str,
) -> tokio::task::JoinHandle<Result<PodAddresses, AddError>> {
    let (service, before) = (service.clone(), *service.waiting().borrow());
    let mut waiting = service.waiting();
    let task = tokio::spawn(async move { add(&service, container).await });
    waiting.wait_for(|count| *count > before).await.unwrap();
    task
}

#[tokio::test(start_paused = true)]
async fn the_same_add_twice_answers_the_same() {
    let (service, _) = serving(3).await;
    let first = add(&service, "c1").await.unwrap();
    assert_eq!(add(&service, "c1").await.unwrap(), first);
    assert_eq!(
        service.counts(),
        PoolCounts {
            free: 2,
            allocated: 1,
            ..PoolCounts::default()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn concurrent_adds_of_one_interface_share_one_address() {
    let (service, _) = serving(3).await;
    let adds = (0..8).map(|_| add(&service, "c1"));
    let answers = futures::future::join_all(adds).await;
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(service.counts().allocated, 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_del_twice_and_a_del_of_nothing_succeed() {
    let (service, _) = serving(1).await;
    add(&service, "c1").await.unwrap();
    assert!(del(&service, "c1").await.is_some());
    assert!(del(&service, "c1").await.is_none());
    assert!(del(&service, "never-added").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_in_which_they_asked() {
    let (service, _) = serving(0).await;
    let mut tasks = Vec::new();
    for container in ["c1", "c2", "c3"] {
        tasks.push(waiting_add(&service, container).await);
    }
    publish(&service, pool(2)).await;
    let third = tasks.pop().unwrap();
    let second = tasks.pop().unwrap().await.unwrap().unwrap();
    let first = tasks.pop().unwrap().await.unwrap().unwrap();
    assert_ne!(first, second);
    let late = third.await.unwrap().unwrap_err();
    assert!(matches!(late, AddError::Timeout { ahead: 0, .. }), "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_the_queue() {
    let (service, _) = serving(1).await;
    add(&service, "owner").await.unwrap();
    let waiter = waiting_add(&service, "first").await;
    del(&service, "owner").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let newcomer = waiting_add(&service, "second").await;
    let reason = newcomer.await.unwrap().unwrap_err();
    assert!(matches!(
        reason,
        AddError::Timeout {
            ahead: _,
            shortage: Shortage::NoAddress { cooling: 1, .. }
        }
    ));
    waiter.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_with_the_reason() {
    let (service, _) = serving(1).await;
    add(&service, "owner").await.unwrap();
    let started = Instant::now();
    let reason = add(&service, "late").await.unwrap_err();
    assert_eq!(Instant::now() - started, SOON);
    assert!(
        reason
            .to_string()
            .contains("all 1 addresses of this node are in use"),
        "{reason}"
    );
    assert_eq!(*service.waiting().borrow(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_enis_says_so() {
    let service = open(&MemoryJournal::new()).await;
    let reason = add(&service, "c1").await.unwrap_err();
    assert!(
        matches!(
            reason,
            AddError::Timeout {
                shortage: Shortage::NoEni,
                ..
            }
        ),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_del_cancels_the_waiting_add_of_its_interface_alone() {
    let (service, _) = serving(0).await;
    let (deleted, other) = (
        waiting_add(&service, "c1").await,
        waiting_add(&service, "c2").await,
    );
    assert!(del(&service, "c1").await.is_none());
    assert!(matches!(deleted.await.unwrap(), Err(AddError::Cancelled { .. })));
    publish(&service, pool(1)).await;
    other.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_add_that_started_before_the_del_is_refused_and_a_later_one_served() {
    let (service, _) = serving(2).await;
    del_at(&service, "c1", at(5)).await.unwrap();
    let late = add_at(&service, "c1", at(4)).await.unwrap_err();
    assert!(matches!(late, AddError::Cancelled { .. }), "{late}");
    assert_eq!(service.counts().allocated, 0);
    add_at(&service, "c1", at(6)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_del_that_was_held_up_does_not_shorten_the_reach_of_a_later_one() {
    let (service, _) = serving(1).await;
    del_at(&service, "c1", at(5)).await.unwrap();
    del_at(&service, "c1", at(3)).await.unwrap();
    let late = add_at(&service, "c1", at(4)).await.unwrap_err();
    assert!(matches!(late, AddError::Cancelled { .. }), "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_del_waits_until_the_add_has_wired_the_pod() {
    let (service, _) = serving(1).await;
    let (_, wiring) = add_at(&service, "c1", at(1)).await.unwrap();
    let mut del = Box::pin(del_at(&service, "c1", at(2)));
    assert!(futures::poll!(&mut del).is_pending());
    drop(wiring);
    assert!(del.await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_del_that_cannot_wait_any_longer_is_to_be_repeated() {
    let (service, _) = serving(1).await;
    let (_, _wiring) = add_at(&service, "c1", at(1)).await.unwrap();
    let busy = del_at(&service, "c1", at(2)).await.unwrap_err();
    assert!(matches!(busy, DelError::Busy { .. }), "{busy}");
    assert_eq!(
        service.counts().allocated,
        1,
        "nothing was released under the wiring"
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_while_waiting_leaves_nothing() {
    let (service, _) = serving(0).await;
    let waiter = waiting_add(&service, "c1").await;
    waiter.abort();
    waiter.await.unwrap_err();
    assert_eq!(*service.waiting().borrow(), 0);
    publish(&service, pool(1)).await;
    assert_eq!(service.counts().free, 1);
    add(&service, "c2").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_address_whose_waiter_hung_up_goes_to_the_next() {
    let (service, _) = serving(0).await;
    let mut first = Box::pin(add(&service, "first"));
    let mut second = Box::pin(add(&service, "second"));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    publish(&service, pool(1)).await;
    drop(first);
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_released_address_rests_also_across_a_restart() {
    let (service, journal) = serving(1).await;
    add(&service, "c1").await.unwrap();
    del(&service, "c1").await;
    let service = open(&journal).await;
    publish(&service, pool(1)).await;
    assert_eq!(
        service.counts(),
        PoolCounts {
            cooling: 1,
            ..PoolCounts::default()
        }
    );
    tokio::time::sleep(COOLDOWN).await;
    add(&service, "c2").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_add_survives_a_restart() {
    let (service, journal) = serving(3).await;
    let mut owners = BTreeMap::new();
    for container in ["c1", "c2"] {
        owners.insert(container, add(&service, container).await.unwrap());
    }
    let service = open(&journal).await;
    publish(&service, pool(3)).await;
    for (container, addresses) in &owners {
        assert_eq!(add(&service, container).await.unwrap(), *addresses);
    }
    let other = add(&service, "c3").await.unwrap();
    assert!(!owners.values().any(|owned| *owned == other));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_address_stays_withdrawn_across_a_restart() {
    let (service, journal) = serving(2).await;
    let offered = service.withdraw(1).await.unwrap();
    let service = open(&journal).await;
    publish(&service, pool(2)).await;
    assert_eq!(service.withdrawn(), offered);
    assert_ne!(add(&service, "c1").await.unwrap(), offered[0].ip.into());
}

#[tokio::test(start_paused = true)]
async fn an_add_that_is_not_durable_is_not_acknowledged_and_its_address_not_given_to_others() {
    for fault in [CommitFault::Before, CommitFault::After] {
        let (service, journal) = serving(2).await;
        journal.fail_next(fault);
        assert!(matches!(add(&service, "c1").await, Err(AddError::Journal(_))));
        let other = add(&service, "c2").await.unwrap();
        let memory = journal.load().await.unwrap();
        let claims = memory
            .owned
            .iter()
            .filter(|(_, owned)| owned.addresses == other)
            .count();
        assert_eq!(claims, 1, "{fault:?}: {memory:?}");
        assert!(del(&service, "c1").await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_del_that_is_not_durable_is_not_acknowledged() {
    let (service, journal) = serving(1).await;
    add(&service, "c1").await.unwrap();
    journal.fail_next(CommitFault::Before);
    assert!(matches!(
        del_at(&service, "c1", at(2)).await,
        Err(DelError::Journal(_))
    ));
    assert_eq!(service.counts().allocated, 1);
    assert!(del(&service, "c1").await.is_some(), "the runtime tries again");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_cannot_be_fenced_durably_is_not_offered() {
    let (service, journal) = serving(1).await;
    journal.fail_next(CommitFault::After);
    service.withdraw(1).await.unwrap_err();
    assert!(service.withdrawn().is_empty());
    add(&service, "c1").await.unwrap();
    let memory = journal.load().await.unwrap();
    assert!(
        memory.held.is_empty(),
        "the owner's commit lifts the fence: {memory:?}"
    );
}

/// The ENI of the pool has no device.
async fn out_of_service(service: &NodeService, pool: NodePool) {
    service.accept(pool, &BTreeMap::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_waits_for_its_eni_holds_nobody_up() {
    let (service, _) = serving(1).await;
    let owned = add(&service, "owner").await.unwrap();
    let mut second = pool(1);
    second.enis[0].id = "eni-b".into();
    second.enis[0].mac = Mac([2, 0, 0, 0, 0, 2]);
    second.enis[0].attached[0].ip = [10, 0, 0, 99].into();
    let both = NodePool {
        enis: [pool(1).enis, second.enis.clone()].concat(),
        ..pool(1)
    };
    out_of_service(&service, both.clone()).await;
    let mut again = Box::pin(add(&service, "owner"));
    assert!(futures::poll!(&mut again).is_pending());
    assert_eq!(
        *service.waiting().borrow(),
        0,
        "it needs no address that ipamd could add"
    );
    let newcomer = waiting_add(&service, "newcomer").await;
    let link = EniLink {
        index: 8,
        table: 4008,
    };
    let links = BTreeMap::from([("eni-b".into(), link)]);
    service.accept(both.clone(), &links).await.unwrap();
    assert_eq!(
        newcomer.await.unwrap().unwrap(),
        IpAddr::from([10, 0, 0, 99]).into()
    );
    assert!(futures::poll!(&mut again).is_pending());
    publish(&service, both).await;
    assert_eq!(again.await.unwrap(), owned);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_eni_does_not_come_back_is_told_which_and_keeps_its_address() {
    let (service, _) = serving(1).await;
    add(&service, "owner").await.unwrap();
    out_of_service(&service, pool(1)).await;
    let reason = add(&service, "owner").await.unwrap_err();
    assert!(reason.to_string().contains("ENI eni-a"), "{reason}");
    assert_eq!(service.counts().allocated, 1);
    // A DEL ends its waiting like anybody's.
    let mut again = Box::pin(add(&service, "owner"));
    assert!(futures::poll!(&mut again).is_pending());
    let (deleted, again) = futures::join!(del(&service, "owner"), again);
    assert!(deleted.is_some());
    assert!(matches!(again, Err(AddError::Cancelled { .. })));
}

/// An ADD of a sandbox of pod `web`.
async fn add_of_web(
    service: &Arc<NodeService>,
    container: &str,
    started: Duration,
) -> Result<PodAddresses, AddError> {
    let request = AddressRequest {
        key: key(container),
        pod: Some(PodKey::new("default", "web")),
        pod_uid: Some("uid-of-web".into()),
        families: Families::V4,
        origin: None,
    };
    let deadline = Instant::now() + SOON;
    let add = Add {
        request,
        deadline,
        started,
    };
    service
        .add(add)
        .await
        .map(|(grant, _)| grant.allocation.addresses)
}

#[tokio::test(start_paused = true)]
async fn an_older_sandbox_of_a_pod_never_buries_the_newer_one() {
    let (service, journal) = serving(4).await;
    let first = add_of_web(&service, "old", at(1)).await.unwrap();
    let newer = add_of_web(&service, "new", at(5)).await.unwrap();
    assert_ne!(first, newer, "a newer ADD is always served");
    for (container, started) in [("late", at(4)), ("old", at(1)), ("old", at(9))] {
        let refused = add_of_web(&service, container, started).await.unwrap_err();
        let by_the_newer = matches!(&refused, AddError::Superseded { by, .. } if *by == key("new"));
        assert!(by_the_newer, "{container}: {refused}");
    }
    assert_eq!(add_of_web(&service, "new", at(9)).await.unwrap(), newer);
    let service = open(&journal).await;
    publish(&service, pool(4)).await;
    add_of_web(&service, "old", at(1)).await.unwrap_err();
    del(&service, "new").await.unwrap();
    assert_eq!(
        add_of_web(&service, "old", at(9)).await.unwrap(),
        first,
        "nothing newer is there"
    );
}

#[tokio::test(start_paused = true)]
async fn an_older_sandbox_that_waits_is_refused_once_the_newer_one_has_an_address() {
    let (service, _) = serving(0).await;
    let mut older = Box::pin(add_of_web(&service, "old", at(1)));
    let mut newer = Box::pin(add_of_web(&service, "new", at(5)));
    assert!(futures::poll!(&mut newer).is_pending());
    assert!(futures::poll!(&mut older).is_pending());
    publish(&service, pool(1)).await;
    newer.await.unwrap();
    publish(&service, pool(2)).await;
    let refused = older.await.unwrap_err();
    assert!(matches!(refused, AddError::Superseded { .. }), "{refused}");
    assert_eq!(service.counts().free, 1);
}

#[tokio::test(start_paused = true)]
async fn an_add_without_time_is_refused_at_once() {
    let (service, _) = serving(1).await;
    let request = AddressRequest {
        key: key("c1"),
        pod: None,
        pod_uid: None,
        families: Families::V4,
        origin: None,
    };
    let now = Instant::now();
    let add = Add {
        request,
        deadline: now + Duration::from_millis(10),
        started: at(1),
    };
    let reason = service.add(add).await.unwrap_err();
    assert!(matches!(reason, AddError::TooLate { .. }), "{reason}");
    assert_eq!((now.elapsed(), service.counts().free), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn at_the_nodes_limit_a_waiter_gets_the_oldest_resting_address() {
    let (service, _) = serving(0).await;
    let full = NodePool {
        capacity: 2,
        ..pool(2)
    };
    publish(&service, full).await;
    let oldest = add(&service, "c1").await.unwrap();
    add(&service, "c2").await.unwrap();
    assert!(matches!(service.status(), Err(NotReady::Full(2))));
    del(&service, "c1").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    del(&service, "c2").await;
    let asked = Instant::now();
    assert_eq!(add(&service, "c3").await.unwrap(), oldest);
    assert_eq!(asked.elapsed(), MINIMUM_COOLING - Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn two_families_are_given_together_or_not_at_all() {
    let journal = MemoryJournal::new();
    let config = ServiceConfig {
        cooldown: COOLDOWN,
        families: Families::Dual,
    };
    let service = NodeService::open(Arc::new(journal.clone()), SystemEnvironment::shared(), config)
        .await
        .unwrap();
    service.recover(&Witnesses::default()).await.unwrap();
    let waiters = service.clone();
    tokio::spawn(async move { waiters.run().await });
    let dual = async |container: &str| {
        let request = AddressRequest {
            key: key(container),
            pod: None,
            pod_uid: None,
            families: Families::Dual,
            origin: None,
        };
        let deadline = Instant::now() + SOON;
        let add = Add {
            request,
            deadline,
            started: at(1),
        };
        service
            .add(add)
            .await
            .map(|(grant, _)| grant.allocation.addresses)
    };
    publish(&service, pool(2)).await;
    let reason = dual("c1").await.unwrap_err();
    assert!(matches!(reason, AddError::Timeout { .. }), "{reason}");
    assert_eq!(service.counts().free, 2, "one family alone is not taken");

    let mut both = NodePool {
        capacity: 2,
        ..pool(2)
    };
    let v6 = |last: u16| PoolAddress {
        ip: IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]),
        generation: Generation::from_random(1),
    };
    both.enis[0].attached.extend([v6(1), v6(2)]);
    publish(&service, both).await;
    for container in ["c1", "c2"] {
        assert_eq!(dual(container).await.unwrap().iter().count(), 2);
    }
    journal.fail_next(CommitFault::Before);
    del_at(&service, "c1", at(2)).await.unwrap_err();
    del_at(&service, "c1", at(2)).await.unwrap();
    assert_eq!(service.counts().cooling, 2);
    // At the limit of both families, a waiter gets both of them early.
    let asked = Instant::now();
    assert_eq!(dual("c3").await.unwrap().iter().count(), 2);
    assert_eq!(asked.elapsed(), MINIMUM_COOLING);
}

#[tokio::test(start_paused = true)]
async fn the_status_says_why_nothing_would_be_served() {
    let journal = MemoryJournal::new();
    let service = open(&journal).await;
    assert_eq!(service.status(), Err(NotReady::NoEni));
    publish(&service, pool(1)).await;
    assert_eq!(service.status(), Ok(()));
    journal.fail_next(CommitFault::Before);
    add(&service, "c1").await.unwrap_err();
    let broken = service.status().unwrap_err();
    assert!(
        matches!(broken, NotReady::Journal(_)) && broken.is_fault(),
        "{broken}"
    );
    del(&service, "c1").await;
    assert_eq!(service.status(), Ok(()), "a commit succeeded again");
}

#[tokio::test(start_paused = true)]
async fn operators_see_what_was_done_and_who_waits_how_long() {
    let (service, _) = serving(1).await;
    add(&service, "c1").await.unwrap();
    add(&service, "late").await.unwrap_err();
    del(&service, "never-added").await;
    let waiter = waiting_add(&service, "c2").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let counters = service.counters();
    assert_eq!(counters.adds, BTreeMap::from([("ok", 1), ("timeout", 1)]));
    assert_eq!(counters.dels, BTreeMap::from([("nothing", 1)]));
    assert_eq!(
        (counters.waiting, counters.longest_wait),
        (1, Duration::from_secs(3))
    );
    assert_eq!(counters.pool, service.counts());
    waiter.abort();
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_taken_back_serves_whoever_waits() {
    let (service, journal) = serving(1).await;
    let offered = service.withdraw(1).await.unwrap();
    let rounds = [
        ("c1", None),
        ("c2", Some(CommitFault::Before)),
        ("c3", Some(CommitFault::After)),
    ];
    for (container, fault) in rounds {
        let waiter = waiting_add(&service, container).await;
        fault.into_iter().for_each(|fault| journal.fail_next(fault));
        let recorded = service.take_back(&offered).await;
        assert_eq!(recorded.is_ok(), fault.is_none());
        waiter.await.unwrap().unwrap();
        let memory = journal.load().await.unwrap();
        assert!(
            memory.held.is_empty(),
            "the owner's commit lifts the fence: {memory:?}"
        );
        del(&service, container).await;
        tokio::time::sleep(COOLDOWN).await;
        assert_eq!(service.withdraw(1).await.unwrap(), offered);
    }
}
