//! The node as a whole: survey, repair, clear.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use eni_core::network::{Leftover, PodRoutes};
use eni_netlink::NetlinkNetwork;

use crate::bed::{
    Eni, Pod, WORLD, eventually, flush, ip, lines, node, round_trip, rules, snapshot, socket_in,
};

crate::kernel_tests![
    what_was_flushed_comes_back_exactly,
    each_thing_alone_is_put_back_and_named,
    a_device_that_was_set_down_carries_its_pod_again,
    an_eni_that_was_set_down_carries_its_pods_again,
    both_families_are_put_back,
    two_hundred_and_fifty_pods_at_once,
    repair_under_churn_makes_no_duplicate,
    repair_takes_no_address_from_another_pod,
    a_rule_to_another_table_is_led_back,
    rules_that_followed_an_eni_are_not_led_back,
    a_foreign_route_in_the_way_is_named_and_left,
    a_foreign_rule_in_the_way_is_named_and_left,
    a_rule_of_the_earlier_plugin_gives_way,
    an_enis_own_rule_of_the_earlier_plugin_gives_way,
    tables_of_the_earlier_plugin_stay,
    a_table_of_the_earlier_numbering_with_our_mark_is_left_over,
    a_pod_without_its_route_is_not_left_over,
    an_enis_own_address_is_never_cleared,
    a_stray_route_is_left_over_and_cleared,
    clearing_touches_nothing_foreign,
    a_table_of_somebody_elses_number_is_left_alone,
];

fn routes(pod: &Pod) -> PodRoutes {
    PodRoutes {
        key: pod.interface().key.clone(),
        addresses: pod.wiring.addresses,
        table: pod.wiring.table,
    }
}

/// What repairing one pod says.
fn repaired(network: &NetlinkNetwork, pod: &Pod) -> Vec<String> {
    let found = network.repair(&[routes(pod)]).unwrap();
    found.into_iter().map(|found| found.what).collect()
}

/// A node with an ENI in service and a pod on it.
fn wired() -> (NetlinkNetwork, Eni, Pod) {
    let network = node();
    let eni = Eni::attach(1);
    let link = network.ensure_eni(&eni.setup).unwrap();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(link.table));
    network.wire(&pod.wiring).unwrap();
    (network, eni, pod)
}

fn what_was_flushed_comes_back_exactly() {
    let (network, _eni, pod) = wired();
    let before = snapshot();
    flush("10.0.1.7");
    assert_ne!(snapshot(), before);
    assert_eq!(repaired(&network, &pod).len(), 4);
    assert_eq!(snapshot(), before);
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
    assert_eq!(repaired(&network, &pod), [""; 0]);
}

fn each_thing_alone_is_put_back_and_named() {
    let (network, _eni, pod) = wired();
    let host = network.wire(&pod.wiring).unwrap().host_name;
    for (damage, expected) in [
        ("route delete 10.0.1.7", "route 10.0.1.7/32"),
        ("rule delete pref 512 to 10.0.1.7", "rule 512 to 10.0.1.7"),
        ("rule delete pref 1536 from 10.0.1.7", "rule 1536 from 10.0.1.7"),
        (
            &format!("neighbour delete 10.0.1.7 dev {host}"),
            "neighbour 10.0.1.7",
        ),
        (
            &format!("neighbour replace 10.0.1.7 lladdr 02:00:00:00:00:09 dev {host} nud permanent"),
            "neighbour 10.0.1.7",
        ),
    ] {
        ip(damage);
        let put_back = repaired(&network, &pod);
        assert_eq!(put_back.len(), 1, "{damage}: {put_back:?}");
        assert!(put_back[0].starts_with(expected), "{damage}: {put_back:?}");
        assert_eq!(network.verify(&pod.wiring).unwrap(), []);
    }
}

fn a_device_that_was_set_down_carries_its_pod_again() {
    let (network, eni, pod) = wired();
    eni.settle();
    eni.assign("10.0.1.7");
    let host = network.wire(&pod.wiring).unwrap().host_name;
    let before = snapshot();
    ip(&format!("link set {host} down"));
    let put_back = repaired(&network, &pod);
    assert_eq!(put_back[0], format!("device {host} was down"));
    assert_eq!(snapshot(), before);
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
    assert_eq!(repaired(&network, &pod), [""; 0]);
    round_trip(&pod.socket("10.0.1.7"), &socket_in(&eni.router, WORLD));
}

fn an_eni_that_was_set_down_carries_its_pods_again() {
    let (network, eni, pod) = wired();
    eni.settle();
    eni.assign("10.0.1.7");
    let before = snapshot();
    ip(&format!("link set {} down", eni.device));
    assert_ne!(snapshot(), before, "its routes went with it");
    network.ensure_eni(&eni.setup).unwrap();
    assert_eq!(snapshot(), before);
    eni.settle();
    round_trip(&pod.socket("10.0.1.7"), &socket_in(&eni.router, WORLD));
}

