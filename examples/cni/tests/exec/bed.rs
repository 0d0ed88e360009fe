//! A node with one stand-in ENI, its agent, and sandboxes on it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use agent::{
    history::History,
    server::{self, Listener, Served},
};
use agent_api::{Endpoint, Spool};
use eni_core::{
    agent::{NodePods, NodeService, ServiceConfig},
    env::SystemEnvironment,
    gc::NodeCollector,
    journal::MemoryJournal,
    model::{EniId, Families, Generation, Mac, NodePool, PoolAddress, PoolEni},
    network::{EniLink, EniSetup, NodeNetwork},
    sandbox::NamespaceSandboxes,
};
use eni_netlink::{NetlinkNetwork, namespace::Namespace, testing};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::plugin::{DEBIAN_PLUGINS, ENI_IPAMC, Exec, ROUTE_ENI};

/// How long anything may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The ENI's own address, its router's, and one far away behind that.
pub(crate) const NODE: &str = "10.0.1.2";
const ROUTER: &str = "10.0.1.1";
pub(crate) const WORLD: &str = "192.0.2.1";

/// The node: the calling thread's namespace.
pub(crate) struct Node {
    pub(crate) directory: TempDir,
    pub(crate) endpoint: Endpoint,
    pub(crate) link: EniLink,
    pub(crate) network: NetlinkNetwork,
    router: Namespace,
    journal: MemoryJournal,
    pub(crate) pool: NodePool,
    families: Families,
    agent: RefCell<Option<Agent>>,
}

