//! DEL.

use eni_core::model::Families;
use eni_netlink::NetlinkNetwork;

use crate::bed::{Eni, Pod, eventually, ip, node, rules, snapshot};

crate::kernel_tests![
    deleting_leaves_nothing,
    a_plugin_leaves_the_deletion_to_the_agent,
    the_same_sandbox_may_come_again_at_once,
    deleting_twice,
    deleting_what_never_was,
    a_namespace_that_is_gone_leaves_no_rule,
    without_the_pods_name_it_is_found_by_its_alias,
    a_device_whose_maker_died_goes_too,
    duplicates_go_too,
];

fn deleting_leaves_nothing() {
    let network = node();
    let before = snapshot();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    network.wire(&pod.wiring).unwrap();
    assert_ne!(snapshot(), before);
    network.unwire(pod.interface()).unwrap();
    assert_eq!(rules(), [""; 0]);
    assert_eq!(network.list().unwrap(), [""; 0]);
    eventually("the device goes", || snapshot() == before);
    assert!(!pod.ip("-o link show").join("").contains("eth0"));
}

fn a_plugin_leaves_the_deletion_to_the_agent() {
    let agent = node();
    let plugin = NetlinkNetwork::for_plugin().unwrap();
    let eni = Eni::attach(0);
    let before = ip("-o link show group 226");
    let pods = [("a", "c1", "10.0.1.7"), ("b", "c2", "10.0.1.8")].map(|(name, container, address)| {
        let pod = Pod::new(name, container, address, Some(4003));
        plugin.wire(&pod.wiring).unwrap();
        plugin.unwire(pod.interface()).unwrap();
        pod
    });
    assert_eq!(ip("-o link show group 226").lines().count(), 2);
    assert_eq!(rules(), [""; 0]);
    assert_eq!(plugin.list().unwrap(), [""; 0]);
    agent.ensure_forwarding(eni.setup.mac, Families::V4).unwrap();
    eventually("the agent deletes them", || {
        ip("-o link show group 226") == before
    });
    assert!(
        pods.iter()
            .all(|pod| !pod.ip("-o link show").join("").contains("eth0"))
    );
}

fn the_same_sandbox_may_come_again_at_once() {
    node();
    // Without a reaper the old device is in the pod for certain.
    let plugin = NetlinkNetwork::for_plugin().unwrap();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    for _ in 0..3 {
        plugin.wire(&pod.wiring).unwrap();
        assert_eq!(plugin.verify(&pod.wiring).unwrap(), []);
        plugin.unwire(pod.interface()).unwrap();
    }
    // With one, it may go at any moment.
    let agent = NetlinkNetwork::current().unwrap();
    for _ in 0..20 {
        agent.wire(&pod.wiring).unwrap();
        agent.unwire(pod.interface()).unwrap();
    }
}

fn deleting_twice() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    network.wire(&pod.wiring).unwrap();
    network.unwire(pod.interface()).unwrap();
    network.unwire(pod.interface()).unwrap();
    assert_eq!(rules(), [""; 0]);
}

fn deleting_what_never_was() {
    let network = node();
    let mut pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    pod.wiring.interface.addresses = Some(pod.wiring.addresses);
    network.unwire(pod.interface()).unwrap();
}

fn a_namespace_that_is_gone_leaves_no_rule() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let host = network.wire(&pod.wiring).unwrap().host_name;
    let Pod { namespace, wiring } = pod;
    drop(namespace);
    eventually("the device goes with the namespace", || {
        !ip("-o link show").contains(&host)
    });
    assert_eq!(rules().len(), 2, "the rules do not go with it");

    // As the journal knows it.
    let mut interface = wiring.interface;
    interface.addresses = Some(wiring.addresses);
    network.unwire(&interface).unwrap();
    assert_eq!(rules(), [""; 0]);
}

fn without_the_pods_name_it_is_found_by_its_alias() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    network.wire(&pod.wiring).unwrap();
    let mut interface = pod.interface().clone();
    interface.pod = None;
    network.unwire(&interface).unwrap();
    assert_eq!(network.list().unwrap(), [""; 0]);
}

fn a_device_whose_maker_died_goes_too() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    let wired = network.wire(&pod.wiring).unwrap();
    network.unwire(pod.interface()).unwrap();
    eventually("the device goes", || !ip("-o link show").contains("enidead"));
    // What is left when the maker dies after its first message.
    ip(&format!(
        "link add {} address {} group 225 type veth peer name x",
        wired.host_name, wired.host_mac
    ));
    network.unwire(pod.interface()).unwrap();
    assert!(!ip("-o link show").contains(&wired.host_name));
}

fn duplicates_go_too() {
    let network = node();
    let pod = Pod::new("web-0", "c1", "10.0.1.7", Some(4003));
    network.wire(&pod.wiring).unwrap();
    ip("rule add from 10.0.1.7 lookup 4009 pref 1536 protocol 225");
    network.unwire(pod.interface()).unwrap();
    assert_eq!(rules(), [""; 0]);
}
