//! The commands on a real API server, beside an ipamd with a cloud in its memory. There are no kubelets and agents:
//! nodes and pods are objects.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser;
use enictl::{
    command::{self, Report},
    error::Error,
    options::Options,
};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request,
        params::{GetParams, Patch, PatchParams, PostParams},
    },
};
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use tokio::time::{Instant, sleep};

const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// How long the test waits for what shall become true.
const PATIENCE: Duration = Duration::from_secs(90);

const VPC: &str = r#"{
    "subnets": [{"id": "subnet-a", "zone": "zone-1", "cidr": "10.1.0.0/24"}],
    "instances": [
        {"id": "ins-1", "subnet": "subnet-a", "enis": 4, "addressesPerEni": 10},
        {"id": "ins-2", "subnet": "subnet-a", "enis": 4, "addressesPerEni": 10}
    ]
}"#;

struct Bed {
    client: Client,
    kubeconfig: PathBuf,
}

impl Bed {
    async fn new(server: &ApiServer) -> Self {
        let kubeconfig = server.administrator().expect("a kubeconfig");
        let file = Kubeconfig::read_from(&kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        Self {
            client: Client::try_from(config.expect("a configuration")).expect("a client"),
            kubeconfig,
        }
    }

    async fn put(&self, path: &str, object: Value) {
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(path).create(&PostParams::default(), body);
        let created: Result<Value, _> = self.client.request(request.expect("a request")).await;
        created.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Waits for what the API server makes itself.
    async fn eventually_there(&self, path: &str, name: &str) {
        let begun = Instant::now();
        loop {
            let request = Request::new(path).get(name, &GetParams::default());
            let found: Result<Value, _> = self.client.request(request.expect("a request")).await;
            match found {
                Ok(_) => return,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{path}/{name}: {error}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn node(&self, number: u32, zone: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": format!("node-{number}"), "labels": {"topology.kubernetes.io/zone": zone}},
            "spec": {"providerID": format!("qcloud:///100001/ins-{number}")},
        });
        self.put(NODES, node).await;
    }

    async fn pod(&self, name: &str, node: Option<&str>) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        });
        self.put(PODS, pod).await;
    }

    /// Tells a pod's address as its kubelet does.
    async fn runs(&self, pod: &str, ip: &str) {
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        let patch = Patch::Merge(status);
        let request = Request::new(PODS).patch_subresource("status", pod, &PatchParams::default(), &patch);
        let patched: Result<Value, _> = self.client.request(request.expect("a request")).await;
        patched.expect("it is told");
    }

    async fn run(&self, arguments: &[&str]) -> Result<Report, Error> {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let all = ["enictl", &kubeconfig]
            .into_iter()
            .chain(arguments.iter().copied());
        command::run(&Options::try_parse_from(all).expect("options")).await
    }

    async fn rows(&self, command: &str) -> Vec<Value> {
        let report = self.run(&[command, "--output=json"]).await.expect("an answer");
        assert_eq!(report.code, 0);
        serde_json::from_str(&report.text).expect("JSON")
    }

