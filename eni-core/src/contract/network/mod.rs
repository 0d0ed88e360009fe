//! The contract of [`NodeNetwork`], as far as it shows through the trait itself: the harness, and what the
//! cases share.
//!
//! Whether packets flow is for each backend's own tests.

mod enis;
mod repair;
mod survey;
mod wiring;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;

pub use {enis::*, repair::*, survey::*, wiring::*};

use crate::{
    model::{PodAddresses, PodKey, SandboxKey},
    network::{EniSetup, NodeNetwork, PodInterface, PodRoutes, PodWiring},
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

    /// Somebody sets the device of a pod on the node's side down; false where that cannot be arranged.
    async fn set_down(&self, _host_name: &str) -> bool {
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

fn routes(wiring: &PodWiring) -> PodRoutes {
    PodRoutes {
        key: wiring.interface.key.clone(),
        addresses: wiring.addresses,
        table: wiring.table,
    }
}

async fn verifies(harness: &dyn NetworkHarness, wiring: &PodWiring) {
    assert_eq!(harness.network().verify(wiring).await.expect("a comparison"), []);
}
