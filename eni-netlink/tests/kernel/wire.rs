//! ADD and CHECK.

use std::net::IpAddr;
use std::thread;

use eni_core::network::{NetworkError, NodeNetwork, PodWiring};
use eni_netlink::NetlinkNetwork;
use eni_netlink::namespace::Namespace;

use crate::bed::{Pod, ip, ip_in, node, rules, snapshot};

crate::kernel_tests![
    the_node_looks_as_the_design_says,
    the_pod_looks_as_the_design_says,
    a_rule_carries_the_action_to_table,
    adding_twice_leaves_one_of_each,
    a_damaged_interface_is_made_anew,
    both_families_at_once,
    a_second_interface_leaves_the_first_in_charge,
    a_missing_namespace_is_named,
    a_plain_file_is_no_namespace,
    a_foreign_route_in_the_pod_undoes_everything,
    a_foreign_route_on_the_node_undoes_everything,
    a_failure_does_not_take_what_was_there_before,
    fifty_at_once,
    verify_names_every_damage,
    verify_without_a_namespace,
    from_another_namespace,
    through_the_trait,
];

fn the_node_looks_as_the_design_says() {
    let network = node();
    std::fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "1").unwrap();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let wired = network.wire(&pod.wiring).unwrap();

    let device = ip(&format!("-o -d link show {}", wired.host_name));
    for part in [
        "UP",
        "mtu 1400",
        "alias eni/tke/c1/eth0",
        &format!("link/ether {}", wired.host_mac),
        "group 225",
    ] {
        assert!(device.contains(part), "{part} in {device}");
    }
    let route = ip("route show table main");
    assert_eq!(
        route.trim(),
        format!("10.0.1.7 dev {} proto 225 scope link", wired.host_name)
    );
    let neighbour = ip(&format!("neighbour show dev {}", wired.host_name));
    assert!(
        neighbour.contains(&format!("10.0.1.7 lladdr {} PERMANENT proto 225", wired.pod_mac)),
        "{neighbour}"
    );
    assert_eq!(
        rules(),
        [
            "512: from all to 10.0.1.7 lookup main proto 225",
            "1536: from 10.0.1.7 lookup 4003 proto 225"
        ]
    );
    let filter = format!("/proc/sys/net/ipv4/conf/{}/rp_filter", wired.host_name);
    assert_eq!(std::fs::read_to_string(filter).unwrap().trim(), "0");
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn the_pod_looks_as_the_design_says() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", None);
    let wired = network.wire(&pod.wiring).unwrap();

    let device = pod.ip("-o link show eth0").join("");
    for part in ["UP", "mtu 1400", &format!("link/ether {}", wired.pod_mac)] {
        assert!(device.contains(part), "{part} in {device}");
    }
    assert!(pod.ip("-o link show lo")[0].contains("UP"));
    assert!(
        pod.ip("-o address show eth0")
            .join("")
            .contains("inet 10.0.1.7/32")
    );
    assert_eq!(
        pod.ip("route show"),
        [
            "default via 169.254.1.1 dev eth0 proto 225 src 10.0.1.7 onlink",
            "169.254.1.1 dev eth0 proto 225 scope link"
        ]
    );
    assert_eq!(
        pod.ip("neighbour show nud permanent"),
        [format!(
            "169.254.1.1 dev eth0 lladdr {} PERMANENT proto 225",
            wired.host_mac
        )]
    );
}

fn a_rule_carries_the_action_to_table() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let wired = network.wire(&pod.wiring).unwrap();
    // A rule without the action swallows what it matches, which the kernel's own look-up shows.
    let answer = ip("route get 10.0.1.7");
    assert!(answer.contains(&wired.host_name), "{answer}");
    assert!(
        rules().iter().all(|rule| rule.contains(" lookup ")),
        "{:?}",
        rules()
    );
}

fn adding_twice_leaves_one_of_each() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let first = network.wire(&pod.wiring).unwrap();
    let before = snapshot();
    let second = network.wire(&pod.wiring).unwrap();
    assert_eq!(first, second);
    assert_eq!(
        snapshot(),
        before,
        "the device, its index included, is left alone"
    );
    assert_eq!(rules().len(), 2);
}

fn a_damaged_interface_is_made_anew() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    network.wire(&pod.wiring).unwrap();
    pod.ip("route delete default");
    ip("rule delete pref 512");
    network.wire(&pod.wiring).unwrap();
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
    assert_eq!(rules().len(), 2);
}

