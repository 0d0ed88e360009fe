use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use agent_api::proto::{self, agent_server};
use futures::stream::BoxStream;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::server::bind_unix;

/// A node, and an image with plugins that say which versions they speak.
struct Node {
    directory: TempDir,
    installer: Arc<Installer>,
    tasks: JoinSet<()>,
}

/// An agent that only says how it stands.
struct Standing(Arc<Mutex<Option<&'static str>>>);

#[tonic::async_trait]
impl agent_server::Agent for Standing {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<proto::StatusReply>, Status> {
        let fault = *self.0.lock();
        Ok(Response::new(proto::StatusReply {
            version: 1,
            ready: fault.is_none(),
            reason: fault.unwrap_or_default().to_owned(),
            limited: false,
        }))
    }

    type AddStream = BoxStream<'static, Result<proto::AddReply, Status>>;

    async fn add(&self, _: Request<proto::AddRequest>) -> Result<Response<Self::AddStream>, Status> {
        Err(Status::unimplemented("only its status is asked"))
    }

    async fn del(&self, _: Request<proto::DelRequest>) -> Result<Response<proto::DelReply>, Status> {
        Err(Status::unimplemented("only its status is asked"))
    }

    async fn check(&self, _: Request<proto::CheckRequest>) -> Result<Response<proto::CheckReply>, Status> {
        Err(Status::unimplemented("only its status is asked"))
    }

    async fn gc(&self, _: Request<proto::GcRequest>) -> Result<Response<proto::GcReply>, Status> {
        Err(Status::unimplemented("only its status is asked"))
    }
}

fn script(versions: &str) -> String {
    format!("#!/bin/sh\necho '{{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[{versions}]}}'\n")
}

fn put(directory: &Path, name: &str, contents: &str) {
    fs::create_dir_all(directory).unwrap();
    file::replace(&directory.join(name), contents.as_bytes(), 0o755).unwrap();
}

impl Node {
    fn new(change: impl FnOnce(&Path, &mut InstallConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        for name in [ROUTE_ENI, ENI_IPAMC] {
            put(&place("image"), name, &script(r#""0.4.0","1.0.0","1.1.0""#));
        }
        for name in ["bin", "net.d"] {
            fs::create_dir(place(name)).unwrap();
        }
        let mut config = InstallConfig {
            source: Some(place("image")),
            binaries: place("bin"),
            configurations: place("net.d"),
            newest: CniVersion::V1_0_0,
            chain: Chain {
                backend: Endpoint::Unix(place("agent.sock")),
                mtu: 1500,
                port_mapping: false,
                bandwidth: false,
            },
        };
        change(directory.path(), &mut config);
        let installer = Arc::new(Installer {
            later: Duration::from_millis(50),
            ..Installer::new(config)
        });
        let mut tasks = JoinSet::new();
        let runs = installer.clone();
        tasks.spawn(async move { runs.run().await });
        Self {
            directory,
            installer,
            tasks,
        }
    }

    /// An agent listens; what hinders it can be changed.
    fn listen(&mut self, fault: Option<&'static str>) -> Arc<Mutex<Option<&'static str>>> {
        let fault = Arc::new(Mutex::new(fault));
        let socket = bind_unix(&self.path("agent.sock")).unwrap();
        let server = Server::builder()
            .add_service(agent_server::AgentServer::new(Standing(fault.clone())))
            .serve_with_incoming(UnixListenerStream::new(socket));
        self.tasks.spawn(async move { server.await.unwrap() });
        fault
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn stands(&self, what: impl Fn(&Installation) -> bool) {
        let begun = Instant::now();
        while !what(&self.installer.standing()) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it stands so: {:?}",
                self.installer.standing()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn waits_for(&self, why: &str) {
        let pending =
            |standing: &Installation| matches!(standing, Installation::Pending(it) if it.contains(why));
        self.stands(pending).await;
    }

    async fn done(&self) {
        self.stands(|standing| *standing == Installation::Done).await;
    }

    fn conflist(&self) -> Option<Value> {
        let text = fs::read(self.path("net.d").join(CONFLIST)).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }
}

#[tokio::test]
async fn a_node_gets_its_plugins_at_once_and_its_network_when_the_agent_serves() {
    let mut node = Node::new(|_, _| {});
    node.waits_for("cannot be reached").await;
    let fault = node.listen(Some("no ENI is in service"));
    node.waits_for("no ENI is in service").await;
    for name in [ROUTE_ENI, ENI_IPAMC] {
        let installed = node.path("bin").join(name);
        assert_eq!(
            fs::metadata(&installed).unwrap().permissions().mode() & 0o7777,
            0o755
        );
        assert_eq!(
            fs::read(&installed).unwrap(),
            fs::read(node.path("image").join(name)).unwrap()
        );
    }
    assert_eq!(node.conflist(), None, "the node would be ready too early");
    *fault.lock() = None;
    node.done().await;
    let list = node.conflist().unwrap();
    assert_eq!(list["cniVersion"], "1.0.0");
    assert_eq!(
        list["plugins"][0]["ipam"]["backend"],
        format!("unix://{}", node.path("agent.sock").display())
    );
    let file = fs::metadata(node.path("net.d").join(CONFLIST)).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o644);
    *fault.lock() = Some("no ENI is in service");
    assert!(node.conflist().is_some(), "pods that run need it for their DEL");
}

#[tokio::test]
async fn an_upgrade_replaces_what_is_older_and_touches_nothing_of_others() {
    let other = r#"{"cniVersion":"0.3.1","name":"other","plugins":[]}"#;
    let mut node = Node::new(|place, _| {
        put(&place.join("bin"), ROUTE_ENI, "older");
        put(&place.join("bin"), "bridge", "another's");
        put(&place.join("net.d"), CONFLIST, "older");
        put(&place.join("net.d"), "05-other.conflist", other);
    });
    node.waits_for("cannot be reached").await;
    let old = fs::read_to_string(node.path("net.d").join(CONFLIST)).unwrap();
    assert_eq!(old, "older", "it stays until the agent serves");
    node.listen(None);
    node.done().await;
    assert_eq!(node.conflist().unwrap()["name"], "tke-route-eni");
    let read = |name: &str| fs::read_to_string(node.path(name)).unwrap();
    assert_eq!(read("bin/tke-route-eni"), read("image/tke-route-eni"));
    assert_eq!(
        (
            read("bin/bridge").as_str(),
            read("net.d/05-other.conflist").as_str()
        ),
        ("another's", other)
    );
}

#[tokio::test]
async fn standard_plugins_come_from_the_image_or_the_node_and_lower_the_version() {
    let mut node = Node::new(|place, config| {
        config.chain.port_mapping = true;
        config.chain.bandwidth = true;
        put(&place.join("image"), "bandwidth", &script(r#""0.4.0","1.0.0""#));
        put(&place.join("bin"), "portmap", &script(r#""0.3.1","0.4.0""#));
    });
    node.listen(None);
    node.done().await;
    assert!(node.path("bin/bandwidth").exists());
    assert_eq!(node.conflist().unwrap()["cniVersion"], "0.4.0");
}

#[tokio::test]
async fn a_standard_plugin_that_is_nowhere_is_named_and_the_node_gets_no_network() {
    let mut node = Node::new(|_, config| config.chain.port_mapping = true);
    node.listen(None);
    node.waits_for("bin/portmap does not say").await;
    assert_eq!(node.conflist(), None);
}

#[tokio::test]
async fn what_cannot_be_written_or_read_is_named_with_its_flag_and_mended_when_it_can() {
    // A file in the directory's place fails for root, too.
    let mut node = Node::new(|place, config| {
        config.configurations = place.join("file/net.d");
        put(place, "file", "");
    });
    node.listen(None);
    node.waits_for("--cni-conf-dir").await;
    fs::remove_file(node.path("file")).unwrap();
    fs::create_dir_all(node.path("file/net.d")).unwrap();
    node.done().await;

    let node = Node::new(|place, config| config.binaries = place.join("nowhere"));
    node.waits_for("--cni-bin-dir").await;
    let node = Node::new(|place, config| config.source = Some(place.join("nowhere")));
    node.waits_for("--cni-bin-source").await;
}

#[tokio::test]
async fn what_somebody_removed_comes_back() {
    let mut node = Node::new(|_, _| {});
    node.listen(None);
    node.done().await;
    let removed = [
        node.path("net.d").join(CONFLIST),
        node.path("bin").join(ROUTE_ENI),
    ];
    for path in &removed {
        fs::remove_file(path).unwrap();
    }
    let begun = Instant::now();
    while !removed.iter().all(|path| path.exists()) {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        sleep(Duration::from_millis(5)).await;
    }
}
