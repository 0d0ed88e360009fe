//! The list of sandboxes over CRI keeps its contract, against a runtime's server on a real socket.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use agent::{
    proto::runtime::{
        ListPodSandboxRequest, ListPodSandboxResponse, PodSandbox, PodSandboxMetadata, PodSandboxState,
        runtime_service_server::{RuntimeService, RuntimeServiceServer},
    },
    runtime::{CriSandboxes, RuntimeEndpoint},
};
use async_trait::async_trait;
use eni_core::{contract::sandboxes::SandboxesHarness, model::PodKey, sandbox::Sandboxes};
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinSet};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// Long enough for a busy machine; what must run out sets its own.
const DEADLINE: Duration = Duration::from_secs(10);

/// How the runtime answers.
#[derive(Clone, Copy, Default)]
enum Mood {
    #[default]
    Well,
    Broken,
    Silent,
}

#[derive(Clone, Default)]
struct Runtime {
    sandboxes: Arc<Mutex<BTreeMap<String, PodSandbox>>>,
    mood: Arc<Mutex<Mood>>,
}

#[async_trait]
impl RuntimeService for Runtime {
    async fn list_pod_sandbox(
        &self,
        _: Request<ListPodSandboxRequest>,
    ) -> Result<Response<ListPodSandboxResponse>, Status> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => {}
            Mood::Broken => return Err(Status::unavailable("the metadata store is closed")),
            Mood::Silent => std::future::pending().await,
        }
        let items = self.sandboxes.lock().unwrap().values().cloned().collect();
        Ok(Response::new(ListPodSandboxResponse { items }))
    }
}

struct Harness {
    runtime: Runtime,
    socket: PathBuf,
    _directory: TempDir,
    server: JoinSet<()>,
}

impl Harness {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("runtime.sock");
        let (runtime, mut server) = (Runtime::default(), JoinSet::new());
        let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
        let service = RuntimeServiceServer::new(runtime.clone());
        server.spawn(async move {
            let router = Server::builder().add_service(service);
            router.serve_with_incoming(listener).await.unwrap();
        });
        Self {
            runtime,
            socket,
            _directory: directory,
            server,
        }
    }

    fn within(&self, deadline: Duration) -> CriSandboxes {
        let endpoint: RuntimeEndpoint = self.socket.to_str().unwrap().parse().unwrap();
        CriSandboxes::new(endpoint, deadline)
    }

    fn set(&self, mood: Mood) {
        *self.runtime.mood.lock().unwrap() = mood;
    }
}

#[async_trait]
impl SandboxesHarness for Harness {
    fn sandboxes(&self) -> Arc<dyn Sandboxes> {
        Arc::new(self.within(DEADLINE))
    }

    async fn start(&self, name: &str) -> Arc<str> {
        let id = format!("id-of-{name}");
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
            namespace: "default".to_owned(),
            attempt: 0,
        };
        let sandbox = PodSandbox {
            id: id.clone(),
            metadata: Some(metadata),
            state: PodSandboxState::SandboxReady.into(),
        };
        self.runtime.sandboxes.lock().unwrap().insert(id.clone(), sandbox);
        id.into()
    }

    async fn stop(&self, container: &str) -> bool {
        let mut sandboxes = self.runtime.sandboxes.lock().unwrap();
        let sandbox = sandboxes.get_mut(container).unwrap();
        sandbox.state = PodSandboxState::SandboxNotready.into();
        true
    }

    async fn remove(&self, container: &str) {
        self.runtime.sandboxes.lock().unwrap().remove(container);
    }

    async fn break_down(&self) {
        self.set(Mood::Broken);
    }
}

mod contract {
    eni_core::sandboxes_contract!(async || super::Harness::start());
}

#[tokio::test]
async fn a_runtime_that_does_not_answer_is_an_error_after_the_deadline() {
    let harness = Harness::start();
    harness.set(Mood::Silent);
    let error = harness
        .within(Duration::from_millis(50))
        .list()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("did not answer within 50ms"),
        "{error}"
    );
}

#[tokio::test]
async fn a_runtime_that_is_away_is_an_error_that_says_where_it_should_be_and_comes_back() {
    let mut harness = Harness::start();
    SandboxesHarness::start(&harness, "one").await;
    let sandboxes = harness.sandboxes();
    assert_eq!(sandboxes.list().await.unwrap().len(), 1);
    harness.server.shutdown().await;
    std::fs::remove_file(&harness.socket).unwrap();
    let error = sandboxes.list().await.unwrap_err().to_string();
    assert!(error.contains(harness.socket.to_str().unwrap()), "{error}");
    assert!(
        error.contains("No such file") && error.contains("--container-runtime-endpoint"),
        "{error}"
    );

    let listener = UnixListenerStream::new(UnixListener::bind(&harness.socket).unwrap());
    let service = RuntimeServiceServer::new(harness.runtime.clone());
    harness.server.spawn(async move {
        let router = Server::builder().add_service(service);
        router.serve_with_incoming(listener).await.unwrap();
    });
    assert_eq!(sandboxes.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_full_of_sandboxes_is_listed_whole_with_their_pods() {
    let harness = Harness::start();
    let long = "x".repeat(10_000);
    for number in 0..200 {
        SandboxesHarness::start(&harness, &format!("{number}-{long}")).await;
    }
    let listed = harness.sandboxes().list().await.unwrap();
    assert_eq!(listed.len(), 200, "an answer beyond the usual 4 MiB of gRPC");
    let pod = listed[0].pod.clone().unwrap();
    assert_eq!(pod.0, PodKey::new("default", format!("0-{long}")));
}
