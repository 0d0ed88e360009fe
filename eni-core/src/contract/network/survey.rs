//! What is there, what is left over, and how that is cleared.

use super::{NetworkHarness, list, prepare, verifies};
use crate::{
    contract::skip,
    network::{Leftover, PodWiring, Survey, WiredPod},
};

/// "Pod interfaces, in order of their keys", each with "the addresses that routes lead to it for".
pub async fn a_survey_lists_wired_pods_with_their_addresses(harness: &dyn NetworkHarness) {
    let [one, other] = prepare(harness).await;
    assert_eq!(survey(harness).await.pods, []);
    for wiring in [&other, &one] {
        harness.network().wire(wiring).await.expect("wiring");
    }
    let wired = |wiring: &PodWiring| WiredPod {
        key: wiring.interface.key.clone(),
        addresses: wiring.addresses,
    };
    assert_eq!(survey(harness).await.pods, [wired(&one), wired(&other)]);
    harness.network().unwire(&one.interface).await.expect("unwiring");
    assert_eq!(survey(harness).await.pods, [wired(&other)]);
}

/// "What serves no pod interface and no ENI that is there", and nothing else, is left over.
pub async fn what_serves_a_pod_or_an_eni_is_not_left_over(harness: &dyn NetworkHarness) {
    let [one, other] = prepare(harness).await;
    assert_eq!(survey(harness).await.leftovers, []);
    for wiring in [&one, &other] {
        harness.network().wire(wiring).await.expect("wiring");
    }
    harness
        .network()
        .unwire(&other.interface)
        .await
        .expect("unwiring");
    assert_eq!(survey(harness).await.leftovers, []);
}

/// "Rules and routes of an address that no pod interface has".
pub async fn a_dead_sandbox_leaves_its_address_over(harness: &dyn NetworkHarness) {
    let [dead, alive] = prepare(harness).await;
    for wiring in [&dead, &alive] {
        harness.network().wire(wiring).await.expect("wiring");
    }
    harness.remove_namespace(&dead.netns).await;
    let Survey { pods, leftovers } = survey(harness).await;
    let keys: Vec<_> = pods.into_iter().map(|pod| pod.key).collect();
    assert_eq!(keys, [alive.interface.key]);
    let addresses: Vec<_> = dead.addresses.iter().map(Leftover::Address).collect();
    assert_eq!(leftovers, addresses);
}

/// "The routing table of an ENI that is not on the node, with the rules that lead to it".
pub async fn an_eni_that_went_leaves_its_table_over(harness: &dyn NetworkHarness) {
    let link = harness
        .network()
        .ensure_eni(&harness.eni())
        .await
        .expect("an ENI in service");
    if !harness.detach().await {
        return skip(
            "an_eni_that_went_leaves_its_table_over",
            "the harness detaches no device",
        );
    }
    let table = Leftover::Table(link.table);
    assert_eq!(survey(harness).await.leftovers, [table]);
    for _ in 0..2 {
        harness.network().clear(table).await.expect("clearing");
        assert_eq!(survey(harness).await.leftovers, []);
        assert!(list(harness).await.is_empty());
    }
}

/// "Unless a pod interface still leaves by it".
pub async fn a_table_that_a_pod_leaves_by_is_not_left_over(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let table = Leftover::Table(wiring.table.expect("the ENI's table"));
    harness.network().wire(&wiring).await.expect("wiring");
    if !harness.detach().await {
        return skip(
            "a_table_that_a_pod_leaves_by_is_not_left_over",
            "the harness detaches no device",
        );
    }
    assert_eq!(survey(harness).await.leftovers, []);
    let before = list(harness).await;
    harness.network().clear(table).await.expect("clearing");
    assert_eq!(list(harness).await, before);
    harness
        .network()
        .unwire(&wiring.interface)
        .await
        .expect("unwiring");
    assert_eq!(survey(harness).await.leftovers, [table]);
}

/// `clear` "removes a leftover", and "what is gone is gone".
pub async fn clearing_leaves_nothing_and_succeeds_again(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let before = list(harness).await;
    harness.network().wire(&wiring).await.expect("wiring");
    harness.remove_namespace(&wiring.netns).await;
    for _ in 0..2 {
        for address in wiring.addresses.iter() {
            let leftover = Leftover::Address(address);
            harness.network().clear(leftover).await.expect("clearing");
        }
        assert_eq!(list(harness).await, before);
    }
}

/// "Unless something that is there uses it by now".
pub async fn clearing_spares_an_address_in_use(harness: &dyn NetworkHarness) {
    let [old, new] = prepare(harness).await;
    let new = PodWiring {
        addresses: old.addresses,
        ..new
    };
    harness.network().wire(&old).await.expect("wiring");
    harness.remove_namespace(&old.netns).await;
    let leftovers = survey(harness).await.leftovers;
    assert!(!leftovers.is_empty());
    harness
        .network()
        .wire(&new)
        .await
        .expect("wiring the address anew");
    for leftover in leftovers {
        harness.network().clear(leftover).await.expect("clearing");
    }
    verifies(harness, &new).await;
}

/// "Unless something that is there uses it by now".
pub async fn clearing_spares_a_table_in_use(harness: &dyn NetworkHarness) {
    let [wiring, _] = prepare(harness).await;
    let before = list(harness).await;
    let table = Leftover::Table(wiring.table.expect("the ENI's table"));
    harness.network().clear(table).await.expect("clearing");
    assert_eq!(list(harness).await, before);
}

async fn survey(harness: &dyn NetworkHarness) -> Survey {
    harness.network().survey().await.expect("a survey")
}
