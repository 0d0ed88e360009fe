//! Static addresses: what pods, their namespaces and their workloads say of them.

use std::time::Duration;

use eni_core::{
    cluster::{Cluster, ClusterError},
    controller::{ClaimConfig, PoolConfig},
    env::Environment,
    model::*,
};
use tokio::time::sleep;

use super::{Setup, World};

const MINUTE: Duration = Duration::from_secs(60);

/// One node.
async fn world(config: fn(PoolConfig) -> PoolConfig) -> World {
    nodes(1, config).await
}

async fn nodes(count: usize, config: fn(PoolConfig) -> PoolConfig) -> World {
    let none = WarmRange { min: 0, max: 0 };
    World::with(Setup {
        config,
        ..Setup::new(count, none)
    })
    .await
}

fn by_claim(config: PoolConfig) -> PoolConfig {
    PoolConfig {
        claims: Some(ClaimConfig::default()),
        ..config
    }
}

/// `subnet-a` is for pods that nominate it.
fn nominated_only(config: PoolConfig) -> PoolConfig {
    PoolConfig {
        claims: Some(ClaimConfig {
            nominated_only: std::sync::Arc::new(["subnet-a".into()].into()),
            ..ClaimConfig::default()
        }),
        ..config
    }
}

/// An address that outlives its pod.
fn kept() -> ClaimRequest {
    ClaimRequest {
        policy: Some(DeletePolicy::Never),
        ..ClaimRequest::default()
    }
}

fn pod(name: &str, uid: &str, request: ClaimRequest) -> Pod {
    Pod {
        key: PodKey::new("default", name),
        uid: uid.into(),
        node: Some("node-0".into()),
        host_network: false,
        phase: PodPhase::Pending,
        claim: Ok(request),
        workload: None,
    }
}

