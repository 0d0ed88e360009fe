//! A node as it should be, and each thing of it taken away.

use agent::introspection::AddressView;
use eni_netlink::{
    LINK_GROUP,
    kernel::{MAIN, Route},
};

use rtnetlink::packet_route::link::InfoKind;

use super::*;

const INDEX: u32 = 3;
const TABLE: u32 = 4003;
const POD: u32 = 9;

fn link(index: u32, name: &str, alias: Option<&str>) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        alias: alias.map(str::to_owned),
        group: alias.map_or(0, |_| LINK_GROUP),
        up: true,
        mtu: 1500,
        kind: alias.map(|_| InfoKind::Veth),
        peer: None,
        rp_filter: None,
    }
}

fn sound() -> (View, Kernel) {
    let address = [10, 0, 0, 7].into();
    let view = View {
        enis: vec![EniView {
            id: "eni-1".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            subnet: "subnet-a".to_owned(),
            device: Some(INDEX),
            table: Some(TABLE),
            addresses: vec![AddressView {
                ip: address,
                state: "owned".to_owned(),
                owner: None,
            }],
        }],
        owners: vec![Owner {
            interface: "tke/c-1/eth0".to_owned(),
            pod: None,
            pod_uid: None,
            addresses: vec![address],
            eni: "eni-1".to_owned(),
            lost: false,
        }],
    };
    let kernel = Kernel {
        links: vec![
            link(INDEX, "eth1", None),
            link(POD, "eni01", Some("eni/tke/c-1/eth0")),
        ],
        rules: vec![Rule::to(address), Rule::from(address, TABLE)],
        routes: vec![
            Route::to_host(address, POD),
            Route::default_via(TABLE, [10, 0, 0, 1].into(), INDEX),
            Route::last_resort(TABLE, Family::V4),
        ],
        neighbours: vec![Neighbour {
            link: POD,
            address,
            mac: "02:00:00:00:00:02".parse().unwrap(),
        }],
        leftovers: Vec::new(),
    };
    (view, kernel)
}

fn after(change: impl FnOnce(&mut View, &mut Kernel)) -> Vec<String> {
    let (mut view, mut kernel) = sound();
    change(&mut view, &mut kernel);
    let found = compare(&view, &kernel);
    found
        .into_iter()
        .map(|difference| format!("{}: {}", difference.subject, difference.what))
        .collect()
}

#[test]
fn a_node_as_it_should_be_shows_nothing() {
    assert_eq!(after(|_, _| ()), Vec::<String>::new());
}

#[test]
fn whatever_a_pod_lacks_is_named() {
    let pod = "tke/c-1/eth0";
    assert_eq!(
        after(|_, kernel| kernel.rules.clear()),
        [
            format!("{pod}: {} is missing", Rule::from([10, 0, 0, 7].into(), TABLE)),
            format!("{pod}: {} is missing", Rule::to([10, 0, 0, 7].into())),
        ]
    );
    assert_eq!(
        after(|_, kernel| kernel.routes.retain(|route| route.table != MAIN)),
        [format!("{pod}: no route leads to 10.0.0.7 by eni01")]
    );
    assert_eq!(
        after(|_, kernel| kernel.neighbours.clear()),
        [format!("{pod}: 10.0.0.7 is no permanent neighbour on eni01")]
    );
    assert_eq!(
        after(|_, kernel| kernel.links[1].up = false),
        [format!("{pod}: its device eni01 is down")]
    );
    let gone = after(|_, kernel| kernel.links.truncate(1));
    assert_eq!(
        gone,
        [format!(
            "{pod}: it has no device; the sandbox is gone, or its ADD is under way"
        )]
    );
}

#[test]
fn whatever_an_eni_lacks_is_named() {
    let routes = after(|_, kernel| kernel.routes.retain(|route| route.table == MAIN));
    assert_eq!(
        routes,
        [
            "eni-1: table 4003 has no default route by eth1",
            "eni-1: table 4003 has no last resort"
        ]
    );
    assert_eq!(
        after(|_, kernel| kernel.links[0].up = false),
        ["eni-1: its device eth1 is down"]
    );
    assert_eq!(
        after(|_, kernel| kernel.links[0].index = 4),
        ["eni-1: its device 3 is gone"]
    );
    let other = after(|_, kernel| kernel.links[0].mac = None);
    assert_eq!(
        other,
        ["eni-1: its device eth1 has another MAC than 02:00:00:00:00:01"]
    );
    let waits = after(|view, _| view.enis[0].device = None);
    assert_eq!(
        waits,
        ["eni-1: it is not in service: the agent has not found its device yet"]
    );
}

#[test]
fn what_the_agent_does_not_know_is_named() {
    let orphan = after(|view, _| view.owners.clear());
    assert_eq!(
        orphan,
        ["tke/c-1/eth0: the device eni01 is there, and the agent knows no owner"]
    );
    let left = after(|_, kernel| kernel.leftovers.push("Table(4009)".to_owned()));
    assert_eq!(left, ["Table(4009): it serves nothing that is there"]);
}
