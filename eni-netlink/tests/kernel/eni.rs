//! ENIs in and out of service.

use eni_core::model::Mac;
use eni_core::network::NetworkError;
use eni_netlink::{NetlinkNetwork, table_of};

use crate::bed::{Eni, Pod, ip, lines, node, rules, snapshot};

crate::kernel_tests![
    an_eni_looks_as_the_design_says,
    a_second_time_changes_nothing,
    no_route_of_the_subnet_stays_in_main,
    a_missing_device_is_named,
    another_router_is_followed,
    a_foreign_default_route_is_left_alone,
    back_with_another_index_its_rules_follow,
    back_with_another_index_after_a_restart_its_rules_follow,
    removing_leaves_nothing,
    removing_without_the_device_leaves_nothing,
    removing_without_the_device_after_a_restart_leaves_nothing,
    removing_one_leaves_the_other,
    two_families_in_two_calls,
];

fn table(table: u32) -> Vec<String> {
    lines(&ip(&format!("route show table {table}")))
}

fn an_eni_looks_as_the_design_says() {
    let network = node();
    let eni = Eni::attach(1);
    std::fs::write("/proc/sys/net/ipv4/conf/eth1/rp_filter", "1").unwrap();
    let link = network.ensure_eni(&eni.setup).unwrap();

    assert_eq!(link.table, 4000 + link.index);
    assert!(ip("-o link show eth1").starts_with(&format!("{}: eth1", link.index)));
    assert!(ip("-o link show eth1").contains("UP"));
    assert!(ip("-o link show eth1").contains("mtu 1500"));
    assert!(ip("-o address show eth1").contains("inet 10.0.1.2/32"));
    assert_eq!(
        table(link.table),
        [
            "default via 10.0.1.1 dev eth1 proto 225 onlink",
            "unreachable default proto 225 metric 4294967295"
        ]
    );
    assert_eq!(
        rules(),
        [format!("1536: from 10.0.1.2 lookup {} proto 225", link.table)]
    );
    assert_eq!(
        std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth1/rp_filter")
            .unwrap()
            .trim(),
        "0"
    );
    assert_eq!(ip("route show table main"), "");
}

fn a_second_time_changes_nothing() {
    let network = node();
    let eni = Eni::attach(1);
    let first = network.ensure_eni(&eni.setup).unwrap();
    let before = snapshot();
    assert_eq!(network.ensure_eni(&eni.setup).unwrap(), first);
    assert_eq!(snapshot(), before);
}

fn no_route_of_the_subnet_stays_in_main() {
    let network = node();
    let eni = Eni::attach(1);
    // As a DHCP client leaves it.
    ip("link set eth1 up");
    ip("address add 10.0.1.2/24 dev eth1");
    assert!(ip("route show table main").contains("10.0.1.0/24"));
    network.ensure_eni(&eni.setup).unwrap();
    assert_eq!(ip("route show table main"), "");
}

fn a_missing_device_is_named() {
    let network = node();
    let mut eni = Eni::attach(1);
    eni.setup.mac = Mac([0x20, 0x90, 0x6f, 0, 0, 9]);
    let error = network.ensure_eni(&eni.setup).unwrap_err();
    assert_eq!(error, NetworkError::NoDevice { mac: eni.setup.mac });
    assert_eq!(rules(), [""; 0]);
}

fn another_router_is_followed() {
    let network = node();
    let mut eni = Eni::attach(1);
    network.ensure_eni(&eni.setup).unwrap();
    eni.setup.gateway = "10.0.1.254".parse().unwrap();
    let link = network.ensure_eni(&eni.setup).unwrap();
    assert_eq!(
        table(link.table)[0],
        "default via 10.0.1.254 dev eth1 proto 225 onlink"
    );
    assert_eq!(table(link.table).len(), 2);
}