fn both_families_are_put_back() {
    let network = node();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    pod.wiring
        .addresses
        .insert("fd00:1::7".parse::<IpAddr>().unwrap());
    network.wire(&pod.wiring).unwrap();
    assert_eq!(network.survey().unwrap().pods[0].addresses, pod.wiring.addresses);
    ip("-6 route delete fd00:1::7");
    ip("-6 rule delete pref 512");
    ip("-6 rule delete pref 1536");
    assert_eq!(repaired(&network, &pod).len(), 3);
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn pods(count: u8, table: u32) -> Vec<Pod> {
    let pod = |n: u8| {
        Pod::new(
            &format!("web-{n}"),
            &format!("c{n}"),
            &format!("10.0.1.{n}"),
            Some(table),
        )
    };
    (3..3 + count).map(pod).collect()
}

fn two_hundred_and_fifty_pods_at_once() {
    let network = node();
    let eni = Eni::attach(1);
    let table = network.ensure_eni(&eni.setup).unwrap().table;
    let pods = pods(250, table);
    for pod in &pods {
        network.wire(&pod.wiring).unwrap();
    }
    let all: Vec<_> = pods.iter().map(routes).collect();
    let before = snapshot();
    ip("rule flush");
    // It takes the kernel's own rules along.
    ip("rule add from all lookup main pref 32766");
    ip("rule add from all lookup default pref 32767");
    let survey = network.survey().unwrap();
    assert_eq!((survey.pods.len(), survey.leftovers), (250, vec![]));
    assert_eq!(network.repair(&all).unwrap().len(), 500);
    network.ensure_eni(&eni.setup).unwrap();
    assert_eq!(snapshot(), before);
    assert_eq!(network.repair(&all).unwrap(), []);
}

fn repair_under_churn_makes_no_duplicate() {
    let (network, _eni, pod) = wired();
    let others = pods(4, pod.wiring.table.unwrap());
    let before = rules();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for other in &others {
                    network.wire(&other.wiring).unwrap();
                }
                for other in &others {
                    network.unwire(other.interface()).unwrap();
                }
            }
        });
        for _ in 0..200 {
            network.repair(&[routes(&pod)]).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(rules(), before);
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn repair_takes_no_address_from_another_pod() {
    let (network, _eni, old) = wired();
    let new = Pod::new("db-0", "c2", "10.0.1.7", old.wiring.table);
    network.wire(&new.wiring).unwrap();
    let before = snapshot();
    assert_eq!(repaired(&network, &old), [""; 0]);
    assert_eq!(snapshot(), before);
    assert_eq!(network.verify(&new.wiring).unwrap(), []);
}

fn a_rule_to_another_table_is_led_back() {
    let (network, _eni, pod) = wired();
    ip("rule delete pref 1536 from 10.0.1.7");
    ip("rule add from 10.0.1.7 lookup 4999 pref 1536 protocol 225");
    let put_back = repaired(&network, &pod);
    assert_eq!(put_back.len(), 2, "{put_back:?}");
    assert!(put_back[1].contains("lookup 4999 was in the way"), "{put_back:?}");
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn rules_that_followed_an_eni_are_not_led_back() {
    let (network, eni, pod) = wired();
    eni.detach();
    drop(eni);
    let eni = Eni::attach(1);
    let second = network.ensure_eni(&eni.setup).unwrap();
    assert_ne!(Some(second.table), pod.wiring.table);
    let before = snapshot();
    // The caller has not heard of it yet.
    assert_eq!(repaired(&network, &pod), [""; 0]);
    assert_eq!(snapshot(), before);
}

fn a_foreign_route_in_the_way_is_named_and_left() {
    let (network, _eni, pod) = wired();
    ip("link add other0 type veth peer name other1");
    ip("link set other0 up");
    ip("route replace 10.0.1.7/32 dev other0 proto static");
    let before = snapshot();
    for _ in 0..2 {
        let found = repaired(&network, &pod);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("is in the way and is not ours"), "{found:?}");
    }
    assert_eq!(snapshot(), before);
}

fn a_foreign_rule_in_the_way_is_named_and_left() {
    let (network, _eni, pod) = wired();
    ip("rule add from 10.0.1.7 lookup 100 pref 1536");
    let before = snapshot();
    let found = repaired(&network, &pod);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("lookup 100") && found[0].contains("not ours"),
        "{found:?}"
    );
    assert_eq!(snapshot(), before);
}

/// As TKE's VPC-CNI before v3.8.0 leaves a pod's rule.
fn earlier_rule(address: &str) {
    ip(&format!(
        "rule add from {address} lookup 2003 pref 1536 protocol 3"
    ));
}

