//! `verify` on a real kernel: a pod on an ENI's stand-in, and an agent's socket that says so.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::IpAddr,
    os::unix::net::UnixListener,
    path::Path,
    process::ExitCode,
    thread,
};

use agent::introspection::{EniView, Owner};
use eni_core::{
    model::{Mac, PodAddresses, PodKey, SandboxKey},
    network::{EniSetup, PodInterface, PodWiring},
};
use eni_netlink::{
    NetlinkNetwork,
    namespace::Namespace,
    testing::{KernelTest, ip, kernel_tests},
};
use enictl::verify::verify;

const ADDRESS: [u8; 4] = [10, 0, 1, 7];

fn main() -> ExitCode {
    kernel_tests(vec![KernelTest::new(
        "a_wired_pod_shows_nothing_and_what_is_taken_from_it_is_named",
        a_wired_pod_shows_nothing_and_what_is_taken_from_it_is_named,
    )])
}

fn a_wired_pod_shows_nothing_and_what_is_taken_from_it_is_named() {
    let mac = Mac([0x20, 0x90, 0x6f, 0, 0, 1]);
    ip("link set lo up").unwrap();
    ip(&format!("link add eth1 address {mac} type veth peer name router")).unwrap();
    ip("link set router up").unwrap();
    let network = NetlinkNetwork::current().unwrap();
    let setup = EniSetup {
        mac,
        primary: IpAddr::from([10, 0, 1, 2]),
        cidr: "10.0.1.0/24".parse().unwrap(),
        gateway: IpAddr::from([10, 0, 1, 1]),
    };
    let link = network.ensure_eni(&setup).unwrap();
    let sandbox = Namespace::anonymous().unwrap();
    let key = SandboxKey::new("tke", "c-1", "eth0");
    let wiring = PodWiring {
        interface: PodInterface {
            key: key.clone(),
            pod: Some(PodKey::new("shop", "web")),
            addresses: None,
        },
        netns: sandbox.shared_path(),
        addresses: PodAddresses::from(IpAddr::from(ADDRESS)),
        table: Some(link.table),
        mtu: 1400,
    };
    let host = network.wire(&wiring).unwrap().host_name;

    let enis = vec![EniView {
        id: "eni-1".to_owned(),
        mac: mac.to_string(),
        subnet: "subnet-a".to_owned(),
        device: Some(link.index),
        table: Some(link.table),
        addresses: Vec::new(),
    }];
    let owners = vec![Owner {
        interface: key.to_string(),
        pod: Some("shop/web".to_owned()),
        pod_uid: None,
        addresses: vec![ADDRESS.into()],
        eni: "eni-1".to_owned(),
        lost: false,
    }];
    let pages = BTreeMap::from([
        ("/v1/enis", serde_json::to_string(&enis).unwrap()),
        ("/v1/owners", serde_json::to_string(&owners).unwrap()),
    ]);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("introspection.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || answer(&listener, &pages));

    assert_eq!(differences(&socket), Vec::<String>::new());
    ip("rule delete pref 1536 from 10.0.1.7").unwrap();
    ip(&format!("neighbour delete 10.0.1.7 dev {host}")).unwrap();
    ip(&format!("route delete default via 10.0.1.1 table {}", link.table)).unwrap();
    let expected = [
        format!("table {} has no default route by eth1", link.table),
        format!("10.0.1.7 is no permanent neighbour on {host}"),
        format!("rule 1536 from 10.0.1.7 lookup {} is missing", link.table),
    ];
    assert_eq!(differences(&socket), expected);
    ip(&format!("link delete {host}")).unwrap();
    let gone = differences(&socket);
    assert!(
        gone.iter().any(|what| what.starts_with("it has no device")),
        "{gone:?}"
    );
}

/// What `verify` finds from this thread, whose namespace is the node's.
fn differences(socket: &Path) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let found = runtime.unwrap().block_on(verify(socket)).unwrap();
    found.into_iter().map(|difference| difference.what).collect()
}

/// Answers as the agent does, until the program ends.
fn answer(listener: &UnixListener, pages: &BTreeMap<&str, String>) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let asked = lines.next().unwrap();
        // The head ends with an empty line.
        assert!(lines.any(|line| line.is_empty()));
        let body = &pages[asked.split(' ').nth(1).unwrap()];
        write!(
            stream,
            "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{body}"
        )
        .unwrap();
    }
}
