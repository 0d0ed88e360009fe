//! Pods on and off the wire, and how they compare with what they should be.

use futures::future::join;

use super::{NetworkHarness, list, prepare, verifies};
use crate::network::{NetworkError, PodInterface, PodWiring};

/// A pod on the wire is as it should be.
pub async fn a_wired_pod_verifies(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let before = list(harness).await;
    let wired = harness.network().wire(&wiring).await.expect("wiring");
    assert!(!wired.host_name.is_empty());
    assert_ne!(wired.host_mac, wired.pod_mac);
    verifies(harness, &wiring).await;
    assert!(list(harness).await.len() > before.len());
}

/// "Everything is idempotent".
pub async fn wiring_again_changes_nothing(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let wired = harness.network().wire(&wiring).await.expect("wiring");
    let before = list(harness).await;
    assert_eq!(harness.network().wire(&wiring).await.expect("the same"), wired);
    assert_eq!(list(harness).await, before);
    verifies(harness, &wiring).await;
}

/// "`None` leaves by the main table".
pub async fn a_pod_can_leave_by_the_main_table(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let wiring = PodWiring {
        table: None,
        ..wiring
    };
    harness.network().wire(&wiring).await.expect("wiring");
    verifies(harness, &wiring).await;
}

/// "Operations on different pods run side by side".
pub async fn pods_are_wired_side_by_side(harness: &dyn NetworkHarness) {
    let [one, other] = prepare(harness).await;
    let network = harness.network();
    let (first, second) = join(network.wire(&one), network.wire(&other)).await;
    let (first, second) = (first.expect("wiring"), second.expect("wiring"));
    assert_ne!(first.host_name, second.host_name);
    verifies(harness, &one).await;
    verifies(harness, &other).await;
}

/// "`wire` is all or nothing".
pub async fn wiring_a_dead_sandbox_leaves_nothing(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let before = list(harness).await;
    let netns = format!("{}-gone", wiring.netns);
    let result = harness
        .network()
        .wire(&PodWiring {
            netns: netns.clone(),
            ..wiring
        })
        .await;
    assert_eq!(result, Err(NetworkError::NoNamespace { netns }));
    assert_eq!(list(harness).await, before);
}

/// "What is gone is gone".
pub async fn unwiring_leaves_nothing_and_succeeds_again(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let before = list(harness).await;
    harness.network().wire(&wiring).await.expect("wiring");
    for _ in 0..2 {
        harness
            .network()
            .unwire(&wiring.interface)
            .await
            .expect("unwiring");
        assert_eq!(list(harness).await, before);
    }
}

/// "When the sandbox's namespace is gone ... only \[the addresses\] lead to the rules that stayed behind".
pub async fn unwiring_a_dead_sandbox_by_its_addresses_leaves_nothing(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let before = list(harness).await;
    harness.network().wire(&wiring).await.expect("wiring");
    harness.remove_namespace(&wiring.netns).await;
    let interface = PodInterface {
        addresses: Some(wiring.addresses),
        ..wiring.interface
    };
    harness.network().unwire(&interface).await.expect("unwiring");
    assert_eq!(list(harness).await, before);
}

/// "`unwire` knows its own".
pub async fn unwiring_touches_no_other_pod(harness: &dyn NetworkHarness) {
    let [one, other] = prepare(harness).await;
    for wiring in [&one, &other] {
        harness.network().wire(wiring).await.expect("wiring");
    }
    harness.network().unwire(&one.interface).await.expect("unwiring");
    verifies(harness, &other).await;
}

/// "It touches no rule of an address that another interface now has".
pub async fn a_late_unwiring_spares_the_new_owner(harness: &dyn NetworkHarness) {
    let [old, other] = prepare(harness).await;
    let new = PodWiring {
        addresses: old.addresses,
        ..other
    };
    harness.network().wire(&old).await.expect("wiring");
    harness
        .network()
        .wire(&new)
        .await
        .expect("wiring the address anew");
    harness.network().unwire(&old.interface).await.expect("unwiring");
    verifies(harness, &new).await;
}

/// "An empty answer means that all is well", and only then.
pub async fn a_missing_pod_does_not_verify(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    assert!(
        !harness
            .network()
            .verify(&wiring)
            .await
            .expect("a comparison")
            .is_empty()
    );
    harness.network().wire(&wiring).await.expect("wiring");
    harness
        .network()
        .unwire(&wiring.interface)
        .await
        .expect("unwiring");
    assert!(
        !harness
            .network()
            .verify(&wiring)
            .await
            .expect("a comparison")
            .is_empty()
    );
}