/// An agent that runs.
struct Agent {
    service: Arc<NodeService>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Node {
    /// A node with this many addresses and an agent that runs.
    pub(crate) fn new(addresses: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(directory.path().join("run/agent.sock"));
        Self::listening(addresses, directory, endpoint, Families::V4)
    }

    /// The same, with an IPv6 address beside each IPv4 address.
    pub(crate) fn dual(addresses: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix(directory.path().join("run/agent.sock"));
        Self::listening(addresses, directory, endpoint, Families::Dual)
    }

    /// The same, with an agent on a loopback port.
    pub(crate) fn on_a_port(addresses: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::listening(
            addresses,
            directory,
            "127.0.0.1:61677".parse().unwrap(),
            Families::V4,
        )
    }

    fn listening(addresses: u8, directory: TempDir, endpoint: Endpoint, families: Families) -> Self {
        ip("link set lo up");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let router = Namespace::anonymous().unwrap();
        let mac = Mac([0x20, 0x90, 0x6f, 0, 0, 1]);
        ip(&format!(
            "link add name eth1 address {mac} type veth peer name down0 netns {}",
            router.shared_path()
        ));
        for arguments in [
            "link set lo up",
            &format!("address add {WORLD}/32 dev lo"),
            "link set down0 up",
            &format!("address add {ROUTER}/24 dev down0"),
        ] {
            router.run_in(|| ip(arguments)).unwrap();
        }
        let (primary, cidr, gateway) = (
            NODE.parse().unwrap(),
            "10.0.1.0/24".parse().unwrap(),
            ROUTER.parse().unwrap(),
        );
        let network = NetlinkNetwork::current().unwrap();
        let link = network
            .ensure_eni(&EniSetup {
                mac,
                primary,
                cidr,
                gateway,
            })
            .unwrap();
        let entry = |ip: IpAddr, n: u8| PoolAddress {
            ip,
            generation: Generation::from_random(n.into()),
        };
        let mut attached: Vec<_> = (0..addresses)
            .map(|n| entry([10, 0, 1, 10 + n].into(), n))
            .collect();
        // What the cloud does once an address is assigned: its packets come to the ENI's MAC.
        for PoolAddress { ip: address, .. } in &attached {
            let neighbour = format!("neighbour replace {address} lladdr {mac} dev down0 nud permanent");
            router.run_in(|| ip(&neighbour)).unwrap();
        }
        if families == Families::Dual {
            let v6 = |n: u8| IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, 0x10 + u16::from(n)]);
            attached.extend((0..addresses).map(|n| entry(v6(n), n)));
        }
        let eni = PoolEni {
            id: EniId::from("eni-1"),
            mac,
            subnet: "subnet-1".into(),
            cidr,
            gateway,
            primary,
            attached,
            releasing: Vec::new(),
            reserved: [].into(),
            evicting: Vec::new(),
        };
        let pool = NodePool {
            enis: vec![eni],
            maximum: 100,
            capacity: 100,
            granted: 0,
            by_claim: false,
        };
        let journal = MemoryJournal::new();
        let node = Self {
            directory,
            endpoint,
            link,
            network,
            router,
            journal,
            pool,
            families,
            agent: RefCell::default(),
        };
        node.start_agent();
        node
    }

    /// Starts the agent on what its journal remembers.
    pub(crate) fn start_agent(&self) {
        let (endpoint, journal, pool) = (
            self.endpoint.clone(),
            Arc::new(self.journal.clone()),
            self.pool.clone(),
        );
        let links: BTreeMap<_, _> = pool.enis.iter().map(|eni| (eni.id.clone(), self.link)).collect();
        let families = self.families;
        let (stop, stopped) = oneshot::channel();
        let network = self.network.clone();
        let (serving, served) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let work = async move {
            let config = ServiceConfig {
                cooldown: Duration::ZERO,
                families,
            };
            let service = NodeService::open(journal, SystemEnvironment::shared(), config)
                .await
                .unwrap();
            service.recover(&Default::default()).await.unwrap();
            service.accept(pool, &links).await.unwrap();
            let listener = Listener::bind(&endpoint).await.unwrap();
            let network: Arc<dyn NodeNetwork> = Arc::new(network);
            let known = service.clone();
            let collector = Arc::new(NodeCollector::new(
                service.clone(),
                network.clone(),
                Arc::new(NamespaceSandboxes::new(move || known.namespaces())),
                Arc::new(NodePods::default()),
            ));
            let served = Served {
                service: service.clone(),
                network,
                collector,
                history: Arc::new(History::new(SystemEnvironment::shared())),
            };
            serving.send(service.clone()).unwrap();
            tokio::select! {
                ended = server::run(listener, served, async { stopped.await.unwrap_or_default() }) => ended.unwrap(),
                () = service.run() => unreachable!("it runs until it is dropped"),
            }
        };
        let thread = thread::spawn(move || runtime.block_on(work));
        let service = served.recv_timeout(DEADLINE).unwrap();
        *self.agent.borrow_mut() = Some(Agent {
            service,
            stop,
            thread,
        });
    }

    /// Stops the agent in good order.
    pub(crate) fn stop_agent(&self) {
        let Agent { stop, thread, .. } = self.agent.take().unwrap();
        stop.send(()).unwrap();
        thread.join().unwrap();
    }

    pub(crate) fn service(&self) -> Arc<NodeService> {
        self.agent.borrow().as_ref().unwrap().service.clone()
    }

    /// Which containers own an address.
    pub(crate) fn owners(&self) -> Vec<String> {
        let owners = self.service().owners();
        let mut containers: Vec<_> = owners.iter().map(|(key, _)| key.container.to_string()).collect();
        containers.sort();
        containers
    }

    pub(crate) fn waiting(&self) -> usize {
        *self.service().waiting().borrow()
    }

    pub(crate) fn spool(&self) -> Spool {
        Spool::new(self.endpoint.spool_directory())
    }

    /// A configuration that names this node's agent.
    pub(crate) fn conf(&self, version: &str) -> Value {
        json!({
            "cniVersion": version, "name": "pods", "type": "tke-route-eni",
            "routeTable": 1, "disableIPv6": true, "mtu": 1400, "timeoutSeconds": 10,
            "ipam": {"type": "tke-eni-ipamc", "backend": self.endpoint.to_string()},
        })
    }

    /// A sandbox `container` of the pod `default/<pod>`.
    pub(crate) fn sandbox(&self, container: &str, pod: &str) -> Sandbox {
        let path = self.directory.path().join(container);
        Sandbox {
            namespace: Some(Namespace::create(&path).unwrap()),
            path,
            container: container.to_owned(),
            pod: pod.to_owned(),
        }
    }

    /// Everything of ours that the kernel has in the node's namespace, but the ENI's own and devices out of
    /// service, which the agent deletes.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let tables = [
            ip("-o link show"),
            ip("rule show"),
            ip("route show table main"),
            ip("neighbour show nud permanent"),
        ];
        let lines = tables.iter().flat_map(|table| table.lines());
        lines
            .filter(|line| !line.contains(": enidead"))
            .filter(|line| line.contains("eni") || line.split_whitespace().any(is_of_a_pod))
            .map(str::to_owned)
            .collect()
    }

    /// Work in the router's namespace.
    pub(crate) fn at_router<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.router.run_in(work).unwrap()
    }
}

