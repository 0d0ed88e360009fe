//! The node pool allocator: choice, states and their sum.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use eni_core::{
    allocator::{AddressRequest, Allocator, MINIMUM_COOLING, PoolAllocator, PoolCounts, Shortage},
    model::{Families, Generation, Mac, NodePool, PoolAddress, PoolEni, SandboxKey},
};
use tokio::time::Instant;

const REST: Duration = Duration::from_secs(30);

fn eni(name: &str, third: u8, count: u8) -> PoolEni {
    let ip = |last: u8| IpAddr::from([10, 0, third, last]);
    PoolEni {
        id: name.into(),
        mac: Mac([2, 0, 0, 0, 0, third]),
        subnet: "subnet-a".into(),
        cidr: "10.0.0.0/16".parse().unwrap(),
        gateway: ip(1),
        primary: ip(2),
        attached: (0..count)
            .map(|n| PoolAddress {
                ip: ip(10 + n),
                generation: Generation::from_random(n.into()),
            })
            .collect(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    }
}

fn pool(enis: Vec<PoolEni>) -> NodePool {
    NodePool {
        enis,
        maximum: 0,
        capacity: 100,
        granted: 0,
        by_claim: false,
    }
}

fn in_service(published: &NodePool) -> PoolAllocator {
    let mut allocator = PoolAllocator::default();
    allocator.accept(published);
    allocator.put_into_service(|_| true);
    allocator
}

fn request(container: &str) -> AddressRequest {
    let key = SandboxKey::new("net", container, "eth0");
    AddressRequest {
        key,
        pod: None,
        pod_uid: None,
        families: Families::V4,
        origin: None,
    }
}

fn add(allocator: &mut PoolAllocator, container: &str) -> IpAddr {
    let allocation = allocator.allocate(&request(container), Instant::now()).unwrap();
    allocation.addresses.iter().next().unwrap()
}

fn del(allocator: &mut PoolAllocator, container: &str) {
    let now = Instant::now();
    allocator
        .release(&request(container).key, now, now + REST)
        .unwrap();
}

#[test]
fn repeating_an_allocation_answers_the_same() {
    let mut allocator = in_service(&pool(vec![eni("eni-a", 1, 3)]));
    let first = add(&mut allocator, "c1");
    assert_eq!(add(&mut allocator, "c1"), first);
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            free: 2,
            allocated: 1,
            ..PoolCounts::default()
        }
    );
}

#[test]
fn takes_from_the_fullest_eni_and_offers_from_the_emptiest() {
    let mut allocator = in_service(&pool(vec![eni("eni-a", 1, 3), eni("eni-b", 2, 3)]));
    let first = add(&mut allocator, "c1");
    let second = add(&mut allocator, "c2");
    let third = |ip: IpAddr| ip.to_string().split('.').nth(2).map(str::to_owned);
    assert_eq!(third(first), third(second), "the ENI in use is filled first");
    let offered = allocator.surplus(3);
    assert!(
        offered.iter().all(|entry| third(entry.ip) != third(first)),
        "{offered:?}"
    );
}

#[test]
fn never_gives_one_address_twice() {
    let mut allocator = in_service(&pool(vec![eni("eni-a", 1, 20), eni("eni-b", 2, 20)]));
    let given: BTreeSet<_> = (0..40).map(|n| add(&mut allocator, &format!("c{n}"))).collect();
    assert_eq!(given.len(), 40);
    let none = allocator
        .allocate(&request("one-more"), Instant::now())
        .unwrap_err();
    assert_eq!(
        none,
        Shortage::NoAddress {
            owned: 40,
            cooling: 0,
            withdrawn: 0
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_released_address_rests() {
    let mut allocator = in_service(&pool(vec![eni("eni-a", 1, 1)]));
    let ip = add(&mut allocator, "c1");
    del(&mut allocator, "c1");
    assert!(allocator.allocate(&request("c2"), Instant::now()).is_err());
    tokio::time::advance(REST).await;
    assert_eq!(add(&mut allocator, "c2"), ip);
}

#[tokio::test(start_paused = true)]
async fn at_the_nodes_limit_the_oldest_resting_address_goes_early() {
    let mut published = pool(vec![eni("eni-a", 1, 2)]);
    published.capacity = 2;
    let mut allocator = in_service(&published);
    let oldest = add(&mut allocator, "c1");
    add(&mut allocator, "c2");
    del(&mut allocator, "c1");
    tokio::time::advance(Duration::from_secs(1)).await;
    del(&mut allocator, "c2");
    assert!(
        allocator.allocate(&request("c3"), Instant::now()).is_err(),
        "too young"
    );
    tokio::time::advance(MINIMUM_COOLING - Duration::from_secs(1)).await;
    assert_eq!(add(&mut allocator, "c3"), oldest);
    assert!(
        allocator.allocate(&request("c4"), Instant::now()).is_err(),
        "the other is a second younger"
    );
}

#[test]
fn a_withdrawn_address_is_not_given_out_and_is_forgotten_once_taken() {
    let mut published = pool(vec![eni("eni-a", 1, 2)]);
    let mut allocator = in_service(&published);
    let offered = allocator.surplus(1);
    allocator.withdraw(offered[0]);
    let given = add(&mut allocator, "c1");
    assert_ne!(given, offered[0].ip);
    assert!(allocator.allocate(&request("c2"), Instant::now()).is_err());

    published.enis[0].attached.retain(|entry| *entry != offered[0]);
    published.enis[0].releasing.push(offered[0]);
    assert!(
        allocator.accept(&published).forgotten.is_empty(),
        "it is fenced until ipamd has dropped it"
    );
    assert!(allocator.allocate(&request("c2"), Instant::now()).is_err());
    published.enis[0].releasing.clear();
    assert_eq!(allocator.accept(&published).forgotten, offered);
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            allocated: 1,
            ..PoolCounts::default()
        }
    );
}

#[test]
fn a_new_stay_of_an_address_is_another_address() {
    let mut published = pool(vec![eni("eni-a", 1, 1)]);
    let mut allocator = in_service(&published);
    let old = allocator.surplus(1)[0];
    allocator.withdraw(old);
    let new = PoolAddress {
        generation: Generation::from_random(77),
        ..old
    };
    published.enis[0].attached = vec![new];
    assert_eq!(allocator.accept(&published).forgotten, [old]);
    assert_eq!(add(&mut allocator, "c1"), new.ip);
}

#[test]
fn an_owned_address_that_vanishes_is_lost_and_comes_back_to_its_owner() {
    let published = pool(vec![eni("eni-a", 1, 2)]);
    let mut allocator = in_service(&published);
    let ip = add(&mut allocator, "c1");
    let mut without = published.clone();
    without.enis[0].attached.retain(|entry| entry.ip != ip);
    let lost = allocator.accept(&without).lost;
    assert_eq!(lost, [(request("c1").key, ip)]);
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            free: 1,
            lost: 1,
            ..PoolCounts::default()
        }
    );
    assert!(allocator.accept(&without).lost.is_empty(), "reported once");
    allocator.accept(&published);
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            free: 1,
            allocated: 1,
            ..PoolCounts::default()
        }
    );
    del(&mut allocator, "c1");
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            free: 1,
            cooling: 1,
            ..PoolCounts::default()
        }
    );
}