fn a_rule_of_the_earlier_plugin_gives_way() {
    let (network, _eni, pod) = wired();
    let before = snapshot();
    earlier_rule("10.0.1.7");
    earlier_rule("10.0.1.99");
    let put_back = repaired(&network, &pod);
    assert_eq!(put_back.len(), 1, "{put_back:?}");
    assert!(put_back[0].contains("lookup 2003"), "{put_back:?}");
    assert!(
        rules().contains(&"1536: from 10.0.1.99 lookup 2003 proto boot".to_owned()),
        "that is no address of ours: {:?}",
        rules()
    );
    ip("rule delete from 10.0.1.99");
    assert_eq!(snapshot(), before);
}

fn an_enis_own_rule_of_the_earlier_plugin_gives_way() {
    let network = node();
    let eni = Eni::attach(1);
    earlier_rule("10.0.1.2");
    earlier_rule("10.0.1.99");
    let link = network.ensure_eni(&eni.setup).unwrap();
    assert_eq!(
        rules(),
        [
            "1536: from 10.0.1.99 lookup 2003 proto boot".to_owned(),
            format!("1536: from 10.0.1.2 lookup {} proto 225", link.table),
        ]
    );
}

fn tables_of_the_earlier_plugin_stay() {
    let (network, _eni, _pod) = wired();
    ip("route add default dev eth1 table 2099");
    ip("rule add from 10.0.1.99 lookup 2099 pref 1536");
    let before = snapshot();
    assert_eq!(network.survey().unwrap().leftovers, []);
    network.clear(Leftover::Table(2099)).unwrap();
    network
        .clear(Leftover::Address("10.0.1.99".parse().unwrap()))
        .unwrap();
    assert_eq!(snapshot(), before);
}

fn a_table_of_the_earlier_numbering_with_our_mark_is_left_over() {
    let (network, _eni, _pod) = wired();
    let before = snapshot();
    ip("route add unreachable default table 2999 proto 225");
    ip("rule add from 10.0.1.99 lookup 2999 pref 1536 protocol 225");
    let leftovers = network.survey().unwrap().leftovers;
    assert_eq!(leftovers, [Leftover::Table(2999)]);
    network.clear(leftovers[0]).unwrap();
    assert_eq!(snapshot(), before);
}

fn a_pod_without_its_route_is_not_left_over() {
    let (network, _eni, pod) = wired();
    ip("route delete 10.0.1.7");
    assert_eq!(network.survey().unwrap().leftovers, []);
    network
        .clear(Leftover::Address("10.0.1.7".parse().unwrap()))
        .unwrap();
    assert_eq!(repaired(&network, &pod).len(), 1, "the route alone");
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn an_enis_own_address_is_never_cleared() {
    let (network, eni, _pod) = wired();
    let before = snapshot();
    network.clear(Leftover::Address(eni.setup.primary)).unwrap();
    assert_eq!(snapshot(), before);
}

fn a_stray_route_is_left_over_and_cleared() {
    let (network, _eni, _pod) = wired();
    let before = snapshot();
    ip("route add 10.0.1.9/32 dev eth1 proto 225");
    ip("rule add to 10.0.1.9/32 lookup main pref 512 protocol 225");
    let leftovers = network.survey().unwrap().leftovers;
    assert_eq!(leftovers, [Leftover::Address("10.0.1.9".parse().unwrap())]);
    network.clear(leftovers[0]).unwrap();
    assert_eq!(snapshot(), before);
}

fn clearing_touches_nothing_foreign() {
    let (network, _eni, pod) = wired();
    let host = network.wire(&pod.wiring).unwrap().host_name;
    for foreign in [
        "rule add from 10.0.1.7 lookup 100 pref 1537",
        "rule add from 10.0.1.7 lookup 100 pref 1536 protocol 4",
        "rule add to 10.0.1.7 lookup main pref 511 protocol 225",
    ] {
        ip(foreign);
    }
    drop(pod);
    eventually("the device goes with the namespace", || {
        !ip("-o link show").contains(&host)
    });
    network
        .clear(Leftover::Address("10.0.1.7".parse().unwrap()))
        .unwrap();
    let left = rules().into_iter().filter(|rule| rule.contains("10.0.1.7"));
    assert_eq!(
        left.collect::<Vec<_>>(),
        [
            "511: from all to 10.0.1.7 lookup main proto 225",
            "1536: from 10.0.1.7 lookup 100 proto static",
            "1537: from 10.0.1.7 lookup 100",
        ]
    );
}

fn a_table_of_somebody_elses_number_is_left_alone() {
    let (network, _eni, _pod) = wired();
    ip("route add unreachable 172.16.0.0/16 table 100 proto 225");
    assert_eq!(network.survey().unwrap().leftovers, []);
    network.clear(Leftover::Table(100)).unwrap();
    assert!(!lines(&ip("route show table 100")).is_empty());
}