fn dual(pod: &mut Pod) {
    pod.wiring
        .addresses
        .insert("fd00:1::7".parse::<IpAddr>().unwrap());
}

fn both_families_at_once() {
    let network = node();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    dual(&mut pod);
    // As runtimes leave it where they take the network for IPv4 only.
    let off = || std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    pod.namespace.run_in(off).unwrap();
    let wired = network.wire(&pod.wiring).unwrap();
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
    assert_eq!(rules().len(), 4);
    let route = ip("-6 route show table main");
    assert!(
        route.contains(&format!("fd00:1::7 dev {} proto 225", wired.host_name)),
        "{route}"
    );
    let default = pod.ip("-6 route show default").join("");
    assert!(
        default.contains("default via fe80::1 dev eth0 proto 225 src fd00:1::7"),
        "{default}"
    );
    let again = network.wire(&pod.wiring).unwrap();
    assert_eq!(again, wired);
    network.unwire(pod.interface()).unwrap();
    assert_eq!(rules(), [""; 0]);
}

fn a_second_interface_leaves_the_first_in_charge() {
    let network = node();
    let first = Pod::new("web-0", "c1", "10.0.1.7", None);
    network.wire(&first.wiring).unwrap();
    let mut second = first.wiring.clone();
    second.interface.key.interface = "net1".into();
    second.addresses = "10.0.2.7".parse::<IpAddr>().unwrap().into();
    let wired = network.wire(&second).unwrap();
    assert_ne!(wired.host_name, network.wire(&first.wiring).unwrap().host_name);
    assert_eq!(network.verify(&first.wiring).unwrap(), []);
    assert_eq!(network.verify(&second).unwrap(), []);
    assert!(first.ip("route get 192.0.2.1")[0].contains("dev eth0"));
    assert!(first.ip("route get 192.0.2.1 oif net1")[0].contains("src 10.0.2.7"));

    network.unwire(&second.interface).unwrap();
    assert_eq!(network.verify(&first.wiring).unwrap(), []);
}

fn a_missing_namespace_is_named() {
    let network = node();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", None);
    pod.wiring.netns = "/run/netns/there-is-none".into();
    let error = network.wire(&pod.wiring).unwrap_err();
    assert_eq!(
        error,
        NetworkError::NoNamespace {
            netns: pod.wiring.netns.clone()
        }
    );
}

fn a_plain_file_is_no_namespace() {
    let network = node();
    let path = std::env::temp_dir().join(format!("eni-netlink-{}-no-namespace", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", None);
    pod.wiring.netns = path.display().to_string();
    let error = network.wire(&pod.wiring).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(error, NetworkError::NoNamespace { .. }), "{error}");
}

/// A failed ADD leaves the node as it was, and the pod without the interface.
fn fails_without_a_trace(network: &NetlinkNetwork, pod: &Pod) -> NetworkError {
    let before = snapshot();
    let error = network.wire(&pod.wiring).unwrap_err();
    assert_eq!(snapshot(), before);
    assert!(!pod.ip("-o link show").join("").contains("eth0"));
    error
}

fn a_foreign_route_in_the_pod_undoes_everything() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    ip_in(&pod.namespace, "link add other0 type veth peer name other1");
    ip_in(&pod.namespace, "link set other0 up");
    ip_in(&pod.namespace, "route add default dev other0");
    let error = fails_without_a_trace(&network, &pod);
    assert!(matches!(error, NetworkError::Foreign { .. }), "{error}");
    assert!(pod.ip("route show")[0].contains("other0"));
}

fn a_foreign_route_on_the_node_undoes_everything() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    ip("link add other0 type veth peer name other1");
    ip("link set other0 up");
    ip("route add 10.0.1.7/32 dev other0");
    // By then the pair, the pod's side, the neighbour and both rules have been made.
    let error = fails_without_a_trace(&network, &pod);
    assert!(matches!(error, NetworkError::Foreign { .. }), "{error}");
}

fn a_failure_does_not_take_what_was_there_before() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    ip("link add other0 type veth peer name other1");
    ip("link set other0 up");
    ip("route add 10.0.1.7/32 dev other0");
    ip("rule add to 10.0.1.7/32 lookup main pref 512 protocol 225");
    fails_without_a_trace(&network, &pod);
    assert_eq!(rules(), ["512: from all to 10.0.1.7 lookup main proto 225"]);
}

