//! The contract of [`Cloud`].

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use async_trait::async_trait;

use super::skip;
use crate::{
    cloud::{AssignAddresses, Cloud, CloudErrorKind, CloudResult, CreateEni, EniFilter},
    model::{Eni, EniId, EniKind, EniState, Family, InstanceId, Limits, SubnetId},
};

/// How often a case looks for the end of an order before it gives up.
const LOOKS: usize = 200;

/// A fresh cloud for one case.
#[async_trait]
pub trait CloudHarness: Send + Sync {
    /// The cloud.
    fn cloud(&self) -> Arc<dyn Cloud>;

    /// A running instance that has its primary ENI alone, and room for one more with two secondary
    /// addresses at least.
    fn instance(&self) -> InstanceId;

    /// A subnet of the instance's zone, with enough free addresses to fill one ENI of the instance and
    /// four more.
    fn subnet(&self) -> SubnetId;

    /// A subnet without a free address; without one, the cases that need it are skipped.
    fn full_subnet(&self) -> Option<SubnetId> {
        None
    }

    /// A subnet of another zone; without one, the cases that need it are skipped.
    fn foreign_subnet(&self) -> Option<SubnetId> {
        None
    }

    /// Lets the cloud work for a while; a case looks again up to 200 times.
    async fn settle(&self);
}

fn request(harness: &dyn CloudHarness, name: &str, secondary: u32) -> CreateEni {
    CreateEni {
        name: name.to_owned(),
        subnet: harness.subnet(),
        secondary,
        security_groups: Vec::new(),
        tags: BTreeMap::from([
            ("suite".to_owned(), "contract".to_owned()),
            ("case".to_owned(), name.to_owned()),
        ]),
        token: format!("token-{name}"),
    }
}

fn unknown_eni() -> EniId {
    EniId::from("eni-00000000")
}

fn kind<T: std::fmt::Debug>(result: CloudResult<T>) -> CloudErrorKind {
    result.expect_err("the cloud must refuse").kind
}

async fn look(harness: &dyn CloudHarness, id: &EniId) -> Option<Eni> {
    let listed = harness
        .cloud()
        .enis(&EniFilter::Ids(vec![id.clone()]))
        .await
        .expect("a listing");
    assert!(listed.len() <= 1, "one id, {} ENIs", listed.len());
    listed.into_iter().next()
}

/// Waits until the ENI (or its absence) is as wanted.
async fn until(harness: &dyn CloudHarness, id: &EniId, wanted: impl Fn(Option<&Eni>) -> bool) -> Option<Eni> {
    let mut eni = None;
    for _ in 0..LOOKS {
        eni = look(harness, id).await;
        if wanted(eni.as_ref()) {
            return eni;
        }
        harness.settle().await;
    }
    panic!("{id} did not come to the wanted state; it is {eni:?}");
}

async fn until_state(harness: &dyn CloudHarness, id: &EniId, state: EniState) -> Eni {
    let found = until(harness, id, |eni| eni.is_some_and(|eni| eni.state == state)).await;
    found.expect("an ENI in a state exists")
}

async fn available(harness: &dyn CloudHarness, name: &str, secondary: u32) -> Eni {
    let eni = harness
        .cloud()
        .create_eni(&request(harness, name, secondary))
        .await
        .expect("an ENI");
    until_state(harness, &eni.id, EniState::Available).await
}

async fn in_use(harness: &dyn CloudHarness, name: &str, secondary: u32) -> Eni {
    let eni = available(harness, name, secondary).await;
    harness
        .cloud()
        .attach_eni(&eni.id, &harness.instance())
        .await
        .expect("attaching");
    until_state(harness, &eni.id, EniState::InUse).await
}

async fn until_addresses(harness: &dyn CloudHarness, id: &EniId, count: usize) -> Eni {
    let whole = |eni: &Eni| eni.addresses.len() == count && eni.addresses.iter().all(|address| address.ready);
    until(harness, id, |eni| eni.is_some_and(whole))
        .await
        .expect("an ENI with addresses exists")
}

fn secondary(eni: &Eni) -> Vec<IpAddr> {
    eni.secondary_addresses().map(|address| address.ip).collect()
}

/// "The instances that exist among `ids`".
pub async fn instances_that_do_not_exist_are_left_out(harness: &dyn CloudHarness) {
    let ids = [harness.instance(), "ins-00000000".into()];
    let listed = harness.cloud().instances(&ids).await.expect("a listing");
    assert_eq!(
        listed.iter().map(|instance| &instance.id).collect::<Vec<_>>(),
        [&ids[0]]
    );
}

