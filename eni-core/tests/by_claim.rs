//! Addresses that are for one pod alone: only that pod gets them, and what it lets go of is offered back at once.

use std::{net::IpAddr, time::Duration};

use eni_core::{
    allocator::{AddressRequest, Allocator, PoolAllocator, PoolCounts, Shortage},
    model::{Families, Generation, Mac, NodePool, PoolAddress, PoolEni, SandboxKey},
};
use tokio::time::Instant;

const REST: Duration = Duration::from_secs(30);

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// An ENI with addresses in a stay, each for a pod or for nobody.
fn pool(addresses: &[(u8, u32, Option<&str>)]) -> NodePool {
    let entry = |(last, generation, _): &(u8, u32, Option<&str>)| PoolAddress {
        ip: ip(*last),
        generation: Generation::from_random(u64::from(*generation)),
    };
    let reserved = addresses.iter();
    let reserved = reserved.filter_map(|(last, _, pod)| Some((ip(*last), (*pod)?.into())));
    NodePool {
        enis: vec![PoolEni {
            id: "eni-a".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            subnet: "subnet-a".into(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: ip(1),
            primary: ip(2),
            attached: addresses.iter().map(entry).collect(),
            releasing: Vec::new(),
            reserved: reserved.collect(),
            evicting: Vec::new(),
        }],
        maximum: 0,
        capacity: 100,
        granted: 100,
        by_claim: true,
    }
}

fn node(addresses: &[(u8, u32, Option<&str>)]) -> PoolAllocator {
    let mut node = PoolAllocator::default();
    accept(&mut node, addresses);
    node
}

fn accept(node: &mut PoolAllocator, addresses: &[(u8, u32, Option<&str>)]) {
    node.accept(&pool(addresses));
    node.put_into_service(|_| true);
}

fn request(container: &str, pod: &str) -> AddressRequest {
    AddressRequest {
        key: SandboxKey::new("net", container, "eth0"),
        pod: None,
        pod_uid: Some(pod.into()),
        families: Families::V4,
        origin: None,
    }
}

fn add(node: &mut PoolAllocator, container: &str, pod: &str) -> Result<IpAddr, Shortage> {
    let allocation = node.allocate(&request(container, pod), Instant::now())?;
    Ok(allocation.addresses.iter().next().expect("an address"))
}

fn del(node: &mut PoolAllocator, container: &str) {
    let now = Instant::now();
    let key = SandboxKey::new("net", container, "eth0");
    node.release(&key, now, now + REST).expect("it owned one");
}

fn withdrawn(node: &PoolAllocator) -> Vec<IpAddr> {
    node.withdrawn().map(|entry| entry.ip).collect()
}

#[test]
fn a_pod_gets_what_is_reserved_for_it_and_nobody_else_does() {
    let mut node = node(&[(10, 1, Some("u-1")), (11, 1, Some("u-2")), (12, 1, None)]);
    assert_eq!(add(&mut node, "c-3", "u-3"), Err(Shortage::Unclaimed));
    assert_eq!(add(&mut node, "c-2", "u-2"), Ok(ip(11)));
    assert_eq!(add(&mut node, "c-1", "u-1"), Ok(ip(10)));
    assert_eq!(add(&mut node, "c-1b", "u-1"), Err(Shortage::Unclaimed));
}

#[test]
fn without_a_device_the_pod_waits_for_it() {
    let mut node = node(&[(10, 1, Some("u-1"))]);
    node.put_into_service(|_| false);
    assert_eq!(add(&mut node, "c-1", "u-1"), Err(Shortage::NoEni));
}

#[test]
fn what_is_released_is_offered_back_at_once_and_taken_back_for_its_pod_alone() {
    let stay = [(10, 1, Some("u-1"))];
    let mut node = node(&stay);
    add(&mut node, "c-1", "u-1").unwrap();
    del(&mut node, "c-1");
    assert_eq!(withdrawn(&node), [ip(10)]);
    assert_eq!(add(&mut node, "c-2", "u-1"), Err(Shortage::Unclaimed), "fenced");
    accept(&mut node, &stay);
    assert_eq!(withdrawn(&node), [ip(10)], "the fence holds");
    let entry = node.withdrawn().next().expect("offered");
    node.take_back(entry);
    assert_eq!(add(&mut node, "c-3", "u-2"), Err(Shortage::Unclaimed));
    assert_eq!(add(&mut node, "c-2", "u-1"), Ok(ip(10)));
}

#[test]
fn a_new_stay_is_for_the_next_pod() {
    let mut node = node(&[(10, 1, Some("u-1"))]);
    add(&mut node, "c-1", "u-1").unwrap();
    del(&mut node, "c-1");
    accept(&mut node, &[(10, 2, Some("u-2"))]);
    assert_eq!(add(&mut node, "c-1b", "u-1"), Err(Shortage::Unclaimed));
    assert_eq!(add(&mut node, "c-2", "u-2"), Ok(ip(10)));
}

#[test]
fn a_reservation_that_is_taken_away_leaves_an_owner_alone_and_frees_the_rest_to_be_offered() {
    let mut node = node(&[(10, 1, Some("u-1")), (11, 1, Some("u-2"))]);
    add(&mut node, "c-1", "u-1").unwrap();
    accept(&mut node, &[(10, 1, None), (11, 1, None)]);
    let counts = PoolCounts {
        free: 1,
        allocated: 1,
        ..PoolCounts::default()
    };
    assert_eq!(node.counts(), counts);
    assert_eq!(add(&mut node, "c-2", "u-2"), Err(Shortage::Unclaimed));
    let offered: Vec<_> = node.surplus(8);
    assert_eq!(offered.iter().map(|entry| entry.ip).collect::<Vec<_>>(), [ip(11)]);
    node.withdraw(offered[0]);
    del(&mut node, "c-1");
    assert_eq!(withdrawn(&node), [ip(10), ip(11)]);
}

#[test]
fn every_address_is_counted_once() {
    let mut node = node(&[(10, 1, Some("u-1")), (11, 1, Some("u-2")), (12, 1, None)]);
    let counts = PoolCounts {
        free: 1,
        reserved: 2,
        ..PoolCounts::default()
    };
    assert_eq!((node.counts(), node.counts().total()), (counts, 3));
    add(&mut node, "c-2", "u-2").unwrap();
    accept(&mut node, &[(10, 1, Some("u-3")), (11, 1, Some("u-2"))]);
    let counts = PoolCounts {
        allocated: 1,
        reserved: 1,
        ..PoolCounts::default()
    };
    assert_eq!((node.counts(), node.counts().total()), (counts, 2));
    assert_eq!(add(&mut node, "c-3", "u-3"), Ok(ip(10)));
}
