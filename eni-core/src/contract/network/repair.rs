//! What others took away is put back.

use super::{NetworkHarness, list, prepare, routes, verifies};
use crate::{contract::skip, network::PodRoutes};

/// "Puts back what others took away", and says "what that was".
pub async fn repair_puts_back_what_others_flushed(harness: &dyn NetworkHarness) {
    let [one, other] = prepare(harness).await;
    for wiring in [&one, &other] {
        harness.network().wire(wiring).await.expect("wiring");
    }
    let [address, _] = harness.addresses();
    if !harness.flush(address).await {
        return skip(
            "repair_puts_back_what_others_flushed",
            "the harness flushes nothing",
        );
    }
    let verified = harness.network().verify(&one).await.expect("a comparison");
    assert!(!verified.is_empty(), "it was flushed");
    let pods = [routes(&one), routes(&other)];
    let put_back = harness.network().repair(&pods).await.expect("a repair");
    assert!(!put_back.is_empty());
    verifies(harness, &one).await;
    verifies(harness, &other).await;
    assert_eq!(harness.network().repair(&pods).await.expect("a repair"), []);
}

/// "Its device set up".
pub async fn repair_sets_a_device_up_again(harness: &dyn NetworkHarness) {
    let [wiring, other] = prepare(harness).await;
    let wired = harness.network().wire(&wiring).await.expect("wiring");
    harness.network().wire(&other).await.expect("wiring");
    if !harness.set_down(&wired.host_name).await {
        return skip("repair_sets_a_device_up_again", "the harness sets no device down");
    }
    let verified = harness.network().verify(&wiring).await.expect("a comparison");
    assert!(!verified.is_empty(), "it is down");
    assert_ne!(repair(harness, routes(&wiring)).await, 0);
    verifies(harness, &wiring).await;
    verifies(harness, &other).await;
    assert_eq!(repair(harness, routes(&wiring)).await, 0);
}

/// "The routing table of its ENI; `None` leaves by the main table".
pub async fn repair_leads_by_the_table_that_it_is_given(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let by_eni = routes(&wiring);
    let by_main = PodRoutes {
        table: None,
        ..by_eni.clone()
    };
    harness.network().wire(&wiring).await.expect("wiring");
    assert_ne!(repair(harness, by_main.clone()).await, 0);
    let verified = harness.network().verify(&wiring).await.expect("a comparison");
    assert!(!verified.is_empty(), "it leaves by the main table");
    assert_eq!(repair(harness, by_main).await, 0);
    assert_ne!(repair(harness, by_eni).await, 0);
    verifies(harness, &wiring).await;
}

/// "What is already as asked is left alone".
pub async fn repair_leaves_alone_what_is_well(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    harness.network().wire(&wiring).await.expect("wiring");
    let before = list(harness).await;
    assert_eq!(repair(harness, routes(&wiring)).await, 0);
    assert_eq!(list(harness).await, before);
}

/// It "leaves alone what has no device".
pub async fn repair_leaves_alone_what_has_no_device(harness: &dyn NetworkHarness) {
    let [never, dead] = prepare(harness).await;
    harness.network().wire(&dead).await.expect("wiring");
    harness.remove_namespace(&dead.netns).await;
    let before = list(harness).await;
    for wiring in [&never, &dead] {
        assert_eq!(repair(harness, routes(wiring)).await, 0);
        assert_eq!(list(harness).await, before);
    }
}

/// What repairing a pod put back.
async fn repair(harness: &dyn NetworkHarness, pod: PodRoutes) -> usize {
    let put_back = harness.network().repair(&[pod]).await.expect("a repair");
    put_back.len()
}
