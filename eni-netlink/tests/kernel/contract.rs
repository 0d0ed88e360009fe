//! The core's contract suite, against the kernel.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use eni_core::contract::network::{self, NetworkHarness};
use eni_core::network::{EniSetup, NodeNetwork};
use eni_netlink::NetlinkNetwork;
use eni_netlink::namespace::Namespace;
use parking_lot::Mutex;

use crate::bed::{Eni, eventually, flush, ip, node};

/// The node under test with an ENI, and two sandboxes.
struct Kernel {
    network: Arc<NetlinkNetwork>,
    eni: Eni,
    sandboxes: Mutex<Vec<Namespace>>,
}

impl Kernel {
    fn new() -> Self {
        let sandboxes = [Namespace::anonymous(), Namespace::anonymous()].map(Result::unwrap);
        Self {
            network: Arc::new(node()),
            eni: Eni::attach(1),
            sandboxes: Mutex::new(sandboxes.into()),
        }
    }
}

#[async_trait]
impl NetworkHarness for Kernel {
    fn network(&self) -> Arc<dyn NodeNetwork> {
        self.network.clone()
    }

    fn eni(&self) -> EniSetup {
        self.eni.setup.clone()
    }

    fn namespaces(&self) -> [String; 2] {
        let sandboxes = self.sandboxes.lock();
        [sandboxes[0].shared_path(), sandboxes[1].shared_path()]
    }

    async fn remove_namespace(&self, path: &str) {
        let devices = || ip("-o link show group 225").lines().count();
        let before = devices();
        self.sandboxes
            .lock()
            .retain(|sandbox| sandbox.shared_path() != path);
        eventually("the sandbox' device goes with it", || devices() < before);
    }

    fn addresses(&self) -> [IpAddr; 2] {
        ["10.0.1.7", "10.0.1.8"].map(|address| address.parse().unwrap())
    }

    async fn flush(&self, address: IpAddr) -> bool {
        flush(&address.to_string());
        true
    }

    async fn set_down(&self, host_name: &str) -> bool {
        ip(&format!("link set {host_name} down"));
        true
    }

    async fn detach(&self) -> bool {
        self.eni.detach();
        true
    }
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];

        $(fn $case() {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(network::$case(&Kernel::new()));
        })*

        crate::kernel_tests![no_case_is_forgotten, $($case),*];
    };
}

contract![
    putting_an_eni_into_service_again_changes_nothing,
    an_eni_that_is_not_on_the_node_has_no_device,
    an_eni_is_taken_out_of_service_whole_and_again,
    a_wired_pod_verifies,
    wiring_again_changes_nothing,
    a_pod_can_leave_by_the_main_table,
    pods_are_wired_side_by_side,
    wiring_a_dead_sandbox_leaves_nothing,
    unwiring_leaves_nothing_and_succeeds_again,
    unwiring_a_dead_sandbox_by_its_addresses_leaves_nothing,
    unwiring_touches_no_other_pod,
    a_late_unwiring_spares_the_new_owner,
    a_missing_pod_does_not_verify,
    a_survey_lists_wired_pods_with_their_addresses,
    what_serves_a_pod_or_an_eni_is_not_left_over,
    a_dead_sandbox_leaves_its_address_over,
    an_eni_that_went_leaves_its_table_over,
    a_table_that_a_pod_leaves_by_is_not_left_over,
    clearing_leaves_nothing_and_succeeds_again,
    clearing_spares_an_address_in_use,
    clearing_spares_a_table_in_use,
    repair_puts_back_what_others_flushed,
    repair_sets_a_device_up_again,
    repair_leads_by_the_table_that_it_is_given,
    repair_leaves_alone_what_is_well,
    repair_leaves_alone_what_has_no_device,
];

/// The suite's own macro makes tests for the standard runner, so its list is repeated here.
fn no_case_is_forgotten() {
    let suite = [
        include_str!("../../../eni-core/src/contract/network/enis.rs"),
        include_str!("../../../eni-core/src/contract/network/wiring.rs"),
        include_str!("../../../eni-core/src/contract/network/survey.rs"),
        include_str!("../../../eni-core/src/contract/network/repair.rs"),
    ];
    let cases = suite
        .iter()
        .flat_map(|file| file.split("\npub async fn ").skip(1));
    let cases = cases.filter_map(|case| case.split_once('('));
    let cases: Vec<_> = cases.map(|(name, _)| name).collect();
    assert_eq!(cases, CASES);
}