/// A subnet's range holds its gateway, and it tells what is free.
pub async fn a_subnet_is_described_whole(harness: &dyn CloudHarness) {
    let listed = harness
        .cloud()
        .subnets(&[harness.subnet()])
        .await
        .expect("a listing");
    let [subnet] = listed.as_slice() else {
        panic!("one subnet, {} answers", listed.len())
    };
    assert_eq!(subnet.id, harness.subnet());
    assert!(
        subnet.cidr.contains(&subnet.gateway),
        "{} of {}",
        subnet.gateway,
        subnet.cidr
    );
    assert!(subnet.free >= 4);
}

/// "One that does not exist is a `NotFound`".
pub async fn an_unknown_subnet_is_not_found(harness: &dyn CloudHarness) {
    let ids = [harness.subnet(), "subnet-00000000".into()];
    assert_eq!(
        kind(harness.cloud().subnets(&ids).await),
        CloudErrorKind::NotFound
    );
}

/// The limits count the primary ENI and each ENI's primary address.
pub async fn limits_leave_room_for_pods(harness: &dyn CloudHarness) {
    let limits = harness.cloud().limits(&harness.instance()).await.expect("limits");
    assert!(limits.pods() >= 2, "{limits:?}");
}

/// "Ids that do not exist are left out of the answer".
pub async fn enis_that_do_not_exist_are_left_out(harness: &dyn CloudHarness) {
    assert_eq!(look(harness, &unknown_eni()).await, None);
}

/// "The result shows in a later `enis`".
pub async fn a_created_eni_becomes_available_as_asked(harness: &dyn CloudHarness) {
    let request = request(harness, "made", 2);
    let answer = harness.cloud().create_eni(&request).await.expect("an ENI");
    assert!(
        matches!(answer.state, EniState::Pending | EniState::Available),
        "{:?}",
        answer.state
    );
    until_state(harness, &answer.id, EniState::Available).await;
    let eni = until_addresses(harness, &answer.id, 3).await;
    assert_eq!(
        (eni.name.as_str(), &eni.subnet, eni.kind),
        ("made", &request.subnet, EniKind::Secondary)
    );
    assert_eq!((&eni.instance, eni.mac), (&None, answer.mac));
    assert!(
        request
            .tags
            .iter()
            .all(|(key, value)| eni.tags.get(key) == Some(value)),
        "{:?}",
        eni.tags
    );
    assert_eq!(eni.addresses.iter().filter(|address| address.primary).count(), 1);
    assert!(!eni.security_groups.is_empty(), "empty means the cloud's default");
}

/// A creation in a subnet that does not exist is refused.
pub async fn a_creation_in_an_unknown_subnet_is_not_found(harness: &dyn CloudHarness) {
    let request = CreateEni {
        subnet: "subnet-00000000".into(),
        ..request(harness, "nowhere", 0)
    };
    assert_eq!(
        kind(harness.cloud().create_eni(&request).await),
        CloudErrorKind::NotFound
    );
}

/// "The subnet has no free address".
pub async fn a_creation_in_a_full_subnet_names_the_subnet(harness: &dyn CloudHarness) {
    let Some(subnet) = harness.full_subnet() else {
        return skip(
            "a_creation_in_a_full_subnet_names_the_subnet",
            "the harness has no full subnet",
        );
    };
    let request = CreateEni {
        subnet: subnet.clone(),
        ..request(harness, "full", 0)
    };
    assert_eq!(
        kind(harness.cloud().create_eni(&request).await),
        CloudErrorKind::Exhausted { subnet }
    );
}

/// "`create_eni` with a token that was used answers the ENI of the first call".
pub async fn a_repeated_token_answers_the_same_eni(harness: &dyn CloudHarness) {
    if !harness.cloud().capabilities().client_tokens {
        return skip(
            "a_repeated_token_answers_the_same_eni",
            "the cloud has no client tokens",
        );
    }
    let eni = available(harness, "twice", 1).await;
    let again = harness
        .cloud()
        .create_eni(&request(harness, "twice", 1))
        .await
        .expect("the same ENI");
    assert_eq!(again.id, eni.id);
    let listed = harness
        .cloud()
        .enis(&EniFilter::Tags(request(harness, "twice", 1).tags))
        .await
        .expect("a listing");
    assert_eq!(listed.len(), 1, "a second ENI was made");
}

/// A token names one request.
pub async fn a_token_of_another_request_is_invalid(harness: &dyn CloudHarness) {
    if !harness.cloud().capabilities().client_tokens {
        return skip(
            "a_token_of_another_request_is_invalid",
            "the cloud has no client tokens",
        );
    }
    available(harness, "first", 0).await;
    let other = CreateEni {
        token: request(harness, "first", 0).token,
        ..request(harness, "second", 0)
    };
    assert_eq!(
        kind(harness.cloud().create_eni(&other).await),
        CloudErrorKind::Invalid
    );
}