async fn claim(world: &World, pod: &str) -> Option<Claim> {
    match world.cluster.claims().get(&format!("default/{pod}")).await {
        Ok(read) => Some(read.object),
        Err(ClusterError::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Waits until a claim is as wanted, or is not there.
async fn until(world: &World, pod: &str, wanted: impl Fn(Option<&Claim>) -> bool) -> Option<Claim> {
    for _ in 0..600 {
        let claim = claim(world, pod).await;
        if wanted(claim.as_ref()) {
            return claim;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("within a minute: {:?}", claim(world, pod).await);
}

fn assigned(claim: Option<&Claim>) -> bool {
    claim.is_some_and(|claim| claim.phase == ClaimPhase::Assigned)
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_leaves_open_its_namespace_says() {
    let world = world(by_claim).await;
    world.cluster.put_claim_defaults(ClaimDefaults {
        name: "kept".into(),
        namespaces: vec!["default".into()],
        policy: Some(DeletePolicy::Never),
        keep: Some(10 * MINUTE),
        subnets: vec!["subnet-b".into()],
    });
    sleep(Duration::from_secs(1)).await;
    world
        .cluster
        .put_pod(pod("web-0", "uid-web-0", ClaimRequest::default()));
    let claim = until(&world, "web-0", assigned).await.unwrap();
    assert_eq!(claim.request.policy, Some(DeletePolicy::Never));
    assert_eq!(claim.request.keep, Some(10 * MINUTE));
    assert_eq!(claim.subnet, Some("subnet-b".into()));
}

#[tokio::test(start_paused = true)]
async fn a_subnet_for_nominating_pods_is_for_no_others() {
    let world = world(nominated_only).await;
    for number in 0..4 {
        let name = format!("web-{number}");
        let uid = format!("uid-{name}");
        world.cluster.put_pod(pod(&name, &uid, ClaimRequest::default()));
    }
    let request = ClaimRequest {
        subnets: vec!["subnet-a".into()],
        ..ClaimRequest::default()
    };
    world.cluster.put_pod(pod("db-0", "uid-db-0", request));
    for number in 0..4 {
        let claim = until(&world, &format!("web-{number}"), assigned).await;
        assert_eq!(claim.unwrap().subnet, Some("subnet-b".into()));
    }
    let claim = until(&world, "db-0", assigned).await;
    assert_eq!(claim.unwrap().subnet, Some("subnet-a".into()));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_claim_stays_until_its_pod_is_gone_and_its_address_is_back() {
    let world = world(by_claim).await;
    let request = kept();
    world.cluster.put_pod(pod("web-0", "uid-web-0", request.clone()));
    world.add("node-0", "web-0", MINUTE).await.unwrap();
    let first = until(&world, "web-0", assigned).await.unwrap();
    world.cluster.ask_to_delete_claim(&first.key);
    sleep(2 * MINUTE).await;
    let served = claim(&world, "web-0").await.unwrap();
    assert_eq!(
        (served.phase, &served.addresses),
        (ClaimPhase::Assigned, &first.addresses)
    );

    world.del("node-0", "web-0").await;
    world.unschedule("web-0");
    until(&world, "web-0", |claim| claim.is_none()).await;
    let left = world.cloud.all_enis().into_iter();
    let left: Vec<_> = left
        .flat_map(|eni| eni.secondary_addresses().cloned().collect::<Vec<_>>())
        .filter(|address| first.addresses.iter().any(|ip| ip == address.ip))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    world.cluster.put_pod(pod("web-0", "uid-2", request));
    let next = until(&world, "web-0", assigned).await.unwrap();
    assert!(!next.deleting, "a pod of the name has a claim of its own");
}

/// What is said of an address; once all that was to be written is.
async fn record(world: &World, ip: std::net::IpAddr) -> Option<AddressRecord> {
    sleep(Duration::from_secs(5)).await;
    let read = world
        .cluster
        .address_records()
        .get(&AddressRecord::name(ip))
        .await;
    read.ok().map(|read| read.object)
}

#[tokio::test(start_paused = true)]
async fn every_address_of_a_claim_has_an_object_that_says_whose_it_is() {
    let world = world(by_claim).await;
    let request = kept();
    let store = world.cluster.address_records();
    let stranger = AddressRecord {
        ip: [10, 9, 9, 9].into(),
        claim: None,
        node: None,
        subnet: None,
        phase: ClaimPhase::Assigned,
    };
    store.create(stranger.clone()).await.unwrap();
    world.cluster.put_pod(pod("web-0", "uid-web-0", request.clone()));
    world.add("node-0", "web-0", MINUTE).await.unwrap();
    let claim = until(&world, "web-0", assigned).await.unwrap();
    let ip = claim.addresses.iter().next().unwrap();
    let said = record(&world, ip).await.unwrap();
    assert_eq!(said, AddressRecord::of(&claim, ip));

    // By hand: it is put right, and made anew.
    let mut read = store.get(&AddressRecord::name(ip)).await.unwrap();
    read.object.claim = Some((PodKey::new("default", "other"), "uid-x".into()));
    store.update(read).await.unwrap();
    assert_eq!(record(&world, ip).await, Some(said.clone()));
    store.delete(&AddressRecord::name(ip), None).await.unwrap();
    assert_eq!(record(&world, ip).await, Some(said));

    world.del("node-0", "web-0").await;
    world.unschedule("web-0");
    let retained = |claim: Option<&Claim>| claim.is_some_and(|claim| claim.phase == ClaimPhase::Retained);
    let kept = until(&world, "web-0", retained).await.unwrap();
    assert_eq!(record(&world, ip).await, Some(AddressRecord::of(&kept, ip)));
    world.cluster.ask_to_delete_claim(&kept.key);
    until(&world, "web-0", |claim| claim.is_none()).await;
    assert_eq!(record(&world, ip).await, None);
    assert_eq!(record(&world, stranger.ip).await, Some(stranger));
}

#[tokio::test(start_paused = true)]
async fn an_address_leaves_a_silent_node_only_with_its_pod_object_and_after_a_while() {
    let mut world = nodes(2, by_claim).await;
    let request = kept();
    world.cluster.put_pod(pod("web-0", "uid-web-0", request.clone()));
    world.add("node-0", "web-0", MINUTE).await.unwrap();
    let first = until(&world, "web-0", assigned).await.unwrap();

    // The node is cut off with its pod. Its agent says nothing any more.
    let gone = world.nodes.remove(&"node-0".into()).unwrap();
    drop(gone);
    let since = world.environment.now();
    world.cluster.put_node(Node {
        name: "node-0".into(),
        uid: "uid-node-0".into(),
        instance: Some("ins-0".into()),
        zone: Some("zone-1".into()),
        max_pods: None,
        silent: Some(since),
    });
    sleep(10 * MINUTE).await;
    let waits = claim(&world, "web-0").await.unwrap();
    assert_eq!(waits.pod, first.pod, "its pod is there");

    // Somebody deletes the pod by hand, and the workload makes another.
    world.unschedule("web-0");
    world.cluster.put_pod(Pod {
        node: Some("node-1".into()),
        ..pod("web-0", "uid-web-0-b", request)
    });
    let moved = |claim: Option<&Claim>| {
        assigned(claim) && claim.is_some_and(|claim| claim.node == Some("node-1".into()))
    };
    let moved = until(&world, "web-0", moved).await.unwrap();
    assert_eq!(moved.addresses, first.addresses);
    let at = |address: std::net::IpAddr| {
        let enis = world.cloud.all_enis().into_iter();
        let on = enis.filter(|eni| eni.secondary_addresses().any(|own| own.ip == address));
        on.filter_map(|eni| eni.instance).collect::<Vec<_>>()
    };
    let ip = first.addresses.iter().next().unwrap();
    assert_eq!(at(ip), ["ins-1".into()]);
}