fn fifty_at_once() {
    let network = node();
    let pods: Vec<_> = (0..50)
        .map(|i| {
            Pod::new(
                &format!("web-{i}"),
                &format!("c{i}"),
                &format!("10.0.1.{}", 10 + i),
                Some(4003),
            )
        })
        .collect();
    let wire = |wiring: &PodWiring| network.wire(wiring).map(drop);
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = pods.iter().map(|pod| scope.spawn(|| wire(&pod.wiring))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(results, vec![Ok(()); 50]);
    assert_eq!(rules().len(), 100);
    for pod in &pods {
        assert_eq!(network.verify(&pod.wiring).unwrap(), []);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = pods
            .iter()
            .map(|pod| scope.spawn(|| network.unwire(pod.interface())))
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap().unwrap());
    });
    assert_eq!(network.list().unwrap(), [""; 0]);
}

fn verify_names_every_damage() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let host = network.wire(&pod.wiring).unwrap().host_name;
    let cases = [
        (None, format!("link set {host} mtu 1300"), "MTU 1300"),
        (
            None,
            "rule delete pref 512".to_owned(),
            "rule 512 to 10.0.1.7 lookup main is missing",
        ),
        (
            None,
            "rule delete pref 1536".to_owned(),
            "rule 1536 from 10.0.1.7 lookup 4003 is missing",
        ),
        (
            None,
            "rule add from 10.0.1.7 lookup 4009 pref 1536 protocol 225".to_owned(),
            "4009 is in the way",
        ),
        (None, "route delete 10.0.1.7".to_owned(), "route 10.0.1.7/32"),
        (
            None,
            format!("neighbour delete 10.0.1.7 dev {host}"),
            "neighbour 10.0.1.7",
        ),
        (None, format!("link set {host} alias nobody"), "alias `nobody`"),
        (None, format!("link delete {host}"), "is missing"),
        (
            Some(&pod),
            "address delete 10.0.1.7/32 dev eth0".to_owned(),
            "address 10.0.1.7/32",
        ),
        (
            Some(&pod),
            "route delete default".to_owned(),
            "route 0.0.0.0/0 via 169.254.1.1",
        ),
        (
            Some(&pod),
            "neighbour delete 169.254.1.1 dev eth0".to_owned(),
            "neighbour 169.254.1.1",
        ),
        (
            Some(&pod),
            "link set eth0 address 02:00:00:00:00:09".to_owned(),
            "02:00:00:00:00:09",
        ),
        (Some(&pod), "link set eth0 down".to_owned(), "eth0 is down"),
        (
            Some(&pod),
            "link set eth0 name other".to_owned(),
            "interface eth0 is missing",
        ),
    ];
    for (inside, damage, expected) in cases {
        network.unwire(pod.interface()).unwrap();
        // What an alias took from us must be cleared away by hand.
        drop(eni_netlink::testing::ip(&format!("link delete {host}")));
        network.wire(&pod.wiring).unwrap();
        match inside {
            Some(pod) => drop(pod.ip(&damage)),
            None => drop(ip(&damage)),
        }
        let found = network.verify(&pod.wiring).unwrap();
        assert!(
            found.iter().any(|found| found.what.contains(expected)),
            "{damage}: {found:?}"
        );
        for rule in rules() {
            let priority = rule.split(':').next().unwrap().to_owned();
            ip(&format!("rule delete pref {priority}"));
        }
    }
}

fn verify_without_a_namespace() {
    let network = node();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", None);
    pod.wiring.netns = "/run/netns/there-is-none".into();
    let found = network.verify(&pod.wiring).unwrap();
    assert!(
        found[0].what.contains("/run/netns/there-is-none is missing"),
        "{found:?}"
    );
}

fn from_another_namespace() {
    let other = Namespace::anonymous().unwrap();
    let network = NetlinkNetwork::in_namespace(&other.shared_path()).unwrap();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let wired = network.wire(&pod.wiring).unwrap();
    assert!(ip_in(&other, "-o link show").contains(&wired.host_name));
    assert!(!ip("-o link show").contains(&wired.host_name));
    assert_eq!(rules(), [""; 0]);
    assert_eq!(network.verify(&pod.wiring).unwrap(), []);
}

fn through_the_trait() {
    let network: Box<dyn NodeNetwork> = Box::new(node());
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        network.wire(&pod.wiring).await.unwrap();
        assert_eq!(network.verify(&pod.wiring).await.unwrap(), []);
        let listed = network.list().await.unwrap();
        assert_eq!(
            listed.len(),
            5,
            "device, two rules, route, neighbour: {listed:#?}"
        );
        network.unwire(pod.interface()).await.unwrap();
        assert_eq!(network.list().await.unwrap(), [""; 0]);
    });
}
