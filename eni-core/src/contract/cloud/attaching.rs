//! Cases about ENIs that come to an instance, leave it and go.

use super::{CloudHarness, available, in_use, kind, request, unknown_eni, until, until_state};
use crate::{
    cloud::{CloudErrorKind, CreateEni, EniFilter},
    contract::skip,
    model::{EniKind, EniState},
};

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
