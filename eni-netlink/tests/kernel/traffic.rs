//! Packets that really flow.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use eni_netlink::namespace::Namespace;
use eni_netlink::testing;

use crate::bed::{Eni, Pod, WORLD, ip, node, round_trip, socket, socket_in};

crate::kernel_tests![
    between_two_pods_of_a_node,
    the_first_packet_to_a_new_pod_arrives,
    between_two_pods_of_a_node_in_ipv6,
    between_the_node_and_a_pod,
    out_through_the_pods_eni,
    without_a_route_nothing_leaves_by_eth0,
];

fn between_two_pods_of_a_node() {
    let network = node();
    let (one, other) = (Eni::attach(1), Eni::attach(2));
    let tables = [one, other].map(|eni| (network.ensure_eni(&eni.setup).unwrap().table, eni));
    let a = Pod::new("a", "c1", "10.0.1.7", Some(tables[0].0));
    let b = Pod::new("b", "c2", "10.0.2.7", Some(tables[1].0));
    network.wire(&a.wiring).unwrap();
    network.wire(&b.wiring).unwrap();
    let source = round_trip(&a.socket("10.0.1.7"), &b.socket("10.0.2.7"));
    assert_eq!(source.ip().to_string(), "10.0.1.7");
}

/// The kernel lets a device send only some time after its peer came up, and takes packets for an IPv6
/// address only some time after it was added; an ADD has to sit both out.
fn the_first_packet_to_a_new_pod_arrives() {
    let network = node();
    ip("address add 10.0.0.2/32 dev lo");
    ip("address add fd00::2/128 dev lo");
    // Many at once, so that the kernel's background work comes late.
    let namespace = Namespace::current().unwrap();
    let wire_and_greet = &|i: u8| {
        let (v4, v6) = (format!("10.0.1.{i}"), format!("fd00:1::{i}"));
        let mut pod = Pod::new(&format!("web-{i}"), &format!("c{i}"), &v4, None);
        pod.wiring.addresses.insert(v6.parse::<IpAddr>().unwrap());
        network.wire(&pod.wiring).unwrap();
        for (own, theirs) in [("10.0.0.2", &v4), ("fd00::2", &v6)] {
            round_trip(&socket_in(&namespace, own), &pod.socket(theirs));
        }
    };
    thread::scope(|scope| {
        for lane in 0..10 {
            scope.spawn(move || (0..10).for_each(|i| wire_and_greet(10 + 10 * lane + i)));
        }
    });
}

fn between_two_pods_of_a_node_in_ipv6() {
    let network = node();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    let [a, b] = [
        ("a", "c1", "10.0.1.7", "fd00::7"),
        ("b", "c2", "10.0.1.8", "fd00::8"),
    ]
    .map(|(name, container, v4, v6)| {
        let mut pod = Pod::new(name, container, v4, None);
        pod.wiring.addresses.insert(v6.parse::<IpAddr>().unwrap());
        network.wire(&pod.wiring).unwrap();
        pod
    });
    round_trip(&a.socket("fd00::7"), &b.socket("fd00::8"));
    round_trip(&b.socket("10.0.1.8"), &a.socket("10.0.1.7"));
}

fn between_the_node_and_a_pod() {
    let network = node();
    let eni = Eni::attach(1);
    let link = network.ensure_eni(&eni.setup).unwrap();
    let pod = Pod::new("a", "c1", "10.0.1.7", Some(link.table));
    network.wire(&pod.wiring).unwrap();
    // A probe of the kubelet: from an address of the node itself.
    round_trip(&socket("10.0.1.2"), &pod.socket("10.0.1.7"));
}

/// A node with a primary and a secondary ENI and a pod on the latter.
fn node_with_two_ways_out() -> (Eni, Eni, Pod, u32) {
    let network = node();
    let (primary, secondary) = (Eni::attach(0), Eni::attach(1));
    ip("link set eth0 up");
    ip("address add 10.0.0.2/24 dev eth0");
    ip("route add default via 10.0.0.1 dev eth0");
    let link = network.ensure_eni(&secondary.setup).unwrap();
    let pod = Pod::new("a", "c1", "10.0.1.7", Some(link.table));
    network.wire(&pod.wiring).unwrap();
    secondary.assign("10.0.1.7");
    secondary.settle();
    (primary, secondary, pod, link.table)
}

fn out_through_the_pods_eni() {
    let (_primary, secondary, pod, _) = node_with_two_ways_out();
    // The same address of the world lies behind both routers; the socket is behind the secondary one.
    let world = socket_in(&secondary.router, WORLD);
    let source = round_trip(&pod.socket("10.0.1.7"), &world);
    assert_eq!(source.ip().to_string(), "10.0.1.7");
}

fn without_a_route_nothing_leaves_by_eth0() {
    let (primary, _secondary, pod, table) = node_with_two_ways_out();
    ip(&format!("route delete default table {table}"));
    let world = socket_in(&primary.router, WORLD);
    world.set_read_timeout(Some(Duration::from_millis(1))).unwrap();

    let socket = pod.socket("10.0.1.7");
    socket.connect(world.local_addr().unwrap()).unwrap();
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv4RecvErr, &true).unwrap();
    socket.send(b"ping").unwrap();
    // The node's refusal is the proof that it has dealt with the packet.
    let refusal = socket.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::HostUnreachable, "{refusal}");
    let nothing = world.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "{nothing}");
    assert!(testing::ip(&format!("route get {WORLD} from 10.0.1.7 iif {}", host_of(&pod))).is_err());
}

fn host_of(pod: &Pod) -> String {
    eni_netlink::host_name(pod.interface().pod.as_ref(), &pod.interface().key)
}
