//! What is whose: nothing foreign is touched, and an older sandbox does not harm a newer one.

use eni_core::network::NetworkError;

use crate::bed::{Eni, Pod, eventually, ip, node, rules, snapshot};

crate::kernel_tests![
    a_newer_sandbox_of_the_same_pod_is_not_harmed_by_a_late_del,
    a_newer_sandbox_takes_over_from_the_older,
    a_late_del_of_a_dead_sandbox_spares_the_new_owner_of_its_address,
    an_address_that_changes_hands_is_not_led_by_its_old_rule,
    a_failed_takeover_gives_back,
    a_foreign_device_of_the_name_is_left_alone,
    a_foreign_interface_in_the_pod_is_left_alone,
    an_unfinished_device_gives_way,
    the_rest_of_the_node_is_left_alone,
];

fn a_newer_sandbox_of_the_same_pod_is_not_harmed_by_a_late_del() {
    let network = node();
    let old = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let new = Pod::new("web-0", "c2", "10.0.1.7", Some(4003));
    network.wire(&old.wiring).unwrap();
    network.wire(&new.wiring).unwrap();
    let mut late = old.interface().clone();
    late.addresses = Some(old.wiring.addresses);
    network.unwire(&late).unwrap();
    assert_eq!(network.verify(&new.wiring).unwrap(), []);
}

fn a_newer_sandbox_takes_over_from_the_older() {
    let network = node();
    let old = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let new = Pod::new("web-0", "c2", "10.0.1.8", Some(4004));
    network.wire(&old.wiring).unwrap();
    network.wire(&new.wiring).unwrap();
    assert_eq!(
        rules(),
        [
            "512: from all to 10.0.1.8 lookup main proto 225",
            "1536: from 10.0.1.8 lookup 4004 proto 225"
        ]
    );
    eventually("the older device goes", || {
        !old.ip("-o link show").join("").contains("eth0")
    });
    assert_eq!(network.verify(&new.wiring).unwrap(), []);
}

fn a_late_del_of_a_dead_sandbox_spares_the_new_owner_of_its_address() {
    let network = node();
    let old = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let host = network.wire(&old.wiring).unwrap().host_name;
    let mut late = old.interface().clone();
    late.addresses = Some(old.wiring.addresses);
    drop(old);
    eventually("the device goes with the namespace", || {
        !ip("-o link show").contains(&host)
    });

    let new = Pod::new("db-0", "c2", "10.0.1.7", Some(4004));
    network.wire(&new.wiring).unwrap();
    assert_eq!(
        rules().len(),
        2,
        "the dead sandbox' rule to table 4003 is gone: {:?}",
        rules()
    );
    network.unwire(&late).unwrap();
    assert_eq!(network.verify(&new.wiring).unwrap(), []);
}

fn an_address_that_changes_hands_is_not_led_by_its_old_rule() {
    let network = node();
    let old = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let new = Pod::new("db-0", "c2", "10.0.1.7", Some(4004));
    network.wire(&old.wiring).unwrap();
    let wired = network.wire(&new.wiring).unwrap();
    assert_eq!(network.verify(&new.wiring).unwrap(), []);
    assert!(ip("route get 10.0.1.7").contains(&wired.host_name));

    network.unwire(old.interface()).unwrap();
    assert_eq!(network.verify(&new.wiring).unwrap(), []);
}

fn a_failed_takeover_gives_back() {
    let network = node();
    let old = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    network.wire(&old.wiring).unwrap();
    let mut new = Pod::new("db-0", "c2", "10.0.1.7", Some(4004));
    // The second address fails after the first one's route was taken over.
    new.wiring.addresses.insert("fd00:1::7".parse().unwrap());
    ip("link add other0 type veth peer name other1");
    ip("link set other0 up");
    ip("-6 route add fd00:1::7/128 dev other0");
    let before = snapshot();
    let error = network.wire(&new.wiring).unwrap_err();
    assert!(matches!(error, NetworkError::Foreign { .. }), "{error}");
    assert_eq!(snapshot(), before);
    assert_eq!(network.verify(&old.wiring).unwrap(), []);
}

fn a_foreign_device_of_the_name_is_left_alone() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let name = network.wire(&pod.wiring).unwrap().host_name;
    network.unwire(pod.interface()).unwrap();
    eventually("the device goes", || !ip("-o link show").contains("enidead"));
    ip(&format!("link add {name} type veth peer name other1"));
    let before = snapshot();
    let error = network.wire(&pod.wiring).unwrap_err();
    assert!(
        matches!(&error, NetworkError::Foreign { what } if what.contains(&name)),
        "{error}"
    );
    network.unwire(pod.interface()).unwrap();
    assert_eq!(snapshot(), before);
}

fn a_foreign_interface_in_the_pod_is_left_alone() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    pod.ip("link add eth0 type veth peer name other1");
    let before = snapshot();
    let error = network.wire(&pod.wiring).unwrap_err();
    assert!(
        matches!(&error, NetworkError::Foreign { what } if what.contains("eth0")),
        "{error}"
    );
    network.unwire(pod.interface()).unwrap();
    assert_eq!(snapshot(), before);
    assert!(pod.ip("-o link show eth0").join("").contains("eth0@other1"));
}

fn an_unfinished_device_gives_way() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let name = network.wire(&pod.wiring).unwrap().host_name;
    network.unwire(pod.interface()).unwrap();
    eventually("the device goes", || !ip("-o link show").contains("enidead"));
    ip(&format!("link add {name} group 225 type veth peer name x"));
    network.wire(&pod.wiring).unwrap();
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn the_rest_of_the_node_is_left_alone() {
    let network = node();
    let eni = Eni::attach(1);
    for foreign in [
        "link add eni00000000000 type veth peer name other1",
        "link set eni00000000000 up",
        "address add 172.16.0.1/24 dev eni00000000000",
        "route add 10.0.1.9/32 dev eni00000000000 proto static",
        "route add 10.9.0.0/16 dev eni00000000000 table 4100 proto static",
        "rule add from 10.0.1.7 lookup 4100 pref 1537",
        "rule add to 10.0.1.7 lookup main pref 511",
        "rule add from 10.0.1.7 lookup 4100 pref 1536 protocol 4",
        "rule add to 10.0.0.0/8 lookup main pref 1024",
    ] {
        ip(foreign);
    }
    // The device comes up with the first ENI; only what follows must be traceless.
    ip("link set eth1 up");
    eventually("the links settle", || {
        !ip("-o link show").contains("state UNKNOWN eth1")
    });
    let before = snapshot();

    let link = network.ensure_eni(&eni.setup).unwrap();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(link.table));
    network.wire(&pod.wiring).unwrap();
    network.unwire(pod.interface()).unwrap();
    network.remove_eni(eni.setup.mac).unwrap();
    eventually("the device goes", || !ip("-o link show").contains("enidead"));
    assert_eq!(snapshot(), before);
}
