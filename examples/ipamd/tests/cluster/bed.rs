//! A real API server, and tests that take turns at it.

use std::{future::Future, path::PathBuf, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{
        Request,
        params::{DeleteParams, GetParams, ListParams, PostParams},
    },
};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::kubernetes::ApiServer;
use tokio::{
    runtime::Runtime,
    sync::Mutex,
    time::{Instant, sleep},
};

pub const NODES: &str = "/api/v1/nodes";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const EVENTS: &str = "/api/v1/namespaces/default/events";
pub const NODE_CONFIGS: &str = "/apis/networking.tke.cloud.tencent.com/v1/nodeeniconfigs";
pub const RECORDS: &str = "/apis/networking.tke.cloud.tencent.com/v1/vpcenis";
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

/// The account of what is deployed, as the API server calls it.
const ACCOUNT: &str = "system:serviceaccount:kube-system:tke-eni-ipamd";

/// How long a test waits for what shall become true.
const PATIENCE: Duration = Duration::from_secs(90);

/// A VPC with the instances `ins-1` and `ins-2`.
const VPC: &str = r#"{
    "subnets": [{"id": "subnet-a", "zone": "zone-1", "cidr": "10.1.0.0/24"}],
    "instances": [
        {"id": "ins-1", "subnet": "subnet-a", "enis": 4, "addressesPerEni": 10},
        {"id": "ins-2", "subnet": "subnet-a", "enis": 4, "addressesPerEni": 10}
    ]
}"#;

/// What a test works with.
pub struct Bed {
    server: Arc<Mutex<ApiServer>>,
    client: Client,
    /// A kubeconfig of the account that is deployed, with its rights.
    pub kubeconfig: PathBuf,
    /// For the files of a run; the VPC is there.
    pub directory: TempDir,
}

/// What takes minutes, and is run when it is asked for: `-- --ignored`.
const LONG: [&str; 1] = ["two_thousand_nodes_and_ten_thousand_pods_come_to_rest"];

/// A test, and its name.
pub type Case = (&'static str, fn(Arc<Bed>) -> Pin<Box<dyn Future<Output = ()>>>);

/// Runs tests one after the other, each on an API server without objects of ours.
pub fn run(what: &str, cases: Vec<Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // On this thread: the programs that a test starts end with the thread that started them.
    arguments.test_threads = Some(1);
    let server = match arguments.list {
        true => None,
        false => ApiServer::for_tests(what),
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
        trial.with_ignored_flag(ignored || LONG.contains(&name))
    };
    let trials = cases.into_iter().map(trial).collect();
    drop(shared);
    libtest_mimic::run(&arguments, trials).exit_code()
}

impl Bed {
    async fn new(server: ApiServer) -> Self {
        let administrator = server.administrator().expect("a kubeconfig");
        let config = Kubeconfig::read_from(administrator).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("vpc.json"), VPC).expect("a file");
        let bed = Self {
            kubeconfig: server.kubeconfig(ACCOUNT, &[]).expect("a kubeconfig"),
            server: Arc::new(Mutex::new(server)),
            client: Client::try_from(config.expect("a configuration")).expect("a client"),
            directory,
        };
        bed.deploy().await;
        bed
    }

    /// Creates what is deployed; there is no controller here that would start pods of it.
    async fn deploy(&self) {
        let parse = |manifest: &&str| -> Vec<Value> { serde_saphyr::from_multiple(manifest).expect("YAML") };
        for object in deploy::IPAMD.iter().flat_map(parse) {
            let kind = object["kind"].as_str().expect("a kind");
            let path = match kind {
                "ServiceAccount" => "/api/v1/namespaces/kube-system/serviceaccounts",
                "ConfigMap" => "/api/v1/namespaces/kube-system/configmaps",
                "ClusterRole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                "ClusterRoleBinding" => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
                "Role" => "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles",
                "RoleBinding" => "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings",
                "Deployment" => "/apis/apps/v1/namespaces/kube-system/deployments",
                _ => panic!("where is a {kind}?"),
            };
            self.put(path, object).await;
        }
    }

    /// Does something to the API server itself.
    pub async fn server<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut ApiServer) -> T + Send + 'static,
    ) -> T {
        let server = self.server.clone();
        tokio::task::spawn_blocking(move || act(&mut server.blocking_lock()))
            .await
            .expect("done")
    }

    /// What ipamd's account asked of the API server, all tests so far together.
    pub async fn asked(&self) -> Vec<Value> {
        let audit = self.server(|server| server.audit().expect("an audit log")).await;
        let asked = audit
            .into_iter()
            .filter(|event| event["user"]["username"] == ACCOUNT);
        asked.collect()
    }

    async fn clear(&self) {
        let how = DeleteParams {
            grace_period_seconds: Some(0),
            ..DeleteParams::default()
        };
        for path in [NODE_CONFIGS, RECORDS, NODES, PODS, EVENTS, LEASES] {
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

    /// The objects of a kind; none if the kind is not defined.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let request = Request::new(path)
            .list(&ListParams::default())
            .expect("a request");
        let found: Result<Value, _> = self.client.request(request).await;
        match found {
            Ok(list) => list["items"].as_array().cloned().unwrap_or_default(),
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// An object, if it exists.
    pub async fn find(&self, path: &str, name: &str) -> Option<Value> {
        let request = Request::new(path)
            .get(name, &GetParams::default())
            .expect("a request");
        match self.client.request(request).await {
            Ok(found) => Some(found),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{path}/{name}: {error}"),
        }
    }

    /// Creates an object.
    pub async fn put(&self, path: &str, object: Value) {
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(path).create(&PostParams::default(), body);
        let created: Result<Value, _> = self.client.request(request.expect("a request")).await;
        created.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// Changes an object as somebody does by hand; fails if it changed meanwhile.
    pub async fn edit(&self, path: &str, name: &str, change: impl FnOnce(&mut Value)) -> kube::Result<Value> {
        let mut object = self.find(path, name).await.expect("an object");
        change(&mut object);
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(path).replace(name, &PostParams::default(), body);
        self.client.request(request.expect("a request")).await
    }

    /// Changes the status of a node as its kubelet does.
    pub async fn edit_status(&self, node: &str, change: impl FnOnce(&mut Value)) -> kube::Result<Value> {
        let mut object = self.find(NODES, node).await.expect("a node");
        change(&mut object);
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(NODES).replace_subresource("status", node, &PostParams::default(), body);
        self.client.request(request.expect("a request")).await
    }
}

/// A node of the instance with its number.
pub fn node(name: &str) -> Value {
    let number = name.rsplit('-').next().expect("a number");
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "zone-1"}},
        "spec": {"providerID": format!("qcloud:///100001/ins-{number}")},
    })
}

/// A pod that is scheduled.
pub fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    })
}

/// Waits until a look finds what it wants.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came true: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}