/// "Those that bear all of these tags".
pub async fn enis_are_found_by_all_of_their_tags(harness: &dyn CloudHarness) {
    let (one, two) = (
        available(harness, "one", 0).await,
        available(harness, "two", 0).await,
    );
    let list = async |tags: BTreeMap<String, String>| {
        let listed = harness
            .cloud()
            .enis(&EniFilter::Tags(tags))
            .await
            .expect("a listing");
        listed
            .into_iter()
            .map(|eni| eni.id)
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        list(request(harness, "one", 0).tags).await,
        [one.id.clone()].into()
    );
    let shared = BTreeMap::from([("suite".to_owned(), "contract".to_owned())]);
    assert_eq!(list(shared).await, [one.id, two.id].into());
    let mut tags = request(harness, "one", 0).tags;
    tags.insert("none".to_owned(), "of them".to_owned());
    assert!(list(tags).await.is_empty());
}

/// "Those on one instance, its primary ENI included".
pub async fn an_attached_eni_is_in_use_and_listed_with_its_instance(harness: &dyn CloudHarness) {
    let eni = in_use(harness, "attached", 1).await;
    assert_eq!(eni.instance, Some(harness.instance()));
    let listed = harness
        .cloud()
        .enis(&EniFilter::Instance(harness.instance()))
        .await
        .expect("a listing");
    assert!(listed.iter().any(|listed| listed.id == eni.id));
    assert_eq!(
        listed
            .iter()
            .filter(|listed| listed.kind == EniKind::Primary)
            .count(),
        1
    );
}

/// "`attach_eni` to the instance that already has the ENI ... succeeds".
pub async fn attaching_again_succeeds(harness: &dyn CloudHarness) {
    let eni = in_use(harness, "again", 0).await;
    harness
        .cloud()
        .attach_eni(&eni.id, &harness.instance())
        .await
        .expect("attaching again");
    until_state(harness, &eni.id, EniState::InUse).await;
}

/// An ENI that does not exist cannot be attached.
pub async fn attaching_an_unknown_eni_is_not_found(harness: &dyn CloudHarness) {
    let result = harness
        .cloud()
        .attach_eni(&unknown_eni(), &harness.instance())
        .await;
    assert_eq!(kind(result), CloudErrorKind::NotFound);
}

/// Nothing can be attached to an instance that does not exist.
pub async fn attaching_to_an_unknown_instance_is_not_found(harness: &dyn CloudHarness) {
    let eni = available(harness, "lonely", 0).await;
    let result = harness.cloud().attach_eni(&eni.id, &"ins-00000000".into()).await;
    assert_eq!(kind(result), CloudErrorKind::NotFound);
}

/// "Attaches an available ENI to an instance of its zone".
pub async fn attaching_across_zones_is_invalid(harness: &dyn CloudHarness) {
    let Some(subnet) = harness.foreign_subnet() else {
        return skip(
            "attaching_across_zones_is_invalid",
            "the harness has no subnet of another zone",
        );
    };
    let request = CreateEni {
        subnet,
        ..request(harness, "foreign", 0)
    };
    let eni = harness.cloud().create_eni(&request).await.expect("an ENI");
    until_state(harness, &eni.id, EniState::Available).await;
    let result = harness.cloud().attach_eni(&eni.id, &harness.instance()).await;
    assert_eq!(kind(result), CloudErrorKind::Invalid);
}

/// "Takes an ENI off its instance".
pub async fn a_detached_eni_is_available_again(harness: &dyn CloudHarness) {
    let eni = in_use(harness, "leaving", 1).await;
    harness.cloud().detach_eni(&eni.id).await.expect("detaching");
    let left = until_state(harness, &eni.id, EniState::Available).await;
    assert_eq!((left.instance, left.addresses.len()), (None, 2));
}

/// "`detach_eni` of one that is not attached ... succeeds".
pub async fn detaching_what_is_not_attached_succeeds(harness: &dyn CloudHarness) {
    let eni = available(harness, "never-attached", 0).await;
    harness.cloud().detach_eni(&eni.id).await.expect("detaching");
    until_state(harness, &eni.id, EniState::Available).await;
}

/// "`delete_eni` of one that is gone ... succeeds".
pub async fn a_deleted_eni_is_gone_and_deleting_it_again_succeeds(harness: &dyn CloudHarness) {
    let eni = available(harness, "deleted", 1).await;
    harness.cloud().delete_eni(&eni.id).await.expect("deleting");
    until(harness, &eni.id, |eni| eni.is_none()).await;
    harness.cloud().delete_eni(&eni.id).await.expect("deleting again");
    harness
        .cloud()
        .delete_eni(&unknown_eni())
        .await
        .expect("deleting what never was");
}

