//! The node's own settings, and somebody who flips them.

use std::fs;

use eni_core::model::{Families, Mac};
use eni_core::network::NetworkError;
use eni_netlink::NetlinkNetwork;

use crate::bed::{Eni, node};

crate::kernel_tests![
    the_node_forwards_and_filters_nothing,
    what_somebody_flips_is_put_right_and_told,
    nothing_is_told_where_nothing_was_flipped,
    an_eni_out_of_service_is_left_alone,
    without_the_primary_eni_nothing_is_done,
];

fn read(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{name}"))
        .unwrap()
        .trim()
        .to_owned()
}

fn set(name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
}

/// What was put right, as `name: was -> now`.
fn put_right(network: &NetlinkNetwork, primary: Mac, families: Families) -> Vec<String> {
    let resets = network.ensure_forwarding(primary, families).unwrap();
    assert!(resets.iter().all(|reset| !reset.why.is_empty()));
    resets
        .iter()
        .map(|reset| format!("{}: {} -> {}", reset.setting, reset.was, reset.now))
        .collect()
}

/// A node with a primary ENI, `eth1`, and another one in service, `eth2`; all is well.
fn settled() -> (NetlinkNetwork, [Eni; 2]) {
    let network = node();
    let enis = [Eni::attach(1), Eni::attach(2)];
    network.ensure_eni(&enis[1].setup).unwrap();
    network
        .ensure_forwarding(enis[0].setup.mac, Families::V4)
        .unwrap();
    (network, enis)
}

fn the_node_forwards_and_filters_nothing() {
    let network = node();
    let eni = Eni::attach(1);
    set("ipv4/ip_forward", "0");
    for device in ["all", "default", "eth1"] {
        set(&format!("ipv4/conf/{device}/rp_filter"), "1");
    }
    network.ensure_forwarding(eni.setup.mac, Families::V4).unwrap();
    assert_eq!(read("ipv6/conf/all/forwarding"), "0");
    network.ensure_forwarding(eni.setup.mac, Families::Dual).unwrap();
    assert_eq!(read("ipv4/ip_forward"), "1");
    assert_eq!(read("ipv6/conf/all/forwarding"), "1");
    assert_eq!(read("ipv6/conf/eth1/accept_ra"), "2");
    for device in ["all", "default", "eth1"] {
        assert_eq!(read(&format!("ipv4/conf/{device}/rp_filter")), "0", "{device}");
    }
}

fn what_somebody_flips_is_put_right_and_told() {
    let (network, [primary, _other]) = settled();
    for (setting, flipped, right) in [
        ("ipv4/ip_forward", "0", "1"),
        ("ipv4/conf/all/rp_filter", "1", "0"),
        ("ipv4/conf/default/rp_filter", "2", "0"),
        ("ipv4/conf/eth1/rp_filter", "1", "0"),
        ("ipv4/conf/eth2/rp_filter", "2", "0"),
    ] {
        set(setting, flipped);
        let told = put_right(&network, primary.setup.mac, Families::V4);
        assert!(
            told.contains(&format!("{setting}: {flipped} -> {right}")),
            "{setting}: {told:?}"
        );
        // The default reaches devices for which nobody has set anything.
        assert!(told.len() == 1 || setting.contains("default"), "{told:?}");
        assert_eq!(read(setting), right);
    }
}

fn nothing_is_told_where_nothing_was_flipped() {
    let (network, [primary, _other]) = settled();
    for families in [Families::V4, Families::Dual] {
        network.ensure_forwarding(primary.setup.mac, families).unwrap();
        for _ in 0..2 {
            assert_eq!(put_right(&network, primary.setup.mac, families), [""; 0]);
        }
    }
}

fn an_eni_out_of_service_is_left_alone() {
    let (network, [primary, other]) = settled();
    network.remove_eni(other.setup.mac).unwrap();
    set("ipv4/conf/eth2/rp_filter", "1");
    assert_eq!(put_right(&network, primary.setup.mac, Families::V4), [""; 0]);
    assert_eq!(read("ipv4/conf/eth2/rp_filter"), "1");
}

fn without_the_primary_eni_nothing_is_done() {
    let network = node();
    set("ipv4/ip_forward", "0");
    let mac = Mac([0x20, 0x90, 0x6f, 0, 0, 9]);
    let error = network.ensure_forwarding(mac, Families::V4).unwrap_err();
    assert_eq!(error, NetworkError::NoDevice { mac });
    assert_eq!(read("ipv4/ip_forward"), "0");
}
