//! Cases about the addresses of an ENI.

use std::net::IpAddr;

use super::{CloudHarness, available, in_use, kind, look, secondary, unknown_eni, until_addresses};
use crate::{
    cloud::{AssignAddresses, CloudErrorKind},
    contract::skip,
    model::{Family, Limits},
};

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

/// "Somebody else has an address that was asked for".
pub async fn an_address_that_another_eni_has_is_taken(harness: &dyn CloudHarness) {
    let cloud = harness.cloud();
    let (owner, other) = (
        available(harness, "owner", 1).await,
        in_use(harness, "other", 0).await,
    );
    let taken = secondary(&owner);
    let wanted = AssignAddresses::Exactly(taken.clone());
    let assigned = cloud.assign_addresses(&other.id, &wanted).await;
    assert_eq!(kind(assigned), CloudErrorKind::AddressTaken);
    assert_eq!(secondary(&until_addresses(harness, &owner.id, 2).await), taken);
    assert_eq!(
        secondary(&until_addresses(harness, &other.id, 1).await),
        [] as [IpAddr; 0]
    );
}

/// "Moves a secondary address to another ENI of its subnet", also off one that is attached to nothing; where the cloud
/// can.
pub async fn a_migrated_address_is_on_the_other_eni_alone(harness: &dyn CloudHarness) {
    let cloud = harness.cloud();
    if !cloud.capabilities().migration {
        return skip(
            "a_migrated_address_is_on_the_other_eni_alone",
            "the cloud moves no addresses",
        );
    }
    let (from, to) = (
        available(harness, "from", 2).await,
        in_use(harness, "to", 0).await,
    );
    let (moved, kept) = (secondary(&from)[0], secondary(&from)[1]);
    let migrated = cloud.migrate_address(&from.id, &to.id, moved).await;
    migrated.expect("a free place in the same subnet");
    assert_eq!(secondary(&until_addresses(harness, &to.id, 2).await), [moved]);
    assert_eq!(secondary(&until_addresses(harness, &from.id, 2).await), [kept]);
    let primary = from.primary_address().expect("an ENI's own address");
    let refused = cloud.migrate_address(&from.id, &to.id, primary).await;
    refused.expect_err("an ENI keeps its own address");
}
