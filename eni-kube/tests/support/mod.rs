//! A real API server with our kinds, and tests that take turns at it.
#![allow(dead_code, reason = "each test program uses its own part of it")]

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc, time::Duration};

use eni_core::env::SystemEnvironment;
use eni_kube::{KubeCluster, KubeOptions, crd};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    core::{Request, params::DeleteParams},
};
use libtest_mimic::{Arguments, Conclusion, Trial};
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;
use tokio::{runtime::Runtime, sync::Mutex, time::sleep};

/// How long a test waits for what shall become true.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test works with.
pub struct Bed {
    /// The API server; tests may restart it.
    pub server: Arc<Mutex<ApiServer>>,
    /// A client that may do everything.
    pub client: Client,
}

/// The future of a test.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A test, and its name.
pub type Case = (&'static str, fn(Arc<Bed>) -> Running);

/// Runs tests one after the other, each on an API server without objects of ours.
pub fn run(what: &str, cases: Vec<Case>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(cases, None)).exit_code();
    }
    let Some(server) = ApiServer::for_tests(what) else {
        let ignored = cases
            .into_iter()
            .map(|(name, _)| Trial::test(name, || Ok(())).with_ignored_flag(true));
        return libtest_mimic::run(&arguments, ignored.collect()).exit_code();
    };
    let runtime = Runtime::new().expect("a runtime");
    let bed = runtime.block_on(Bed::new(server));
    let shared = Some((Arc::new(bed), Arc::new(runtime)));
    // The trials hold the server and go with the run, before this process does.
    let conclusion: Conclusion = libtest_mimic::run(&arguments, trials(cases, shared));
    conclusion.exit_code()
}

fn trials(cases: Vec<Case>, shared: Option<(Arc<Bed>, Arc<Runtime>)>) -> Vec<Trial> {
    let trial = |(name, case): Case| {
        let shared = shared.clone();
        Trial::test(name, move || {
            let (bed, runtime) = shared.ok_or("only listed")?;
            runtime.block_on(async {
                bed.clear().await;
                case(bed).await;
            });
            Ok(())
        })
    };
    cases.into_iter().map(trial).collect()
}

impl Bed {
    async fn new(server: ApiServer) -> Self {
        let client = connect(&server, "administrator", &["system:masters"]).await;
        crd::install(client.clone()).await.expect("our kinds");
        Self {
            server: Arc::new(Mutex::new(server)),
            client,
        }
    }

    /// A client of a user who is in no group.
    pub async fn user(&self, name: &str) -> Client {
        connect(&*self.server.lock().await, name, &[]).await
    }

    /// Another process' cluster.
    pub fn cluster(&self) -> KubeCluster {
        cluster(self.client.clone())
    }

    async fn clear(&self) {
        let ours = [NODE_CONFIGS, ENI_RECORDS, CLAIMS, ADDRESS_RECORDS, CLAIM_DEFAULTS];
        for path in ours.into_iter().chain([NODES, PODS, EVENTS, LEASES]) {
            let list: Value = self.call(Request::new(path).list(&Default::default())).await;
            for object in list["items"].as_array().into_iter().flatten() {
                let name = object["metadata"]["name"].as_str().expect("a name");
                if !object["metadata"]["finalizers"].is_null() {
                    let unmark = |object: &mut Value| object["metadata"]["finalizers"] = Value::Null;
                    // One that was deleted goes with its mark.
                    if self
                        .edit(path, name, unmark)
                        .await
                        .is_ok_and(|left| left["metadata"]["deletionTimestamp"].is_string())
                    {
                        continue;
                    }
                }
                let how = DeleteParams {
                    grace_period_seconds: Some(0),
                    ..DeleteParams::default()
                };
                self.call(Request::new(path).delete(name, &how)).await;
            }
        }
    }

    /// A call that must succeed.
    pub async fn call(&self, request: Result<http::Request<Vec<u8>>, kube::core::request::Error>) -> Value {
        let request = request.expect("a request");
        let uri = request.uri().clone();
        let answer = self.client.request(request).await;
        answer.unwrap_or_else(|error| panic!("{uri}: {error}"))
    }

    /// Writes an object as somebody else does.
    pub async fn put(&self, path: &str, object: &Value) -> Value {
        let body = serde_json::to_vec(object).expect("JSON");
        self.call(Request::new(path).create(&Default::default(), body))
            .await
    }

    /// Changes an object as somebody does by hand.
    pub async fn edit(
        &self,
        path: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value, String> {
        let mut object = self.call(Request::new(path).get(name, &Default::default())).await;
        change(&mut object);
        let body = serde_json::to_vec(&object).expect("JSON");
        let request = Request::new(path).replace(name, &Default::default(), body);
        let answer = self.client.request(request.expect("a request")).await;
        answer.map_err(|error| error.to_string())
    }
}

/// Where objects are.
pub const NODE_CONFIGS: &str = "/apis/networking.tke.cloud.tencent.com/v1/nodeeniconfigs";
/// Where objects are.
pub const ENI_RECORDS: &str = "/apis/networking.tke.cloud.tencent.com/v1/vpcenis";
/// Where objects are.
pub const CLAIMS: &str = "/apis/networking.tke.cloud.tencent.com/v1/namespaces/default/vpcipclaims";
/// Where objects are.
pub const ADDRESS_RECORDS: &str = "/apis/networking.tke.cloud.tencent.com/v1/vpcips";
/// Where objects are.
pub const CLAIM_DEFAULTS: &str = "/apis/networking.tke.cloud.tencent.com/v1/staticipconfigs";
/// Where objects are.
pub const NODES: &str = "/api/v1/nodes";
/// Where objects are.
pub const PODS: &str = "/api/v1/namespaces/default/pods";
/// Where objects are.
pub const EVENTS: &str = "/api/v1/namespaces/default/events";

/// Where objects are.
pub const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// A cluster with an event's repetitions counted every second.
pub fn cluster(client: Client) -> KubeCluster {
    let options = KubeOptions {
        event_window: Duration::from_secs(1),
        ..KubeOptions::new("tests")
    };
    KubeCluster::new(client, &options, SystemEnvironment::shared())
}

async fn connect(server: &ApiServer, user: &str, groups: &[&str]) -> Client {
    let file = server.kubeconfig(user, groups).expect("a kubeconfig");
    let config = Kubeconfig::read_from(file).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

/// Waits until a look at the server finds what it wants.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came true: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// A NodeENIConfig as `kubectl` would write it.
pub fn node_config(name: &str) -> Value {
    json!({
        "apiVersion": "networking.tke.cloud.tencent.com/v1",
        "kind": "NodeENIConfig",
        "metadata": {"name": name},
        "spec": {"instance": "ins-1", "nodeUid": "uid-1", "zone": "zone-1"},
    })
}
