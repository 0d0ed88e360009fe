//! What the tests stand on: pods, stand-in ENIs with a router behind each, and `ip` as the witness.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use eni_core::model::{Mac, PodAddresses, PodKey, SandboxKey};
use eni_core::network::{EniSetup, PodInterface, PodWiring};
use eni_netlink::NetlinkNetwork;
use eni_netlink::namespace::Namespace;

/// How long a packet or the kernel's clean-up may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// An address out in the world, behind every router.
pub(crate) const WORLD: &str = "192.0.2.1";

/// What `ip` prints in the calling thread's namespace.
pub(crate) fn ip(arguments: &str) -> String {
    eni_netlink::testing::ip(arguments).unwrap()
}

/// What `ip` prints in `namespace`.
pub(crate) fn ip_in(namespace: &Namespace, arguments: &str) -> String {
    namespace.run_in(|| ip(arguments)).unwrap()
}

/// Lines with single spaces, so that tests do not depend on the tool's columns.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The rules of the node but the kernel's three.
pub(crate) fn rules() -> Vec<String> {
    let all = lines(&ip("rule show"))
        .into_iter()
        .chain(lines(&ip("-6 rule show")));
    all.filter(|rule| !["0:", "32766:", "32767:"].iter().any(|own| rule.starts_with(own)))
        .collect()
}

/// Somebody takes away what leads to and from an address.
pub(crate) fn flush(address: &str) {
    for line in lines(&ip("neighbour show nud permanent")) {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] == address {
            ip(&format!("neighbour delete {address} dev {}", words[2]));
        }
    }
    ip(&format!("route delete {address}"));
    ip(&format!("rule delete pref 512 to {address}"));
    ip(&format!("rule delete pref 1536 from {address}"));
}

/// Every device, address, rule, route and lasting neighbour of the node.
pub(crate) fn snapshot() -> Vec<String> {
    let mut all = rules();
    for arguments in [
        "-o link show",
        "-o address show",
        "route show table all",
        "-6 route show table all",
        "neighbour show nud permanent",
    ] {
        // A link-local address appears some time after its device; it is the kernel's own matter.
        let own = |line: &String| !line.contains("fe80:") && !line.contains("multicast");
        all.extend(lines(&ip(arguments)).iter().map(|line| settled(line)).filter(own));
    }
    all.sort();
    all
}

/// The line without what the kernel works out in the background once a device is up.
fn settled(line: &str) -> String {
    let line = line
        .replace("NO-CARRIER,", "")
        .replace(",LOWER_UP", "")
        .replace(" linkdown", "");
    ["UP", "DOWN", "UNKNOWN", "LOWERLAYERDOWN"]
        .iter()
        .fold(line, |line, state| line.replace(&format!(" state {state} "), " "))
}

/// The node under test: the calling thread's namespace.
pub(crate) fn node() -> NetlinkNetwork {
    ip("link set lo up");
    let network = NetlinkNetwork::current().unwrap();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    network
}

/// A sandbox with a namespace of its own.
pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    pub(crate) wiring: PodWiring,
}

impl Pod {
    /// Pod `default/<name>` in the sandbox `container`.
    pub(crate) fn new(name: &str, container: &str, address: &str, table: Option<u32>) -> Self {
        let namespace = Namespace::anonymous().unwrap();
        let wiring = PodWiring {
            interface: PodInterface {
                key: SandboxKey::new("tke", container, "eth0"),
                pod: Some(PodKey::new("default", name)),
                addresses: None,
            },
            netns: namespace.shared_path(),
            addresses: PodAddresses::from(address.parse::<IpAddr>().unwrap()),
            table,
            mtu: 1400,
        };
        Self { namespace, wiring }
    }

    pub(crate) fn interface(&self) -> &PodInterface {
        &self.wiring.interface
    }

    pub(crate) fn ip(&self, arguments: &str) -> Vec<String> {
        lines(&ip_in(&self.namespace, arguments))
    }

    /// A socket of the pod's on a port of the kernel's choice.
    pub(crate) fn socket(&self, address: &str) -> UdpSocket {
        socket_in(&self.namespace, address)
    }
}

/// A socket in `namespace`, on a port of the kernel's choice.
pub(crate) fn socket_in(namespace: &Namespace, address: &str) -> UdpSocket {
    namespace.run_in(|| socket(address)).unwrap()
}

/// A socket of the node's own.
pub(crate) fn socket(address: &str) -> UdpSocket {
    let address: IpAddr = address.parse().unwrap();
    let socket = UdpSocket::bind((address, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Sends a packet there and one back. Answers with the source that the other side saw.
pub(crate) fn round_trip(from: &UdpSocket, to: &UdpSocket) -> SocketAddr {
    from.send_to(b"ping", to.local_addr().unwrap()).unwrap();
    let source = receive(to, b"ping");
    to.send_to(b"pong", source).unwrap();
    receive(from, b"pong");
    source
}

fn receive(socket: &UdpSocket, expected: &[u8]) -> SocketAddr {
    let mut bytes = [0; 16];
    loop {
        match socket.recv_from(&mut bytes) {
            Ok((length, source)) => {
                assert_eq!(&bytes[..length], expected);
                return source;
            }
            // As after the machine was suspended.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no packet at {:?}: {error}", socket.local_addr()),
        }
    }
}

/// A stand-in for an ENI: a device on the node whose other end is a router in a namespace of its own,
/// which owns the world behind it.
pub(crate) struct Eni {
    pub(crate) router: Namespace,
    pub(crate) setup: EniSetup,
    pub(crate) device: String,
}

impl Eni {
    /// ENI number `number`, with the subnet `10.0.<number>.0/24`, as device `eth<number>`.
    pub(crate) fn attach(number: u8) -> Self {
        let router = Namespace::anonymous().unwrap();
        let device = format!("eth{number}");
        let mac = Mac([0x20, 0x90, 0x6f, 0, 0, number]);
        // A process cannot pass its thread's namespace to `ip` by name, hence by a handle's path.
        ip(&format!(
            "link add {device} address {mac} type veth peer name down0 netns {}",
            router.shared_path()
        ));
        ip_in(&router, "link set lo up");
        ip_in(&router, &format!("address add {WORLD}/32 dev lo"));
        ip_in(&router, "link set down0 up");
        ip_in(&router, &format!("address add 10.0.{number}.1/24 dev down0"));
        let setup = EniSetup {
            mac,
            primary: format!("10.0.{number}.2").parse().unwrap(),
            cidr: format!("10.0.{number}.0/24").parse().unwrap(),
            gateway: format!("10.0.{number}.1").parse().unwrap(),
        };
        Self {
            router,
            setup,
            device,
        }
    }

    /// Waits until the kernel lets the router's device send; a real ENI has come up long before.
    pub(crate) fn settle(&self) {
        let up = || ip_in(&self.router, "-o link show down0").contains("state UP");
        eventually("the router's device is up", up);
    }

    /// What the cloud does once an address is assigned to the ENI: its packets come to the ENI's MAC.
    pub(crate) fn assign(&self, address: &str) {
        ip_in(
            &self.router,
            &format!(
                "neighbour replace {address} lladdr {} dev down0 nud permanent",
                self.setup.mac
            ),
        );
    }

    /// Takes the device off the node.
    pub(crate) fn detach(&self) {
        ip(&format!("link delete {}", self.device));
    }
}

/// Waits for the kernel to have done what it does in the background.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::yield_now();
    }
}
