//! What the contract suite cannot ask for: time, limits, faults and what happens by hand.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{advance, sleep};

use super::{Latency, MemoryCloud};
use crate::{
    cloud::{AssignAddresses, Cloud, CloudErrorKind, CreateEni, EniFilter},
    model::{Eni, EniId, EniKind, EniState, Family, InstanceId, InstanceState, Limits, SubnetId},
    sim::{Fabric, FabricChange, Fault},
};

const LIMITS: Limits = Limits {
    enis: 2,
    addresses_per_eni: 4,
};
const TAKES: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Fabric for Log {
    fn apply(&self, change: &FabricChange) {
        let line = match change {
            FabricChange::EniCreated { eni } => format!("created {}", eni.id),
            FabricChange::EniAttached { eni, instance } => format!("{} on {instance}", eni.id),
            FabricChange::EniDetached { eni, instance } => format!("{eni} off {instance}"),
            FabricChange::AddressAssigned { eni, ip } => format!("{ip} on {eni}"),
            FabricChange::AddressUnassigned { eni, ip } => format!("{ip} off {eni}"),
            FabricChange::EniDeleted { eni } => format!("deleted {eni}"),
        };
        self.0.lock().push(line);
    }
}

fn cloud_with(log: Arc<Log>) -> MemoryCloud {
    MemoryCloud::builder()
        .subnet("subnet-a", "zone-1", "10.0.0.0/28".parse().unwrap())
        .subnet("subnet-b", "zone-2", "10.0.1.0/28".parse().unwrap())
        .ipv6("subnet-a", "2001:db8::/64".parse().unwrap())
        .instance("ins-a", "subnet-a", LIMITS)
        .instance("ins-b", "subnet-b", LIMITS)
        .latency(Latency::orders(TAKES))
        .fabric(log)
        .build()
}

fn cloud() -> MemoryCloud {
    cloud_with(Arc::default())
}

fn request(token: &str, secondary: u32) -> CreateEni {
    CreateEni {
        name: format!("name-{token}"),
        subnet: SubnetId::from("subnet-a"),
        secondary,
        security_groups: Vec::new(),
        tags: BTreeMap::from([("owner".to_owned(), "test".to_owned())]),
        token: token.to_owned(),
    }
}

async fn available(cloud: &MemoryCloud, token: &str, secondary: u32) -> EniId {
    let eni = cloud.create_eni(&request(token, secondary)).await.unwrap();
    sleep(TAKES).await;
    eni.id
}

async fn in_use(cloud: &MemoryCloud, token: &str, secondary: u32) -> EniId {
    let id = available(cloud, token, secondary).await;
    cloud.attach_eni(&id, &"ins-a".into()).await.unwrap();
    sleep(TAKES).await;
    id
}

async fn read(cloud: &MemoryCloud, id: &EniId) -> Option<Eni> {
    cloud.enis(&EniFilter::Ids(vec![id.clone()])).await.unwrap().pop()
}

fn kind<T: std::fmt::Debug>(result: Result<T, crate::cloud::CloudError>) -> CloudErrorKind {
    result.unwrap_err().kind
}

#[tokio::test(start_paused = true)]
async fn an_enis_life_takes_time_and_reaches_the_fabric_at_the_right_moment() {
    let log = Arc::<Log>::default();
    let cloud = cloud_with(log.clone());
    assert_eq!(
        log.take(),
        [
            "created eni-00000001",
            "eni-00000001 on ins-a",
            "created eni-00000002",
            "eni-00000002 on ins-b"
        ]
    );

    let id = cloud.create_eni(&request("t", 1)).await.unwrap().id;
    advance(TAKES - Duration::from_millis(1)).await;
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::Pending);
    assert_eq!(log.take(), [""; 0]);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(log.take(), ["created eni-00000003"], "without anybody looking");

    cloud.attach_eni(&id, &"ins-a".into()).await.unwrap();
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::Attaching);
    sleep(TAKES).await;
    let added = cloud
        .assign_addresses(&id, &AssignAddresses::Count(Family::V4, 2))
        .await
        .unwrap();
    assert!(
        read(&cloud, &id)
            .await
            .unwrap()
            .addresses
            .iter()
            .any(|a| a.ip == added[0] && !a.ready)
    );
    sleep(TAKES).await;
    assert!(read(&cloud, &id).await.unwrap().addresses.iter().all(|a| a.ready));
    cloud.unassign_addresses(&id, &added[..1]).await.unwrap();
    sleep(TAKES).await;
    cloud.detach_eni(&id).await.unwrap();
    sleep(TAKES).await;
    cloud.delete_eni(&id).await.unwrap();
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::Deleting);
    sleep(TAKES).await;
    assert_eq!(read(&cloud, &id).await, None);
    assert_eq!(
        log.take(),
        [
            "eni-00000003 on ins-a",
            "10.0.0.5 on eni-00000003",
            "10.0.0.6 on eni-00000003",
            "10.0.0.5 off eni-00000003",
            "eni-00000003 off ins-a",
            "deleted eni-00000003"
        ]
    );
    let subnet = cloud.subnets(&["subnet-a".into()]).await.unwrap().remove(0);
    assert_eq!(subnet.free, 12, "13 usable addresses and one primary ENI");
}

