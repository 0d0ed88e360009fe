//! The contract of [`NodeNetwork`], as far as it shows through the trait itself.
//!
//! Whether packets flow is for each backend's own tests.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use futures::future::join;

use super::skip;
use crate::{
    model::{Mac, PodAddresses, PodKey, SandboxKey},
    network::{
        EniSetup, Leftover, NetworkError, NodeNetwork, PodInterface, PodRoutes, PodWiring, Survey, WiredPod,
    },
};

/// A fresh node for one case.
#[async_trait]
pub trait NetworkHarness: Send + Sync {
    /// The node's network.
    fn network(&self) -> Arc<dyn NodeNetwork>;

    /// An ENI whose device is on the node, not yet in service.
    fn eni(&self) -> EniSetup;

    /// The paths of the network namespaces of two sandboxes.
    fn namespaces(&self) -> [String; 2];

    /// Ends a sandbox: its namespace is gone, and the interfaces in it.
    async fn remove_namespace(&self, path: &str);

    /// Two IPv4 addresses that pods may have on the ENI.
    fn addresses(&self) -> [IpAddr; 2];

    /// Somebody takes away what leads to and from an address on the node's side (rules, routes,
    /// neighbours); false where that cannot be arranged.
    async fn flush(&self, _address: IpAddr) -> bool {
        false
    }

    /// The ENI's device leaves the node; false where that cannot be arranged.
    async fn detach(&self) -> bool {
        false
    }
}

/// The ENI in service, and the wirings of two pods on it.
async fn prepare(harness: &dyn NetworkHarness) -> [PodWiring; 2] {
    let link = harness
        .network()
        .ensure_eni(&harness.eni())
        .await
        .expect("an ENI in service");
    let [first, second] = harness.addresses();
    let [one, other] = harness.namespaces();
    [
        wiring("one", one, first, Some(link.table)),
        wiring("other", other, second, Some(link.table)),
    ]
}

fn wiring(name: &str, netns: String, ip: IpAddr, table: Option<u32>) -> PodWiring {
    let interface = PodInterface {
        key: SandboxKey::new("tke", format!("container-{name}"), "eth0"),
        pod: Some(PodKey::new("default", name)),
        addresses: None,
    };
    PodWiring {
        interface,
        netns,
        addresses: PodAddresses::from(ip),
        table,
        mtu: 1500,
    }
}

async fn list(harness: &dyn NetworkHarness) -> Vec<String> {
    let mut lines = harness.network().list().await.expect("a listing");
    lines.sort();
    lines
}

async fn survey(harness: &dyn NetworkHarness) -> Survey {
    harness.network().survey().await.expect("a survey")
}

fn routes(wiring: &PodWiring) -> PodRoutes {
    PodRoutes {
        key: wiring.interface.key.clone(),
        addresses: wiring.addresses,
        table: wiring.table,
    }
}

/// What repairing a pod put back.
async fn repair(harness: &dyn NetworkHarness, pod: PodRoutes) -> usize {
    let put_back = harness.network().repair(&[pod]).await.expect("a repair");
    put_back.len()
}

async fn verifies(harness: &dyn NetworkHarness, wiring: &PodWiring) {
    assert_eq!(harness.network().verify(wiring).await.expect("a comparison"), []);
}

/// "What is already as asked is left alone".
pub async fn putting_an_eni_into_service_again_changes_nothing(harness: &dyn NetworkHarness) {
    let network = harness.network();
    let link = network
        .ensure_eni(&harness.eni())
        .await
        .expect("an ENI in service");
    let before = list(harness).await;
    assert!(!before.is_empty(), "an ENI in service leaves a trace");
    assert_eq!(network.ensure_eni(&harness.eni()).await.expect("the same"), link);
    assert_eq!(list(harness).await, before);
}

/// "The ENI's device is not on the node".
pub async fn an_eni_that_is_not_on_the_node_has_no_device(harness: &dyn NetworkHarness) {
    let mac = Mac([0x02, 0, 0, 0, 0, 0xfe]);
    let result = harness
        .network()
        .ensure_eni(&EniSetup { mac, ..harness.eni() })
        .await;
    assert_eq!(result, Err(NetworkError::NoDevice { mac }));
    assert!(list(harness).await.is_empty());
}

/// "Its table, its rules and its address, whether or not the device is still there".
pub async fn an_eni_is_taken_out_of_service_whole_and_again(harness: &dyn NetworkHarness) {
    let network = harness.network();
    network
        .ensure_eni(&harness.eni())
        .await
        .expect("an ENI in service");
    for _ in 0..2 {
        network
            .remove_eni(harness.eni().mac)
            .await
            .expect("taking it out of service");
        assert!(list(harness).await.is_empty());
    }
    network
        .remove_eni(Mac([0x02, 0, 0, 0, 0, 0xfe]))
        .await
        .expect("one that was never there");
}

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