fn a_foreign_default_route_is_left_alone() {
    let network = node();
    let eni = Eni::attach(1);
    ip("link set eth1 up");
    let index: u32 = ip("-o link show eth1")
        .split(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    ip(&format!(
        "route add default dev eth1 proto static table {}",
        table_of(index)
    ));
    let error = network.ensure_eni(&eni.setup).unwrap_err();
    assert!(matches!(error, NetworkError::Foreign { .. }), "{error}");
    assert!(table(table_of(index))[0].contains("proto static"));
}

fn comes_back(restart: bool) {
    let mut network = node();
    let eni = Eni::attach(1);
    let first = network.ensure_eni(&eni.setup).unwrap();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", Some(first.table));
    network.wire(&pod.wiring).unwrap();
    eni.detach();
    if restart {
        network = NetlinkNetwork::current().unwrap();
    }
    let error = network.ensure_eni(&eni.setup).unwrap_err();
    assert_eq!(error, NetworkError::NoDevice { mac: eni.setup.mac });
    assert!(ip(&format!("route show table {}", first.table)).starts_with("unreachable default"));

    drop(eni);
    let eni = Eni::attach(1);
    let second = network.ensure_eni(&eni.setup).unwrap();
    assert_ne!(second.index, first.index);
    assert_eq!(
        rules(),
        [
            "512: from all to 10.0.1.7 lookup main proto 225".to_owned(),
            format!("1536: from 10.0.1.2 lookup {} proto 225", second.table),
            format!("1536: from 10.0.1.7 lookup {} proto 225", second.table),
        ]
    );
    assert!(!ip("route show table all").contains(&format!("table {}", first.table)));
    assert!(!ip("-6 route show table all").contains(&format!("table {}", first.table)));
    pod.wiring.table = Some(second.table);
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn back_with_another_index_its_rules_follow() {
    comes_back(false);
}

fn back_with_another_index_after_a_restart_its_rules_follow() {
    comes_back(true);
}

fn removing_leaves_nothing() {
    let network = node();
    let eni = Eni::attach(1);
    ip("link set eth1 up");
    let before = snapshot();
    network.ensure_eni(&eni.setup).unwrap();
    assert_ne!(snapshot(), before);
    network.remove_eni(eni.setup.mac).unwrap();
    assert_eq!(snapshot(), before);
    network.remove_eni(eni.setup.mac).unwrap();
}

fn removing_without_the_device_leaves_nothing() {
    let network = node();
    let eni = Eni::attach(1);
    network.ensure_eni(&eni.setup).unwrap();
    eni.detach();
    network.remove_eni(eni.setup.mac).unwrap();
    assert_eq!(network.list().unwrap(), [""; 0]);
    network.remove_eni(eni.setup.mac).unwrap();
}

fn removing_without_the_device_after_a_restart_leaves_nothing() {
    let network = node();
    let (gone, stays) = (Eni::attach(1), Eni::attach(2));
    network.ensure_eni(&gone.setup).unwrap();
    network.ensure_eni(&stays.setup).unwrap();
    gone.detach();
    let network = NetlinkNetwork::current().unwrap();
    let link = network.ensure_eni(&stays.setup).unwrap();
    network.remove_eni(gone.setup.mac).unwrap();
    assert_eq!(
        rules(),
        [format!("1536: from 10.0.2.2 lookup {} proto 225", link.table)]
    );
    assert_eq!(table(link.table).len(), 2);
}

fn removing_one_leaves_the_other() {
    let network = node();
    let (one, other) = (Eni::attach(1), Eni::attach(2));
    network.ensure_eni(&one.setup).unwrap();
    let link = network.ensure_eni(&other.setup).unwrap();
    // Both are gone for the moment, but the other may come back and must find its rules.
    one.detach();
    other.detach();
    network.remove_eni(one.setup.mac).unwrap();
    assert_eq!(
        rules(),
        [format!("1536: from 10.0.2.2 lookup {} proto 225", link.table)]
    );
}

fn two_families_in_two_calls() {
    let network = node();
    let eni = Eni::attach(1);
    let mut v6 = eni.setup.clone();
    v6.primary = "fd00:1::2".parse().unwrap();
    v6.cidr = "fd00:1::/64".parse().unwrap();
    v6.gateway = "fe80::1".parse().unwrap();
    let link = network.ensure_eni(&eni.setup).unwrap();
    let unreachable = ip(&format!("-6 route show table {}", link.table));
    assert!(
        unreachable.starts_with("unreachable default"),
        "no way out by eth0 meanwhile: {unreachable}"
    );
    assert_eq!(network.ensure_eni(&v6).unwrap(), link);
    let before = snapshot();
    assert_eq!(network.ensure_eni(&v6).unwrap(), link);
    assert_eq!(network.ensure_eni(&eni.setup).unwrap(), link);
    assert_eq!(snapshot(), before);
    let default = ip(&format!("-6 route show table {}", link.table));
    assert!(
        default.contains("default via fe80::1 dev eth1 proto 225"),
        "{default}"
    );
    assert_eq!(rules().len(), 2);
    network.remove_eni(eni.setup.mac).unwrap();
    assert_eq!(network.list().unwrap(), [""; 0]);
}
