//! The webhook beside a real API server, with the rights of its manifest.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request,
        params::{GetParams, PostParams},
    },
};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use tokio::runtime::Runtime;

const NAME: &str = "add-pod-eni-ip-limit-webhook";
const ENI_IP: &str = "tke.cloud.tencent.com/eni-ip";
const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const NAMESPACES: &str = "/api/v1/namespaces";
/// How long a test waits for what shall become true.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is deployed.
const MANIFEST: &str = deploy::WEBHOOK;
/// The account of what is deployed, as the API server calls it.
const ACCOUNT: &str = "system:serviceaccount:tke-eni-ip-webhook:add-pod-eni-ip-limit-webhook";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let bed = match arguments.list {
        true => None,
        false => ApiServer::for_tests("the webhook beside a real API server").map(Bed::new),
    };
    let ignored = bed.is_none() && !arguments.list;
    let bed = std::sync::Arc::new(bed);
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
            "pods_ask_for_an_address_and_are_admitted_also_without_the_webhook",
            pods_ask_for_an_address_and_are_admitted_also_without_the_webhook,
        ),
        trial("a_wrong_flag_says_what_to_do", a_wrong_flag_says_what_to_do),
    ];
    drop(bed);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn pods_ask_for_an_address_and_are_admitted_also_without_the_webhook(bed: &Bed) {
    let first = Webhook::start(bed);
    bed.call_at(first.port);
    bed.eventually("the API server is told what to trust", || bed.trusted().is_some());
    bed.eventually("a new pod asks for an address", || {
        bed.create_pod("plain", json!({})).as_ref() == Some(&json!("1"))
    });
    let other = json!({"annotations": {"tke.cloud.tencent.com/networks": "tke-bridge"}});
    assert_eq!(bed.create_pod("other", other), None, "it is in another network");
    let left_out = bed.dry_run("tke-eni-ip-webhook", "own", json!({}));
    assert_eq!(left_out, None, "its namespace is left out");

    // A second replica has the same certificate: the API server goes on trusting the first one.
    let trusted = bed.trusted();
    let second = Webhook::start(bed);
    bed.call_at(second.port);
    bed.eventually("the second replica serves, too", || {
        bed.create_pod("second", json!({})).as_ref() == Some(&json!("1"))
    });
    assert_eq!(bed.trusted(), trusted);

    // Who applies the manifest again takes the trust away; it comes back.
    bed.distrust();
    bed.eventually("the API server trusts it again", || bed.trusted() == trusted);

    drop((first, second));
    bed.eventually("a pod is admitted as it is", || {
        bed.create_pod("alone", json!({})).is_none()
    });
    let audit = bed.server.audit().expect("an audit log");
    let refused = |event: &&Value| {
        event["responseStatus"]["code"] == 403 && event["user"]["username"].as_str() == Some(ACCOUNT)
    };
    let refused: Vec<_> = audit.iter().filter(refused).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let asked = audit
        .iter()
        .filter(|event| event["user"]["username"].as_str() == Some(ACCOUNT));
    assert!(asked.count() > 0, "it asked the API server under its own account");
}