/// "Deletes an ENI that is attached to nothing".
pub async fn deleting_an_attached_eni_conflicts(harness: &dyn CloudHarness) {
    let eni = in_use(harness, "held", 0).await;
    assert_eq!(
        kind(harness.cloud().delete_eni(&eni.id).await),
        CloudErrorKind::Conflict
    );
    assert_eq!(
        until_state(harness, &eni.id, EniState::InUse).await.instance,
        Some(harness.instance())
    );
}

/// "Adds secondary addresses; returns those that were added".
pub async fn assigned_addresses_become_ready(harness: &dyn CloudHarness) {
    let eni = in_use(harness, "growing", 1).await;
    let one = AssignAddresses::Count(Family::V4, 1);
    let added = harness
        .cloud()
        .assign_addresses(&eni.id, &one)
        .await
        .expect("an address");
    assert_eq!(added.len(), 1);
    assert!(!secondary(&eni).contains(&added[0]), "{added:?} is not new");
    let grown = until_addresses(harness, &eni.id, 3).await;
    assert!(secondary(&grown).contains(&added[0]));
    assert_eq!(grown.primary_address(), eni.primary_address());
}

/// "`Exactly` is \[idempotent\]: addresses that the ENI already has are left alone".
pub async fn assigning_exactly_leaves_alone_what_is_there(harness: &dyn CloudHarness) {
    let cloud = harness.cloud();
    let eni = in_use(harness, "exact", 1).await;
    let wanted = secondary(&eni);
    let again = cloud
        .assign_addresses(&eni.id, &AssignAddresses::Exactly(wanted.clone()))
        .await;
    assert_eq!(again.expect("nothing to do"), [] as [IpAddr; 0]);
    until_addresses(harness, &eni.id, 2).await;

    cloud
        .unassign_addresses(&eni.id, &wanted)
        .await
        .expect("unassigning");
    until_addresses(harness, &eni.id, 1).await;
    let added = cloud
        .assign_addresses(&eni.id, &AssignAddresses::Exactly(wanted.clone()))
        .await;
    assert_eq!(added.expect("a free address"), wanted);
    assert_eq!(secondary(&until_addresses(harness, &eni.id, 2).await), wanted);
}

/// "`assign_addresses` assigns all or nothing".
pub async fn assigning_beyond_the_limit_assigns_nothing(harness: &dyn CloudHarness) {
    let cloud = harness.cloud();
    let limits: Limits = cloud.limits(&harness.instance()).await.expect("limits");
    let batch = cloud.capabilities().assign_batch;
    let eni = in_use(harness, "filling", 0).await;
    let mut room = limits.secondary_addresses();
    while room >= batch {
        let count = AssignAddresses::Count(Family::V4, batch);
        assert_eq!(
            cloud.assign_addresses(&eni.id, &count).await.expect("room").len(),
            batch as usize
        );
        room -= batch;
        until_addresses(harness, &eni.id, (limits.addresses_per_eni - room) as usize).await;
    }
    let too_many = AssignAddresses::Count(Family::V4, room + 1);
    assert_eq!(
        kind(cloud.assign_addresses(&eni.id, &too_many).await),
        CloudErrorKind::Quota
    );
    harness.settle().await;
    let held = look(harness, &eni.id).await.expect("the ENI").addresses.len();
    assert_eq!(
        held,
        (limits.addresses_per_eni - room) as usize,
        "a part was assigned"
    );
}

/// Nothing can be assigned to an ENI that does not exist.
pub async fn assigning_to_an_unknown_eni_is_not_found(harness: &dyn CloudHarness) {
    let one = AssignAddresses::Count(Family::V4, 1);
    assert_eq!(
        kind(harness.cloud().assign_addresses(&unknown_eni(), &one).await),
        CloudErrorKind::NotFound
    );
}

/// "`unassign_addresses` of addresses that are not there succeeds".
pub async fn unassigned_addresses_go_and_unassigning_them_again_succeeds(harness: &dyn CloudHarness) {
    let cloud = harness.cloud();
    let eni = in_use(harness, "shrinking", 2).await;
    let (gone, kept) = (secondary(&eni)[0], secondary(&eni)[1]);
    cloud
        .unassign_addresses(&eni.id, &[gone])
        .await
        .expect("unassigning");
    assert_eq!(secondary(&until_addresses(harness, &eni.id, 2).await), [kept]);
    cloud
        .unassign_addresses(&eni.id, &[gone])
        .await
        .expect("unassigning again");
    assert_eq!(secondary(&until_addresses(harness, &eni.id, 2).await), [kept]);
}