#[tokio::test]
async fn it_works_in_real_time_too() {
    let cloud = cloud();
    cloud.set_latency(Latency::orders(Duration::from_millis(5)));
    let id = cloud.create_eni(&request("t", 0)).await.unwrap().id;
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::Pending);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::Available);
}

#[tokio::test(start_paused = true)]
async fn limits_are_kept() {
    let cloud = cloud();
    let id = in_use(&cloud, "t", 0).await;
    let four = AssignAddresses::Count(Family::V4, 4);
    assert_eq!(
        kind(cloud.assign_addresses(&id, &four).await),
        CloudErrorKind::Quota
    );
    let eleven = AssignAddresses::Count(Family::V4, 11);
    assert_eq!(
        kind(cloud.assign_addresses(&id, &eleven).await),
        CloudErrorKind::Invalid
    );

    let second = available(&cloud, "second", 0).await;
    assert_eq!(
        kind(cloud.attach_eni(&second, &"ins-a".into()).await),
        CloudErrorKind::Quota,
        "ENIs"
    );
    assert_eq!(
        kind(cloud.attach_eni(&second, &"ins-b".into()).await),
        CloudErrorKind::Invalid,
        "zone"
    );
    cloud.detach_eni(&id).await.unwrap();
    sleep(TAKES).await;
    let large = available(&cloud, "large", 4).await;
    assert_eq!(
        kind(cloud.attach_eni(&large, &"ins-a".into()).await),
        CloudErrorKind::Quota,
        "addresses"
    );
    assert_eq!(
        kind(cloud.create_eni(&request("huge", 20)).await),
        CloudErrorKind::Exhausted {
            subnet: "subnet-a".into()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn one_operation_per_eni_at_a_time() {
    let cloud = cloud();
    let id = cloud.create_eni(&request("t", 0)).await.unwrap().id;
    assert_eq!(
        kind(cloud.attach_eni(&id, &"ins-a".into()).await),
        CloudErrorKind::Conflict
    );
    assert_eq!(kind(cloud.delete_eni(&id).await), CloudErrorKind::Conflict);
    let one = AssignAddresses::Count(Family::V4, 1);
    assert_eq!(
        kind(cloud.assign_addresses(&id, &one).await),
        CloudErrorKind::Conflict
    );
}

#[tokio::test(start_paused = true)]
async fn a_repetition_succeeds_while_the_first_order_is_under_way() {
    let cloud = cloud();
    let id = in_use(&cloud, "t", 1).await;
    let wanted = cloud
        .assign_addresses(&id, &AssignAddresses::Count(Family::V4, 1))
        .await
        .unwrap();
    let again = cloud
        .assign_addresses(&id, &AssignAddresses::Exactly(wanted))
        .await;
    assert_eq!(again.unwrap().len(), 0);
    sleep(TAKES).await;
    for _ in 0..2 {
        cloud.detach_eni(&id).await.unwrap();
    }
    sleep(TAKES).await;
    for _ in 0..2 {
        cloud.delete_eni(&id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn ipv6_comes_from_its_own_range() {
    let cloud = cloud();
    let id = in_use(&cloud, "t", 0).await;
    let added = cloud
        .assign_addresses(&id, &AssignAddresses::Count(Family::V6, 1))
        .await
        .unwrap();
    assert_eq!(added, ["2001:db8::2".parse::<std::net::IpAddr>().unwrap()]);
    assert!(cloud.capabilities().ipv6);
}

#[tokio::test(start_paused = true)]
async fn faults_strike_before_or_after_execution() {
    let cloud = cloud();
    cloud.fail_next("create_eni", CloudErrorKind::Quota);
    cloud.inject("create_eni", Fault::After(CloudErrorKind::Unavailable));
    assert_eq!(
        kind(cloud.create_eni(&request("t", 0)).await),
        CloudErrorKind::Quota
    );
    assert_eq!(cloud.all_enis().len(), 2, "it was not executed");
    assert_eq!(
        kind(cloud.create_eni(&request("t", 0)).await),
        CloudErrorKind::Unavailable
    );
    assert_eq!(cloud.all_enis().len(), 3, "the answer was lost");
    cloud.create_eni(&request("t", 0)).await.unwrap();
    assert_eq!(cloud.all_enis().len(), 3, "the token found it");

    cloud.set_fault(Arc::new(|action, resource| match (action, resource) {
        ("detach_eni", "eni-00000003") => Fault::Before(CloudErrorKind::Denied),
        _ => Fault::None,
    }));
    assert_eq!(
        kind(cloud.detach_eni(&"eni-00000003".into()).await),
        CloudErrorKind::Denied
    );
    cloud.clear_fault();
    cloud.detach_eni(&"eni-00000003".into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_is_executed_late() {
    let cloud = cloud();
    cloud.inject("create_eni", Fault::Delay(TAKES));
    let begin = tokio::time::Instant::now();
    cloud.create_eni(&request("t", 0)).await.unwrap();
    assert_eq!(begin.elapsed(), TAKES);
}

#[tokio::test(start_paused = true)]
async fn listings_can_lag() {
    let cloud = cloud();
    let old = available(&cloud, "old", 0).await;
    cloud.set_listing_lag(Duration::from_secs(10));
    let new = available(&cloud, "new", 0).await;
    cloud.delete_eni(&old).await.unwrap();
    sleep(TAKES).await;
    assert_eq!(read(&cloud, &new).await, None, "not listed yet");
    assert_eq!(
        read(&cloud, &old).await.unwrap().state,
        EniState::Available,
        "listed still"
    );
    sleep(Duration::from_secs(10)).await;
    assert_eq!(read(&cloud, &new).await.unwrap().state, EniState::Available);
    assert_eq!(read(&cloud, &old).await, None);
    cloud.set_listing_lag(Duration::ZERO);
    assert!(read(&cloud, &new).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_terminated_instance_loses_its_enis() {
    let log = Arc::<Log>::default();
    let cloud = cloud_with(log.clone());
    let id = in_use(&cloud, "t", 0).await;
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::InUse);
    log.take();
    let instance = InstanceId::from("ins-a");
    cloud.terminate_instance(&instance);
    assert_eq!(
        log.take(),
        [
            "eni-00000001 off ins-a",
            "deleted eni-00000001",
            "eni-00000003 off ins-a"
        ]
    );
    assert_eq!(read(&cloud, &id).await.unwrap().state, EniState::Available);
    let listed = cloud.instances(std::slice::from_ref(&instance)).await.unwrap();
    assert_eq!(listed[0].state, InstanceState::Terminated);
    assert_eq!(
        kind(cloud.attach_eni(&id, &instance).await),
        CloudErrorKind::NotFound
    );
    cloud.forget_instance(&instance);
    assert!(cloud.instances(&[instance]).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn hands_can_interfere_with_an_order_under_way() {
    let cloud = cloud();
    let id = available(&cloud, "t", 0).await;
    cloud.attach_eni(&id, &"ins-a".into()).await.unwrap();
    cloud.detach_by_hand(&id);
    sleep(TAKES).await;
    assert_eq!(
        read(&cloud, &id).await.unwrap().state,
        EniState::Available,
        "the old order ended early"
    );

    let id = in_use(&cloud, "u", 1).await;
    let eni = read(&cloud, &id).await.unwrap();
    let lost = eni.secondary_addresses().next().unwrap().ip;
    cloud.unassign_by_hand(&id, lost);
    cloud.unassign_by_hand(&id, eni.primary_address().unwrap());
    assert_eq!(
        read(&cloud, &id).await.unwrap().addresses.len(),
        1,
        "the primary address stays"
    );
}

#[tokio::test(start_paused = true)]
async fn others_can_take_a_subnets_addresses() {
    let cloud = cloud();
    let subnet = SubnetId::from("subnet-a");
    let taken = cloud.take_addresses(&subnet, 100);
    assert_eq!(taken.len(), 12);
    let exhausted = CloudErrorKind::Exhausted {
        subnet: subnet.clone(),
    };
    assert_eq!(kind(cloud.create_eni(&request("t", 0)).await), exhausted);
    cloud.give_back(&subnet, &taken);
    cloud.create_eni(&request("t", 11)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn primary_enis_are_not_ours_to_touch() {
    let cloud = cloud();
    let primary = cloud
        .enis(&EniFilter::Instance("ins-a".into()))
        .await
        .unwrap()
        .remove(0);
    assert_eq!((primary.kind, primary.state), (EniKind::Primary, EniState::InUse));
    assert!(primary.addresses.iter().all(|address| address.ready));
    assert_eq!(kind(cloud.detach_eni(&primary.id).await), CloudErrorKind::Invalid);
    assert_eq!(kind(cloud.delete_eni(&primary.id).await), CloudErrorKind::Invalid);
}