#[test]
fn an_owner_keeps_its_address_when_the_object_was_made_anew() {
    let mut published = pool(vec![eni("eni-a", 1, 2)]);
    let mut allocator = in_service(&published);
    let ip = add(&mut allocator, "c1");
    for entry in &mut published.enis[0].attached {
        entry.generation = Generation::from_random(500);
    }
    assert!(allocator.accept(&published).lost.is_empty());
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            free: 1,
            allocated: 1,
            ..PoolCounts::default()
        }
    );
    assert_eq!(add(&mut allocator, "c1"), ip);
    assert_ne!(add(&mut allocator, "c2"), ip);
}

#[test]
fn an_eni_out_of_service_gives_nothing() {
    let published = pool(vec![eni("eni-a", 1, 2)]);
    let mut allocator = PoolAllocator::default();
    allocator.accept(&published);
    assert_eq!(
        allocator.allocate(&request("c1"), Instant::now()).unwrap_err(),
        Shortage::NoEni
    );
    allocator.put_into_service(|_| true);
    add(&mut allocator, "c1");
}

#[test]
fn dual_stack_is_both_or_neither() {
    let mut published = pool(vec![eni("eni-a", 1, 2)]);
    let v6 = PoolAddress {
        ip: "2001:db8::1".parse().unwrap(),
        generation: Generation::from_random(9),
    };
    published.enis[0].attached.push(v6);
    let mut allocator = in_service(&published);
    let dual = |container: &str| AddressRequest {
        families: Families::Dual,
        ..request(container)
    };
    let both = allocator.allocate(&dual("c1"), Instant::now()).unwrap();
    assert_eq!(both.addresses.iter().count(), 2);
    assert!(allocator.allocate(&dual("c2"), Instant::now()).is_err());
    assert_eq!(
        allocator.counts(),
        PoolCounts {
            free: 1,
            allocated: 2,
            ..PoolCounts::default()
        }
    );
}

#[test]
fn an_undone_allocation_leaves_no_trace() {
    let mut allocator = in_service(&pool(vec![eni("eni-a", 1, 1)]));
    let before = allocator.counts();
    add(&mut allocator, "c1");
    allocator.undo(&request("c1").key);
    assert_eq!(allocator.counts(), before);
    add(&mut allocator, "c2");
}

#[test]
fn the_states_always_add_up() {
    let published = pool(vec![eni("eni-a", 1, 8), eni("eni-b", 2, 8)]);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut allocator = in_service(&published);
    let mut owners = BTreeSet::new();
    for step in 0..20_000 {
        let container = format!("c{}", rng.u8(..24));
        match rng.u8(..4) {
            0 | 1 => {
                if allocator.allocate(&request(&container), Instant::now()).is_ok() {
                    owners.insert(container);
                }
            }
            2 => {
                let now = Instant::now();
                let released = allocator.release(&request(&container).key, now, now).is_some();
                assert_eq!(released, owners.remove(&container));
            }
            _ => match rng.bool() {
                true => allocator
                    .surplus(1)
                    .into_iter()
                    .for_each(|entry| allocator.withdraw(entry)),
                false => {
                    let fenced: Vec<_> = allocator.withdrawn().collect();
                    fenced.into_iter().for_each(|entry| allocator.take_back(entry));
                }
            },
        }
        let counts = allocator.counts();
        assert_eq!(counts.total(), 16, "step {step}: {counts:?}");
        assert_eq!(counts.allocated, owners.len(), "step {step}: {counts:?}");
    }
}
