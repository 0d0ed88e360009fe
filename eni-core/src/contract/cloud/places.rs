//! Cases about instances, subnets and limits.

use super::{CloudHarness, kind};
use crate::cloud::CloudErrorKind;

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