fn a_wrong_flag_says_what_to_do(_: &Bed) {
    let output = Command::new(env!("CARGO_BIN_EXE_tke-eni-webhook"))
        .args(["--kubeconfig=/nowhere", "--listen=127.0.0.1:0"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("--kubeconfig") && said.contains("/nowhere"),
        "{said}"
    );
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
        let kubeconfig = server.kubeconfig(ACCOUNT, &[]).expect("a kubeconfig");
        let bed = Self {
            server,
            runtime,
            client,
            kubeconfig,
        };
        bed.deploy();
        bed
    }

    /// Creates what is deployed, but for what needs a controller or a node.
    fn deploy(&self) {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        let objects: Vec<Value> = serde_saphyr::from_multiple(MANIFEST).expect("YAML");
        for object in objects {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            let path = match object["kind"].as_str().expect("a kind") {
                "Namespace" => NAMESPACES.to_owned(),
                "ServiceAccount" => format!("{NAMESPACES}/{namespace}/serviceaccounts"),
                "Service" => format!("{NAMESPACES}/{namespace}/services"),
                "Deployment" => format!("/apis/apps/v1/namespaces/{namespace}/deployments"),
                "ClusterRole" => format!("{rbac}/clusterroles"),
                "ClusterRoleBinding" => format!("{rbac}/clusterrolebindings"),
                "Role" => format!("{rbac}/namespaces/{namespace}/roles"),
                "RoleBinding" => format!("{rbac}/namespaces/{namespace}/rolebindings"),
                "MutatingWebhookConfiguration" => CONFIGURATIONS.to_owned(),
                kind => panic!("where is a {kind}?"),
            };
            self.create(&path, &object);
        }
    }

    fn create(&self, path: &str, object: &Value) -> Value {
        let body = serde_json::to_vec(object).expect("JSON");
        let request = Request::new(path).create(&PostParams::default(), body);
        let created = self
            .runtime
            .block_on(self.client.request(request.expect("a request")));
        created.unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    /// Has the API server call this port; a Service needs a network that is not here.
    fn call_at(&self, port: u16) {
        self.edit(|webhook| {
            let trusted = webhook["clientConfig"]["caBundle"].clone();
            let url = format!("https://127.0.0.1:{port}/add-pod-eni-ip-limit");
            webhook["clientConfig"] = json!({"url": url, "caBundle": trusted});
        });
    }

    fn distrust(&self) {
        self.edit(|webhook| webhook["clientConfig"]["caBundle"] = Value::Null);
    }

    fn edit(&self, change: impl Fn(&mut Value)) {
        self.eventually("the configuration is changed", || {
            let mut configuration = self.configuration();
            change(&mut configuration["webhooks"][0]);
            let body = serde_json::to_vec(&configuration).expect("JSON");
            let request = Request::new(CONFIGURATIONS).replace(NAME, &PostParams::default(), body);
            let request = self.client.request::<Value>(request.expect("a request"));
            // The webhook may have changed it meanwhile.
            self.runtime.block_on(request).is_ok()
        });
    }

    fn configuration(&self) -> Value {
        let request = Request::new(CONFIGURATIONS).get(NAME, &GetParams::default());
        let found = self
            .runtime
            .block_on(self.client.request(request.expect("a request")));
        found.expect("a configuration")
    }

    /// What the API server trusts, if anything.
    fn trusted(&self) -> Option<String> {
        let configuration = self.configuration();
        let trusted = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str();
        trusted.filter(|pem| !pem.is_empty()).map(str::to_owned)
    }

    /// How many addresses a new pod asks for. It is not kept.
    fn create_pod(&self, name: &str, metadata: Value) -> Option<Value> {
        self.dry_run("default", name, metadata)
    }

    fn dry_run(&self, namespace: &str, name: &str, mut metadata: Value) -> Option<Value> {
        metadata["name"] = json!(name);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {
                "containers": [{"name": "c", "image": "i"}],
                // There is no controller here that would make it.
                "automountServiceAccountToken": false,
            },
        });
        let how = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let body = serde_json::to_vec(&pod).expect("JSON");
        let request = Request::new(format!("{NAMESPACES}/{namespace}/pods")).create(&how, body);
        let created = self
            .runtime
            .block_on(self.client.request(request.expect("a request")));
        let created: Value = created.unwrap_or_else(|error| panic!("{pod}: {error}"));
        let resources = &created["spec"]["containers"][0]["resources"];
        assert_eq!(resources["limits"].get(ENI_IP), resources["requests"].get(ENI_IP));
        resources["limits"].get(ENI_IP).cloned()
    }

    fn eventually(&self, what: &str, mut look: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !look() {
            assert!(begun.elapsed() < PATIENCE, "it never came true: {what}");
            sleep(Duration::from_millis(100));
        }
    }
}

/// A process of the webhook, which ends with it.
struct Webhook {
    process: Child,
    port: u16,
    log: PathBuf,
    directory: tempfile::TempDir,
}

impl Webhook {
    fn start(bed: &Bed) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let port = free_port();
        let process = Command::new(env!("CARGO_BIN_EXE_tke-eni-webhook"))
            .arg(format!("--kubeconfig={}", bed.kubeconfig.display()))
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(["--server-name=127.0.0.1", "--log-level=debug"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("it starts");
        let webhook = Self {
            process,
            port,
            log,
            directory,
        };
        bed.eventually("it serves", || said(&webhook.log).contains("the webhook serves"));
        webhook
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it has ended");
        if std::thread::panicking() {
            eprintln!("{}:\n{}", self.directory.path().display(), said(&self.log));
        }
    }
}

fn said(log: &Path) -> String {
    fs::read_to_string(log).expect("a log")
}

fn free_port() -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(address).expect("a port");
    listener.local_addr().expect("an address").port()
}