/// Whether a word is one of the pool's addresses, 10.0.1.10 and up; not the router's.
fn is_of_a_pod(word: &str) -> bool {
    let address = word.trim_end_matches("/32");
    address.starts_with("10.0.1.1") && address != ROUTER
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.agent.borrow().is_some() && !thread::panicking() {
            self.stop_agent();
        }
    }
}

/// A sandbox with a namespace, as a runtime makes it.
pub(crate) struct Sandbox {
    pub(crate) path: PathBuf,
    namespace: Option<Namespace>,
    container: String,
    pod: String,
}

impl Sandbox {
    /// A call of `tke-route-eni` for this sandbox.
    pub(crate) fn exec(&self, command: &str, conf: &Value) -> Exec {
        self.exec_of(ROUTE_ENI, command, conf)
    }

    /// A call of any plugin.
    pub(crate) fn exec_of(&self, program: &str, command: &str, conf: &Value) -> Exec {
        let own = PathBuf::from(ENI_IPAMC);
        let path = format!("{}:{DEBIAN_PLUGINS}", own.parent().unwrap().display());
        Exec::new(program, command, conf)
            .with("CNI_CONTAINERID", &self.container)
            .with("CNI_NETNS", self.netns())
            .with("CNI_IFNAME", "eth0")
            .with("CNI_PATH", &path)
            .with(
                "CNI_ARGS",
                &format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};K8S_POD_UID=u1",
                    self.pod
                ),
            )
    }

    pub(crate) fn netns(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// What `ip` prints in the sandbox.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        self.inside(|| ip(arguments))
    }

    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.as_ref().unwrap().run_in(work).unwrap()
    }

    /// Removes the namespace, as a node's reboot or an impatient runtime does.
    pub(crate) fn vanish(&mut self) {
        self.namespace = None;
        Namespace::remove(&self.path).unwrap();
    }

    /// A packet to the world and its answer.
    #[track_caller]
    pub(crate) fn assert_connected(&self, node: &Node) {
        let world = node.at_router(|| UdpSocket::bind((WORLD, 0)).unwrap());
        let pod = self.inside(|| UdpSocket::bind(("0.0.0.0", 0)).unwrap());
        for socket in [&world, &pod] {
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
        }
        let mut bytes = [0; 8];
        pod.send_to(b"ping", world.local_addr().unwrap()).unwrap();
        let (_, source) = world.recv_from(&mut bytes).expect("the packet arrives");
        world.send_to(b"pong", source).unwrap();
        pod.recv_from(&mut bytes).expect("the answer arrives");
        assert_eq!(&bytes[..4], b"pong");
    }

    /// Waits for no device of the sandbox to lead anywhere; the kernel tells it a moment later.
    #[track_caller]
    pub(crate) fn assert_off_the_wire(&self) {
        let off = |link: &str| {
            ["lo:", "NO-CARRIER", "M-DOWN"]
                .iter()
                .any(|sign| link.contains(sign))
        };
        eventually("the sandbox is off the wire", || {
            self.ip("-o link show").lines().all(off)
        });
    }

    /// A server in the sandbox.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.inside(|| TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.namespace = None;
        if let Err(error) = Namespace::remove(&self.path) {
            eprintln!("{error}");
        }
    }
}

/// Gives the calling thread, and what it starts, a `/run` of its own.
pub(crate) fn own_run_directory() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
}

/// What `ip` prints in the calling thread's namespace.
pub(crate) fn ip(arguments: &str) -> String {
    testing::ip(arguments).unwrap()
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        thread::yield_now();
    }
}
