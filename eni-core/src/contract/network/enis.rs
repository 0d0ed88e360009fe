//! ENIs in and out of service.

use super::{NetworkHarness, list};
use crate::{
    model::Mac,
    network::{EniSetup, NetworkError},
};

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
