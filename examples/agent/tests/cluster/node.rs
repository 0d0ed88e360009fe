//! The node: this program's own network namespace, with a primary ENI and another one to a router, and sandboxes.

use std::{
    io::Write,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use eni_core::model::{AgentReport, Generation, Mac, NodeConfig, NodePool, NodeSpec, PoolAddress, PoolEni};
use eni_netlink::{namespace::Namespace, testing};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The MAC of the ENI for pods.
const ENI: Mac = Mac([0x20, 0x90, 0x6f, 0, 0, 1]);

/// An address behind the router.
const WORLD: &str = "192.0.2.1";

/// What an answer may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A node without an agent.
pub struct Node {
    /// Its files.
    pub directory: TempDir,
    router: Namespace,
}

/// A sandbox of the pod of the same name.
pub struct Sandbox {
    name: String,
    path: PathBuf,
    namespace: Option<Namespace>,
}

fn ip(arguments: &str) -> String {
    testing::ip(arguments).expect("ip does it")
}

impl Node {
    /// A node as its operating system sets it up, the second ENI's device plugged in.
    pub fn boot() -> Self {
        // What the node before left: its devices end with its router.
        for pref in ["512", "1536"] {
            while testing::ip(&format!("rule delete pref {pref}")).is_ok() {}
        }
        let router = Namespace::anonymous().expect("a namespace");
        let place = router.shared_path();
        ip(&format!(
            "link add name eth0 type veth peer name up0 netns {place}"
        ));
        ip(&format!(
            "link add name eth1 address {ENI} type veth peer name down0 netns {place}"
        ));
        for arguments in [
            "link set lo up".to_owned(),
            format!("address add {WORLD}/32 dev lo"),
            "link set up0 up".to_owned(),
            "link set down0 up".to_owned(),
            "address add 10.0.0.1/24 dev up0".to_owned(),
            "address add 10.0.1.1/24 dev down0".to_owned(),
        ] {
            router.run_in(|| ip(&arguments)).expect("inside");
        }
        // What the cloud does once an address is assigned: its packets come to the ENI's MAC.
        for last in 10..20 {
            let neighbour = format!("neighbour replace 10.0.1.{last} lladdr {ENI} dev down0 nud permanent");
            router.run_in(|| ip(&neighbour)).expect("inside");
        }
        for arguments in [
            "link set eth0 up",
            "address add 10.0.0.2/24 dev eth0",
            "route add default via 10.0.0.1",
        ] {
            ip(arguments);
        }
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["bin", "net.d"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        Self { directory, router }
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The network configuration that its runtime finds.
    pub fn conflist(&self) -> Option<Value> {
        let text = std::fs::read(self.path("net.d/10-tke-route-eni.conflist")).ok()?;
        Some(serde_json::from_slice(&text).expect("it is there whole or not at all"))
    }

    /// A sandbox of a pod.
    pub fn sandbox(&self, name: &str) -> Sandbox {
        let path = self.path(name);
        Sandbox {
            name: name.to_owned(),
            namespace: Some(Namespace::create(&path).expect("a namespace")),
            path,
        }
    }

    /// Executes the installed plugin as the runtime does by the configuration that is installed.
    pub fn cni(&self, command: &str, sandbox: &Sandbox, previous: Option<&Value>) -> Result<Value, String> {
        let list = self.conflist().expect("a configuration");
        let mut conf = list["plugins"][0].clone();
        conf["cniVersion"] = list["cniVersion"].clone();
        conf["name"] = list["name"].clone();
        if let Some(previous) = previous {
            conf["prevResult"] = previous.clone();
        }
        let bin = self.path("bin");
        let pod = format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", sandbox.name);
        let mut child = Command::new(bin.join("tke-route-eni"))
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", format!("c-{}", sandbox.name))
            .env("CNI_NETNS", &sandbox.path)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", bin)
            .env("CNI_ARGS", format!("IgnoreUnknown=1;{pod}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the plugin runs");
        let mut input = child.stdin.take().expect("an input");
        input.write_all(conf.to_string().as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8(output.stdout).expect("text");
        match output.status.success() {
            true if text.is_empty() => Ok(Value::Null),
            true => Ok(serde_json::from_str(&text).expect("JSON")),
            false => Err(text),
        }
    }

    /// A packet of a pod to the world and its answer.
    pub fn assert_connected(&self, sandbox: &Sandbox) {
        let open = |address: &str| UdpSocket::bind((address, 0)).expect("a socket");
        let world = self.router.run_in(|| open(WORLD)).expect("inside");
        let inside = sandbox.namespace.as_ref().expect("it is there");
        let pod = inside.run_in(|| open("0.0.0.0")).expect("inside");
        for socket in [&world, &pod] {
            socket.set_read_timeout(Some(DEADLINE)).expect("set");
        }
        let mut bytes = [0; 4];
        pod.send_to(b"ping", world.local_addr().expect("bound"))
            .expect("sent");
        let (_, source) = world.recv_from(&mut bytes).expect("the packet arrives");
        world.send_to(b"pong", source).expect("sent");
        pod.recv_from(&mut bytes).expect("the answer arrives");
        assert_eq!(&bytes, b"pong");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for device in ["eth0", "eth1"] {
            ip(&format!("link delete {device}"));
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.namespace = None;
        Namespace::remove(Path::new(&self.path)).expect("it was there");
    }
}

/// What ipamd publishes of a node with so many addresses, from 10.0.1.10 on.
pub fn published(name: &str, instance: &str, uid: &Value, addresses: u8) -> NodeConfig {
    let attached = (10..10 + addresses).map(|last| PoolAddress {
        ip: [10, 0, 1, last].into(),
        generation: Generation::from_random(last.into()),
    });
    let eni = PoolEni {
        id: "eni-1".into(),
        mac: ENI,
        subnet: "subnet-1".into(),
        cidr: "10.0.1.0/24".parse().expect("a range"),
        gateway: "10.0.1.1".parse().expect("an address"),
        primary: "10.0.1.2".parse().expect("an address"),
        attached: attached.collect(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    };
    NodeConfig {
        name: name.into(),
        spec: NodeSpec {
            instance: instance.into(),
            node_uid: uid.as_str().expect("a uid").into(),
            zone: "zone-1".into(),
            warm: None,
            limits: None,
        },
        pool: NodePool {
            enis: vec![eni],
            maximum: 9,
            capacity: 9,
            granted: 7,
            by_claim: false,
        },
        agent: AgentReport::default(),
    }
}

/// The one address of a result of ADD.
pub fn address(result: &Value) -> &str {
    assert_eq!(
        result["ips"].as_array().map(Vec::len),
        Some(1),
        "{}",
        json!(result)
    );
    result["ips"][0]["address"].as_str().expect("an address")
}
