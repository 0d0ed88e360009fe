//! A real API server in the namespace of a node, and tests that take turns at it.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use eni_core::env::SystemEnvironment;
use eni_kube::{Access, KubeCluster, KubeOptions, connect, crd};
use eni_netlink::testing;
use kube::{
    Client,
    core::{
        Request,
        params::{DeleteParams, GetParams, ListParams, PostParams},
    },
};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use tokio::{
    runtime::Runtime,
    sync::Mutex,
    time::{Instant, sleep},
};

pub const NODES: &str = "/api/v1/nodes";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const NODE_CONFIGS: &str = "/apis/networking.tke.cloud.tencent.com/v1/nodeeniconfigs";

/// The account of what is deployed, as the API server calls it.
pub const ACCOUNT: &str = "system:serviceaccount:kube-system:tke-eni-agent";

/// How long a test waits for what shall become true.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a test works with.
pub struct Bed {
    server: Arc<Mutex<ApiServer>>,
    client: Client,
    /// The cluster as ipamd sees it.
    pub cluster: KubeCluster,
    /// A kubeconfig of the account that is deployed, with its rights.
    pub kubeconfig: PathBuf,
    /// Where the plugins are that cargo built.
    pub plugins: PathBuf,
}

/// A test, and its name.
pub type Case = (&'static str, fn(Arc<Bed>) -> Pin<Box<dyn Future<Output = ()>>>);

/// Runs tests one after the other, apart from the machine's network, each on an API server without objects of ours.
/// To be called first in `main`.
pub fn run(what: &str, cases: Vec<Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // On this thread: the programs that a test starts end with the thread that started them.
    arguments.test_threads = Some(1);
    let server = match arguments.list {
        true => None,
        false => apart(what).and_then(|()| ApiServer::for_tests(what)),
    };
    let ignored = server.is_none() && !arguments.list;
    let shared = server.map(|server| {
        let runtime = Runtime::new().expect("a runtime");
        let bed = runtime.block_on(Bed::new(server));
        (Arc::new(bed), Arc::new(runtime))
    });
    let trial = |(name, case): Case| {
        let shared = shared.clone();
        let trial = Trial::test(name, move || {
            let (bed, runtime) = shared.ok_or("only listed")?;
            runtime.block_on(async {
                bed.clear().await;
                case(bed).await;
            });
            Ok(())
        });
        trial.with_ignored_flag(ignored)
    };
    let trials = cases.into_iter().map(trial).collect();
    drop(shared);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Leaves the machine's network, where that is possible.
fn apart(what: &str) -> Option<()> {
    match testing::isolate() {
        Ok(()) => {
            testing::ip("link set lo up").expect("a loopback");
            Some(())
        }
        Err(obstacle) => {
            let required = std::env::var_os(testing::REQUIRE).is_some_and(|value| value == "1");
            assert!(!required, "{what}: {obstacle}");
            eprintln!("SKIPPED {what}: {obstacle}");
            None
        }
    }
}

impl Bed {
    async fn new(server: ApiServer) -> Self {
        let access = Access {
            kubeconfig: Some(server.administrator().expect("a kubeconfig")),
            master: None,
        };
        let client = connect(&access).await.expect("a client");
        crd::install(client.clone()).await.expect("our kinds");
        let bed = Self {
            kubeconfig: server.kubeconfig(ACCOUNT, &[]).expect("a kubeconfig"),
            server: Arc::new(Mutex::new(server)),
            cluster: KubeCluster::new(
                client.clone(),
                &KubeOptions::new("tke-eni-ipamd"),
                SystemEnvironment::shared(),
            ),
            client,
            plugins: plugins(),
        };
        bed.deploy().await;
        bed
    }

    /// Creates what is deployed; there is no controller here that would start pods of it.
    async fn deploy(&self) {
        let parse = |manifest: &&str| -> Vec<Value> { serde_saphyr::from_multiple(manifest).expect("YAML") };
        for object in deploy::AGENT.iter().flat_map(parse) {
            let path = match object["kind"].as_str().expect("a kind") {
                "ServiceAccount" => "/api/v1/namespaces/kube-system/serviceaccounts",
                "ClusterRole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                "ClusterRoleBinding" => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                "DaemonSet" => "/apis/apps/v1/namespaces/kube-system/daemonsets",
                kind => panic!("where is a {kind}?"),
            };
            self.put(path, object).await;
        }
    }

    /// Does something with the API server itself.
    pub async fn server<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut ApiServer) -> T + Send + 'static,
    ) -> T {
        let server = self.server.clone();
        tokio::task::spawn_blocking(move || act(&mut server.blocking_lock()))
            .await
            .expect("done")
    }

    /// What the agent's account asked of the API server, from the `after`th request on.
    pub async fn asked(&self, after: usize) -> Vec<Value> {
        let audit = self.server(|server| server.audit().expect("an audit log")).await;
        let asked = audit
            .into_iter()
            .filter(|event| event["user"]["username"] == ACCOUNT);
        asked.skip(after).collect()
    }

    async fn clear(&self) {
        let how = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        for path in [NODE_CONFIGS, NODES, PODS] {
            for object in self.list(path).await {
                let name = object["metadata"]["name"].as_str().expect("a name");
                let request = Request::new(path).delete(name, &how).expect("a request");
                self.client
                    .request::<Value>(request)
                    .await
                    .expect("it is deleted");
            }
        }
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        let request = Request::new(path)
            .list(&ListParams::default())
            .expect("a request");
        let list: Value = self.client.request(request).await.expect("a list");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// An object that exists.
    pub async fn find(&self, path: &str, name: &str) -> Value {
        let request = Request::new(path)
            .get(name, &GetParams::default())
            .expect("a request");
        self.client.request(request).await.expect("an object")
    }

    /// Creates an object.
    pub async fn put(&self, path: &str, object: Value) -> Value {
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(path).create(&PostParams::default(), body);
        let created: Result<Value, _> = self.client.request(request.expect("a request")).await;
        created.unwrap_or_else(|error| panic!("{object}: {error}"))
    }
}

/// A node of an instance.
pub fn node(name: &str, instance: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name},
        "spec": {"providerID": format!("qcloud:///100001/{instance}")},
    })
}

/// A pod that is scheduled.
pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    })
}

/// The directory of the plugins, another package's programs, which cargo builds there.
fn plugins() -> PathBuf {
    let agent = Path::new(env!("CARGO_BIN_EXE_tke-eni-agent"));
    let directory = agent.parent().expect("a directory");
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "cni",
            "--bins",
            "--profile",
            profile,
        ])
        .status();
    assert!(built.expect("cargo runs").success(), "the plugins are not built");
    directory.to_owned()
}

/// Waits until a look finds what it wants.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came true: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
