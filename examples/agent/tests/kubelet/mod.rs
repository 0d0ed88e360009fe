//! As much of a kubelet as a device plugin sees, on real sockets.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use agent::proto::{
    device_plugin::{
        Empty, RegisterRequest,
        device_plugin_client::DevicePluginClient,
        registration_server::{Registration, RegistrationServer},
    },
    pod_resources::{
        ContainerDevices, ContainerResources, ListPodResourcesRequest, ListPodResourcesResponse,
        PodResources,
        pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer},
    },
};
use async_trait::async_trait;
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinSet};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server},
};

/// What kubelet knows.
#[derive(Default)]
pub struct Known {
    /// Every registration that any life of it took.
    pub registrations: Vec<RegisterRequest>,
    /// The numbers of the healthy devices of the latest list, and how many devices it has; `None` while no
    /// plugin shows one.
    pub devices: Option<(BTreeSet<String>, usize)>,
    /// What it has given out.
    pub in_use: BTreeSet<String>,
}

pub struct Kubelet {
    directory: TempDir,
    known: Arc<Mutex<Known>>,
    servers: JoinSet<()>,
    watches: Arc<Mutex<JoinSet<()>>>,
}

impl Kubelet {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["device-plugins", "pod-resources"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let mut kubelet = Self {
            directory,
            known: Arc::default(),
            servers: JoinSet::new(),
            watches: Arc::default(),
        };
        kubelet.serve();
        kubelet
    }

    /// It ends and starts again, as the real one does: nothing but its checkpoint stays beside its socket.
    pub async fn restart(&mut self) {
        self.servers.shutdown().await;
        self.drop_watches();
        self.with(|known| known.devices = None);
        for file in fs::read_dir(self.plugins()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        fs::remove_file(self.pod_resources()).unwrap();
        self.serve();
    }

    /// It hangs up on its plugins and does not say so.
    pub fn drop_watches(&self) {
        self.watches.lock().unwrap().abort_all();
    }

    /// Its own directory, `/var/lib/kubelet` as a rule.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn plugins(&self) -> PathBuf {
        self.directory().join("device-plugins")
    }

    pub fn pod_resources(&self) -> PathBuf {
        self.directory().join("pod-resources/kubelet.sock")
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap())
    }

    /// A connection to the plugin that registered last.
    pub async fn plugin(&self) -> DevicePluginClient<Channel> {
        let endpoint = self.with(|known| known.registrations.last().unwrap().endpoint.clone());
        connect(&self.plugins().join(endpoint)).await
    }

    fn serve(&mut self) {
        let calls = Calls {
            plugins: self.plugins(),
            known: self.known.clone(),
            watches: self.watches.clone(),
        };
        let registration = Server::builder().add_service(RegistrationServer::new(calls.clone()));
        let pod_resources = Server::builder().add_service(PodResourcesListerServer::new(calls));
        let sockets = [self.plugins().join("kubelet.sock"), self.pod_resources()];
        for (router, socket) in [registration, pod_resources].into_iter().zip(sockets) {
            let listener = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
            self.servers.spawn(async move {
                router.serve_with_incoming(listener).await.unwrap();
            });
        }
    }
}

async fn connect(socket: &Path) -> DevicePluginClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
    DevicePluginClient::new(endpoint.connect().await.unwrap())
}

#[derive(Clone)]
struct Calls {
    plugins: PathBuf,
    known: Arc<Mutex<Known>>,
    watches: Arc<Mutex<JoinSet<()>>>,
}

#[async_trait]
impl Registration for Calls {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        let socket = self.plugins.join(&request.endpoint);
        self.known.lock().unwrap().registrations.push(request);
        let known = self.known.clone();
        self.watches.lock().unwrap().spawn(async move {
            let mut lists = connect(&socket)
                .await
                .list_and_watch(Empty {})
                .await
                .unwrap()
                .into_inner();
            while let Ok(Some(list)) = lists.message().await {
                let healthy = list.devices.iter().filter(|device| device.health == "Healthy");
                let healthy = healthy.map(|device| device.id.clone()).collect();
                known.lock().unwrap().devices = Some((healthy, list.devices.len()));
            }
        });
        Ok(Response::new(Empty {}))
    }
}

#[async_trait]
impl PodResourcesLister for Calls {
    async fn list(
        &self,
        _: Request<ListPodResourcesRequest>,
    ) -> Result<Response<ListPodResourcesResponse>, Status> {
        let device_ids = self.known.lock().unwrap().in_use.iter().cloned().collect();
        let devices = [
            ("tke.cloud.tencent.com/eni-ip", device_ids),
            ("example.com/other", vec!["address-11".to_owned()]),
        ];
        let devices = devices.map(|(resource, device_ids)| ContainerDevices {
            resource_name: resource.to_owned(),
            device_ids,
        });
        let container = ContainerResources {
            name: "main".to_owned(),
            devices: devices.to_vec(),
        };
        let pod = PodResources {
            name: "web-0".to_owned(),
            namespace: "default".to_owned(),
            containers: vec![container],
        };
        Ok(Response::new(ListPodResourcesResponse {
            pod_resources: vec![pod],
        }))
    }
}
