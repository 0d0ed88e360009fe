//! The extender beside a real API server, with the rights of its manifest. There is no scheduler here: the tests ask as
//! one does.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request,
        params::{DeleteParams, ListParams, PostParams},
    },
};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use tokio::runtime::Runtime;

/// The account of what is deployed, as the API server calls it.
const ACCOUNT: &str = "system:serviceaccount:kube-system:tke-eni-ip-scheduler";
const NODES: &str = "/api/v1/nodes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIGS: &str = "/apis/networking.tke.cloud.tencent.com/v1/nodeeniconfigs";

/// How long a test waits for what shall become true.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let bed = match arguments.list {
        true => None,
        false => ApiServer::for_tests("the extender beside a real API server").map(Bed::new),
    };
    let ignored = bed.is_none() && !arguments.list;
    let bed = Arc::new(bed);
    let trial = |name, case: fn(&Bed)| {
        let bed = bed.clone();
        let run = move || {
            case(Option::as_ref(&bed).ok_or("only listed")?);
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    let trials = vec![
        trial(
            "of_sixty_pods_bound_at_once_forty_five_find_room_and_the_next_takes_what_is_freed",
            sixty_pods_and_forty_five_addresses,
        ),
        trial(
            "only_one_replica_answers_and_another_takes_over",
            another_takes_over,
        ),
        trial(
            "what_is_no_request_is_refused_with_the_reason",
            what_is_no_request,
        ),
    ];
    drop(bed);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn sixty_pods_and_forty_five_addresses(bed: &Bed) {
    let nodes: Vec<String> = (1..=3).map(|number| format!("node-{number}")).collect();
    for node in &nodes {
        bed.node(node, 15);
    }
    let extender = Extender::start(bed);
    extender.is_ready();
    let pods: Vec<Value> = (0..60).map(|number| bed.pod(&format!("pod-{number}"))).collect();
    let filtered = extender
        .post(
            "/filter",
            &json!({"Pod": pods[0], "NodeNames": ["node-1", "node-9"]}),
        )
        .1;
    assert_eq!(filtered["NodeNames"], json!(["node-1"]));
    let unknown = &filtered["FailedAndUnresolvableNodes"]["node-9"];
    assert_eq!(unknown, "[ip-scheduler] InsufficientIPOrENI (no NodeENIConfig)");

    // A scheduler that knows nothing of addresses spreads them evenly, and binds them all at the same time.
    let bound: Vec<bool> = thread::scope(|scope| {
        let bindings = pods.iter().enumerate().map(|(number, pod)| {
            let node = &nodes[number % 3];
            let extender = &extender;
            scope.spawn(move || extender.bind(pod, node).is_empty())
        });
        let bindings: Vec<_> = bindings.collect();
        bindings
            .into_iter()
            .map(|binding| binding.join().expect("it was answered"))
            .collect()
    });
    assert_eq!(bound.iter().filter(|bound| **bound).count(), 45);
    for node in &nodes {
        assert_eq!(bed.on(node).len(), 15, "{node}");
    }
    let left = bound
        .iter()
        .position(|bound| !bound)
        .expect("fifteen have no node");
    let again = extender.bind(&pods[left], "node-1");
    assert_eq!(again, "[ip-scheduler] InsufficientIPOrENI (subnet-a)");
    let filtered = extender
        .post("/filter", &json!({"Pod": pods[left], "NodeNames": nodes}))
        .1;
    assert_eq!(filtered["NodeNames"], json!([]));
    assert_eq!(filtered["FailedNodes"]["node-2"], again);

    // Evicting helps where there is somebody to evict.
    let victim = bed.on("node-2").into_iter().next().expect("a pod");
    let victims = json!({
        "node-1": {"Pods": [], "NumPDBViolations": 0},
        "node-2": {"Pods": [{"UID": victim.1}], "NumPDBViolations": 0},
    });
    let asked = json!({"Pod": pods[left], "NodeNameToMetaVictims": victims});
    let preempted = extender.post("/preempt", &asked).1;
    assert_eq!(
        preempted["NodeNameToMetaVictims"],
        json!({"node-2": victims["node-2"]})
    );

    bed.delete(PODS, &victim.0);
    eventually("the room of a pod that is gone is found", || {
        extender.bind(&pods[left], "node-2").is_empty()
    });
    // Whoever asks again, as after a lost answer, is told the same; and nobody moves a pod.
    assert_eq!(extender.bind(&pods[left], "node-2"), "");
    assert_eq!(
        extender.bind(&pods[left], "node-1"),
        "it is bound to node-2 already"
    );
    let mut former = pods[left].clone();
    former["metadata"]["uid"] = json!("another");
    assert!(
        extender
            .bind(&former, "node-2")
            .contains("does not exist any more")
    );

    let metrics = extender.get("/metrics").1;
    assert!(metrics.contains("ip_scheduler_pods 45\n"), "{metrics}");
    assert!(
        metrics.contains("ip_scheduler_requests_total{verb=\"bind\",outcome=\"no_room\"}"),
        "{metrics}"
    );
    extender.terminate();
    bed.nobody_was_refused();
}

fn another_takes_over(bed: &Bed) {
    let first = Extender::start(bed);
    first.is_ready();
    let second = Extender::start(bed);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(second.get("/readyz").0, 503);
    let asked = json!({"Pod": bed.pod("asked"), "NodeNames": ["node-1"]});
    assert_eq!(second.post("/filter", &asked).0, 503);
    assert_eq!(first.post("/filter", &asked).0, 200);
    first.terminate();
    second.is_ready();
    assert_eq!(second.post("/filter", &asked).0, 200);
    second.terminate();
}

fn what_is_no_request(bed: &Bed) {
    let extender = Extender::start(bed);
    extender.is_ready();
    for path in ["/filter", "/prioritize", "/preempt", "/bind"] {
        let (status, answer) = extender.send("POST", path, "{\"Pod\": 1}");
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer.contains("extender protocol v1"), "{path}: {answer}");
    }
}

/// What a test works with.
struct Bed {
    server: ApiServer,
    runtime: Runtime,
    client: Client,
    kubeconfig: PathBuf,
}

impl Bed {
    fn new(server: ApiServer) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let administrator = server.administrator().expect("a kubeconfig");
        let client = runtime.block_on(async {
            let config = Kubeconfig::read_from(&administrator).expect("a kubeconfig");
            let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
            Client::try_from(config.expect("a configuration")).expect("a client")
        });
        runtime
            .block_on(eni_kube::crd::install(client.clone()))
            .expect("our kinds");
        let bed = Self {
            kubeconfig: server.kubeconfig(ACCOUNT, &[]).expect("a kubeconfig"),
            server,
            runtime,
            client,
        };
        let documents = deploy::IP_SCHEDULER
            .iter()
            .flat_map(|manifest| serde_saphyr::from_multiple::<Value>(manifest).expect("YAML"));
        for object in documents {
            let rbac = "/apis/rbac.authorization.k8s.io/v1";
            let path = match object["kind"].as_str().expect("a kind") {
                "ServiceAccount" => "/api/v1/namespaces/kube-system/serviceaccounts".to_owned(),
                "Service" => "/api/v1/namespaces/kube-system/services".to_owned(),
                "Deployment" => "/apis/apps/v1/namespaces/kube-system/deployments".to_owned(),
                "ClusterRole" => format!("{rbac}/clusterroles"),
                "ClusterRoleBinding" => format!("{rbac}/clusterrolebindings"),
                "Role" => format!("{rbac}/namespaces/kube-system/roles"),
                "RoleBinding" => format!("{rbac}/namespaces/kube-system/rolebindings"),
                kind => panic!("where is a {kind}?"),
            };
            bed.create(&path, &object);
        }
        bed
    }

    fn create(&self, path: &str, object: &Value) -> Value {
        let body = serde_json::to_vec(object).expect("JSON");
        let request = Request::new(path).create(&PostParams::default(), body);
        let created = self
            .runtime
            .block_on(self.client.request(request.expect("a request")));
        created.unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    fn delete(&self, path: &str, name: &str) {
        let how = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        let request = Request::new(path).delete(name, &how).expect("a request");
        let deleted: Result<Value, _> = self.runtime.block_on(self.client.request(request));
        deleted.expect("it is deleted");
    }

    /// A node that was granted so many addresses.
    fn node(&self, name: &str, granted: u32) {
        self.create(
            NODES,
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}),
        );
        let eni = json!({
            "id": format!("eni-{name}"), "mac": "02:00:00:00:00:01", "subnet": "subnet-a", "subnetCIDR": "10.1.0.0/24",
            "gateway": "10.1.0.1", "primary": "10.1.0.2", "attached": [],
        });
        let config = json!({
            "apiVersion": "networking.tke.cloud.tencent.com/v1", "kind": "NodeENIConfig", "metadata": {"name": name},
            "spec": {
                "instance": format!("ins-{name}"), "nodeUid": "uid", "zone": "zone-1",
                "limits": {"enis": 4, "addressesPerEni": 10},
            },
            "status": {"eniInfos": [eni], "maximum": 30, "capacity": 27, "granted": granted},
        });
        self.create(CONFIGS, &config);
    }

    /// A pod without a node.
    fn pod(&self, name: &str) -> Value {
        self.create(
            PODS,
            &json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {
                    "containers": [{"name": "c", "image": "i"}],
                    // There is no controller here that would make it.
                    "automountServiceAccountToken": false,
                },
            }),
        )
    }

    /// Names and uids of the pods on a node.
    fn on(&self, node: &str) -> BTreeSet<(String, String)> {
        let request = Request::new(PODS)
            .list(&ListParams::default())
            .expect("a request");
        let list: Value = self
            .runtime
            .block_on(self.client.request(request))
            .expect("a list");
        let pods = list["items"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        pods.filter(|pod| pod["spec"]["nodeName"] == node)
            .map(|pod| (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"])))
            .collect()
    }

    fn nobody_was_refused(&self) {
        let audit = self.server.audit().expect("an audit log");
        let ours = || audit.iter().filter(|event| event["user"]["username"] == ACCOUNT);
        let refused: Vec<_> = ours()
            .filter(|event| event["responseStatus"]["code"] == 403)
            .collect();
        assert!(refused.is_empty(), "{refused:?}");
        assert!(
            ours().count() > 0,
            "it asked the API server under its own account"
        );
    }
}

/// A running extender; it ends with its handle, and with the thread that started it.
struct Extender {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Extender {
    fn start(bed: &Bed) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.expect("a port");
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let output = fs::File::create(&log).expect("a log");
        let child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "--",
                env!("CARGO_BIN_EXE_tke-eni-ip-scheduler"),
            ])
            .arg(format!("--kubeconfig={}", bed.kubeconfig.display()))
            .arg(format!("--listen={address}"))
            .arg("--http-timeout=5s")
            .env_remove("TKE_ENI_LOG_LEVEL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn();
        let extender = Self {
            child: child.expect("setpriv of util-linux starts it"),
            address,
            log,
            _directory: directory,
        };
        eventually("it listens", || TcpStream::connect(address).is_ok());
        extender
    }

    fn is_ready(&self) {
        eventually("it answers", || self.get("/readyz").0 == 200);
    }

    /// Ends it as Kubernetes does.
    fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill");
        assert!(sent.success());
        assert!(self.child.wait().expect("it ends").success(), "{}", self.said());
    }

    /// Why a pod was not bound; empty if it was.
    fn bind(&self, pod: &Value, node: &str) -> String {
        let meta = &pod["metadata"];
        let binding = json!({
            "PodName": meta["name"], "PodNamespace": "default", "PodUID": meta["uid"], "Node": node,
        });
        let (status, answer) = self.post("/bind", &binding);
        assert_eq!(status, 200, "{answer}");
        answer["Error"].as_str().expect("an outcome").to_owned()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = self.send("POST", path, &body.to_string());
        (status, serde_json::from_str(&answer).unwrap_or_default())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.send("GET", path, "")
    }

    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: extender\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Extender {
    fn drop(&mut self) {
        // Fails only if it has ended.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("{error}");
        }
        if thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

fn eventually(what: &str, mut look: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !look() {
        assert!(begun.elapsed() < PATIENCE, "it never came true: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}
