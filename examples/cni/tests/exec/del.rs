//! DEL with an agent that runs.

use std::time::Duration;

use agent_api::boot;
use eni_core::{
    agent::{Add, AddError, Grant, WiringGuard},
    allocator::AddressRequest,
    model::{Families, PodKey, SandboxKey},
    network::{PodInterface, PodWiring},
};
use serde_json::json;
use tokio::time::Instant;

use crate::bed::{DEADLINE, Node, eventually};

crate::exec_tests![
    twice_and_for_nothing_is_fine,
    the_agent_deletes_what_it_took_out_of_service,
    a_vanished_namespace_leaves_nothing,
    it_needs_neither_namespace_nor_result,
    a_result_of_another_pod_costs_that_one_nothing,
    a_late_one_does_not_hurt_the_next_sandbox,
    it_waits_for_the_add_that_is_wiring,
    it_takes_off_what_a_slow_add_puts_on_the_wire,
    the_same_container_id_may_come_back,
];

fn twice_and_for_nothing_is_fine() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    sandbox.exec("DEL", &conf).run().silent();
    sandbox.exec("ADD", &conf).run().result();
    assert!(!node.leftovers().is_empty());
    for _ in 0..2 {
        sandbox.exec("DEL", &conf).run().silent();
        assert!(node.owners().is_empty());
        assert_eq!(node.leftovers(), [""; 0]);
        sandbox.assert_off_the_wire();
    }
}

fn the_agent_deletes_what_it_took_out_of_service() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    sandbox.exec("ADD", &conf).run().result();
    sandbox.exec("DEL", &conf).run().silent();
    let primary = node.service().published().enis[0].mac;
    node.network.ensure_forwarding(primary, Families::V4).unwrap();
    eventually("the device is deleted", || {
        !crate::bed::ip("-o link show").contains("eni")
    });
    assert_eq!(sandbox.ip("-o link show").lines().count(), 1, "only lo");
}

fn a_vanished_namespace_leaves_nothing() {
    let node = Node::new(1);
    let mut sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    sandbox.exec("ADD", &conf).run().result();
    sandbox.vanish();
    eventually("the kernel takes the devices away", || {
        !crate::bed::ip("-o link show").contains("eni")
    });
    sandbox.exec("DEL", &conf).run().silent();
    assert!(node.owners().is_empty());
    assert_eq!(node.leftovers(), [""; 0]);
}

fn it_needs_neither_namespace_nor_result() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf("0.4.0");
    for netns in ["", "/nowhere"] {
        sandbox.exec("ADD", &conf).run().result();
        conf["prevResult"] = json!({"ips": "broken"});
        sandbox.exec("DEL", &conf).with("CNI_NETNS", netns).run().silent();
        assert!(node.owners().is_empty());
        assert_eq!(node.leftovers(), [""; 0]);
    }
}

fn a_result_of_another_pod_costs_that_one_nothing() {
    let node = Node::new(2);
    let (sandbox, other) = (node.sandbox("c1", "a"), node.sandbox("c2", "b"));
    let mut conf = node.conf("1.0.0");
    sandbox.exec("ADD", &conf).run().result();
    let of_other = other.exec("ADD", &conf).run().result();
    conf["prevResult"] = of_other.clone();
    sandbox.exec("DEL", &conf).run().silent();
    sandbox.assert_off_the_wire();
    assert_eq!(node.owners().len(), 1);
    other.exec("CHECK", &conf).run().silent();
    other.exec("DEL", &conf).run().silent();
    assert_eq!(node.leftovers(), [""; 0], "nothing of either");
}

fn a_late_one_does_not_hurt_the_next_sandbox() {
    let node = Node::new(2);
    let mut old = node.sandbox("c1", "web-0");
    let conf = node.conf("1.0.0");
    old.exec("ADD", &conf).run().result();
    // The old sandbox dies without a DEL; the pod's next one gets the same name for its device.
    old.vanish();
    eventually("the kernel takes the devices away", || {
        !crate::bed::ip("-o link show").contains("eni")
    });
    let new = node.sandbox("c2", "web-0");
    new.exec("ADD", &conf).run().result();
    old.exec("DEL", &conf).run().silent();
    assert_eq!(node.owners(), ["c2"]);
    new.assert_connected(&node);
}

/// The ADD of a plugin that takes its time.
fn add_by_hand(node: &Node, started: Duration, patience: Duration) -> Result<(Grant, WiringGuard), AddError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let request = AddressRequest {
        key: SandboxKey::new("pods", "c1", "eth0"),
        pod: None,
        pod_uid: None,
        families: Families::V4,
        origin: None,
    };
    runtime.block_on(async {
        let deadline = Instant::now() + patience;
        node.service()
            .add(Add {
                request,
                deadline,
                started,
            })
            .await
    })
}

fn it_takes_off_what_a_slow_add_puts_on_the_wire() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let (grant, wiring) = add_by_hand(&node, boot::now(), DEADLINE).unwrap();
    let del = sandbox.exec("DEL", &node.conf("1.0.0")).start();
    // The agent refuses older ADDs from the moment it has heard of the DEL, which has found nothing to unwire.
    let heard = || {
        matches!(
            add_by_hand(&node, Duration::ZERO, Duration::from_millis(200)),
            Err(AddError::Cancelled { .. })
        )
    };
    eventually("the agent hears of the DEL", heard);
    let late = PodWiring {
        interface: PodInterface {
            key: SandboxKey::new("pods", "c1", "eth0"),
            pod: Some(PodKey::new("default", "a")),
            addresses: None,
        },
        netns: sandbox.netns().to_owned(),
        addresses: grant.allocation.addresses,
        table: Some(grant.link.table),
        mtu: 1400,
    };
    node.network.wire(&late).unwrap();
    assert!(!node.leftovers().is_empty());
    drop(wiring);
    del.wait().silent();
    assert!(node.owners().is_empty());
    assert_eq!(node.leftovers(), [""; 0]);
}

fn it_waits_for_the_add_that_is_wiring() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let mut conf = node.conf("1.0.0");
    conf["timeoutSeconds"] = json!(1);
    let (_, wiring) = add_by_hand(&node, boot::now(), DEADLINE).unwrap();
    let error = sandbox.exec("DEL", &conf).run().error(11);
    assert!(error.contains("still wiring"), "{error}");
    assert_eq!(node.owners(), ["c1"]);
    drop(wiring);
    sandbox.exec("DEL", &conf).run().silent();
    assert!(node.owners().is_empty());
}

fn the_same_container_id_may_come_back() {
    let node = Node::new(1);
    let sandbox = node.sandbox("c1", "a");
    let conf = node.conf("1.0.0");
    for _ in 0..3 {
        sandbox.exec("ADD", &conf).run().result();
        sandbox.assert_connected(&node);
        sandbox.exec("DEL", &conf).run().silent();
    }
}