    /// Waits until a command's rows are as wanted.
    async fn eventually(&self, command: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let rows = self.rows(command).await;
            if wanted(&rows) {
                return rows;
            }
            assert!(begun.elapsed() < PATIENCE, "{command}: {rows:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The cause that is told, and whether it is one.
    async fn why(&self, pod: &str) -> (String, u8) {
        let report = self.run(&["why", pod, "-o", "json"]).await.expect("an answer");
        let answer: Value = serde_json::from_str(&report.text).expect("JSON");
        (
            answer["why"]["cause"].as_str().expect("a cause").to_owned(),
            report.code,
        )
    }
}

/// ipamd, until the runtime ends.
fn ipamd(kubeconfig: &Path, vpc: &Path) {
    let arguments = [
        "tke-eni-ipamd".to_owned(),
        "--clusterid=cls-test".to_owned(),
        "--subnets=subnet-a".to_owned(),
        "--cloud=memory".to_owned(),
        format!("--memory-cloud={}", vpc.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--health-address=127.0.0.1:0".to_owned(),
    ];
    let options = ipamd::options::Options::read(arguments).expect("options");
    tokio::spawn(async move {
        let ended = ipamd::program::run(options, std::future::pending()).await;
        panic!("ipamd has ended: {ended:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_ipamd_did_and_why_a_pod_waits() {
    let Some(server) = ApiServer::for_tests("enictl on a real API server") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let vpc = directory.path().join("vpc.json");
    std::fs::write(&vpc, VPC).expect("a file");
    let bed = Bed::new(&server).await;
    bed.eventually_there("/api/v1/namespaces", "default").await;
    bed.node(1, "zone-1").await;
    let error = bed.run(&["nodes"]).await.unwrap_err();
    assert!(matches!(error, Error::Undefined(_)), "{error}");
    bed.pod("web", Some("node-1")).await;
    assert_eq!(bed.why("default/web").await.0, "noPool", "ipamd does not run yet");

    ipamd(&bed.kubeconfig, &vpc);
    sleep_until_defined(&bed).await;
    let nodes = bed
        .eventually("nodes", |rows| rows[0]["pool"]["bound"] == 6)
        .await;
    assert_eq!(nodes[0]["instance"], "ins-1");
    assert_eq!(nodes[0]["zone"], "zone-1");
    assert_eq!(nodes[0]["pool"]["enis"], 1);
    assert_eq!(nodes[0]["pool"]["idle"], 6);
    let enis = bed
        .eventually("enis", |rows| rows.len() == 1 && rows[0]["state"] == "InService")
        .await;
    assert_eq!(enis[0]["node"], "node-1");
    assert_eq!(enis[0]["addresses"], 6);

    let (cause, code) = bed.why("default/web").await;
    assert_eq!(
        (cause.as_str(), code),
        ("noAgent", 1),
        "there are addresses, and nobody to give them"
    );
    let addresses = bed.rows("addresses").await;
    assert!(
        addresses.iter().all(|row| row["state"] == "Idle"),
        "{addresses:?}"
    );
    let ip = addresses[0]["ip"].as_str().expect("an address");
    bed.runs("web", ip).await;
    let addresses = bed.rows("addresses").await;
    let used: Vec<&Value> = addresses.iter().filter(|row| row["state"] == "Used").collect();
    assert_eq!(used.len(), 1);
    assert_eq!(
        (&used[0]["pod"], &used[0]["ip"]),
        (&json!("default/web"), &json!(ip))
    );
    assert_eq!(bed.rows("nodes").await[0]["pool"]["used"], 1);
    assert_eq!(bed.why("default/web").await, ("hasAddress".to_owned(), 0));

    // No subnet is in this zone.
    bed.node(2, "zone-2").await;
    bed.pod("far", Some("node-2")).await;
    let begun = Instant::now();
    while bed.why("default/far").await.0 != "obstacle" {
        assert!(begun.elapsed() < PATIENCE, "{:?}", bed.why("default/far").await);
        sleep(Duration::from_millis(100)).await;
    }
    let told = bed.run(&["why", "default/far"]).await.expect("an answer").text;
    assert!(
        told.contains("SubnetExhausted") && told.contains("zone-2"),
        "{told}"
    );

    bed.pod("nowhere", None).await;
    assert_eq!(bed.why("default/nowhere").await.0, "notScheduled");
    assert_eq!(bed.why("default/nobody").await.0, "noPod");
    let table = bed.run(&["nodes"]).await.expect("an answer").text;
    let words: Vec<&str> = table.lines().next().expect("titles").split_whitespace().collect();
    assert_eq!(words[..3], ["NAME", "INSTANCE", "ZONE"]);
    assert_eq!(table.lines().count(), 3, "{table}");
}

async fn sleep_until_defined(bed: &Bed) {
    let begun = Instant::now();
    while let Err(error) = bed.run(&["nodes"]).await {
        assert!(begun.elapsed() < PATIENCE, "{error}");
        sleep(Duration::from_millis(100)).await;
    }
}
