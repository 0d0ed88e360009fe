//! The device plugin: offers the node's addresses to kubelet as an extended resource, so that pods that
//! request it are scheduled only where one can be had.
//!
//! It needs kubelet's folders `device-plugins` and `pod-resources`; without the latter the resource is not lowered,
//! as nobody says which devices are in use.

mod authority;
mod calls;
mod in_use;
mod list;
mod registration;

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use eni_core::agent::Advertisement;
use futures::TryStreamExt;
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use self::{
    calls::{Calls, OPTIONS},
    in_use::in_use,
    list::{Devices, InUse},
    registration::{Past, Registered, Seen, SocketId, Step, Watches, next},
};
use crate::{
    proto::device_plugin::{
        RegisterRequest, device_plugin_server::DevicePluginServer, registration_client::RegistrationClient,
    },
    server::bind_unix,
    socket,
};

/// The resource of addresses of shared ENIs, TKE's name.
pub const ENI_IP: &str = "tke.cloud.tencent.com/eni-ip";

/// The version of the API (`Version` in kubelet's device plugin API).
const VERSION: &str = "v1beta1";

/// How often the sockets are looked at. A kubelet that restarted is registered with within a second.
const LOOK: Duration = Duration::from_millis(250);

/// How often it is looked which devices are in use, besides at every change of what is allowed.
const RECHECK: Duration = Duration::from_secs(30);

/// How soon, while more is shown than is allowed.
const RECHECK_SOON: Duration = Duration::from_secs(5);

/// How long kubelet may take to answer a registration.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the device plugin has to know.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// The resource's name, [`ENI_IP`] by default.
    pub resource: String,
    /// Where kubelet's socket and those of plugins are, `/var/lib/kubelet/device-plugins` by default.
    pub directory: PathBuf,
    /// Where kubelet tells which devices are in use, `/var/lib/kubelet/pod-resources/kubelet.sock` by default.
    pub pod_resources: PathBuf,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            resource: ENI_IP.to_owned(),
            directory: "/var/lib/kubelet/device-plugins".into(),
            pod_resources: "/var/lib/kubelet/pod-resources/kubelet.sock".into(),
        }
    }
}

/// Shows kubelet what a node's dialogue allows, and registers whenever kubelet has to be told anew.
#[derive(Debug)]
pub struct DevicePlugin {
    config: DeviceConfig,
    advertisement: Arc<Advertisement>,
    devices: watch::Sender<Option<Devices>>,
    watches: watch::Sender<Watches>,
    past: Past,
    /// The server on the latest socket.
    server: JoinSet<()>,
}

impl DevicePlugin {
    /// A plugin that shows what `advertisement` allows.
    pub fn new(config: DeviceConfig, advertisement: Arc<Advertisement>) -> Self {
        Self {
            config,
            advertisement,
            devices: watch::Sender::new(None),
            watches: watch::Sender::new(Watches::default()),
            past: Past::default(),
            server: JoinSet::new(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut allowed = self.advertisement.allowed();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recheck = interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Ok(()) = allowed.changed() => {}
                _ = recheck.tick() => {}
                _ = look.tick() => {
                    self.keep_registered().await;
                    continue;
                }
            }
            match self.renew().await {
                true => recheck.reset(),
                false => recheck.reset_after(RECHECK_SOON),
            }
        }
    }

    /// Makes the list anew; whether it shows no more than is allowed.
    async fn renew(&self) -> bool {
        let Some(allowance) = *self.advertisement.allowed().borrow() else {
            return true;
        };
        let DeviceConfig {
            resource,
            pod_resources,
            ..
        } = &self.config;
        let read = in_use(pod_resources, resource).await;
        let complete = read.is_ok() && self.past.settled(Instant::now());
        let (numbers, error) = match read {
            Ok(numbers) => (numbers, None),
            Err(error) => (BTreeSet::new(), Some(error)),
        };
        let in_use = InUse { numbers, complete };
        let before = self.devices.borrow().clone();
        let devices = Devices::next(allowance, before.as_ref(), &in_use);
        let (shown, allowed) = (devices.allocatable(), allowance.allocatable);
        if let Some(error) = error.filter(|_| shown > allowed) {
            tracing::warn!(%error, %resource, shown, allowed,
                "the resource is not lowered as long as kubelet does not say which devices are in use");
        }
        let devices = Some(devices);
        self.devices
            .send_if_modified(|shown| std::mem::replace(shown, devices.clone()) != devices);
        shown <= allowed
    }

    /// Listens and registers where that is due.
    async fn keep_registered(&mut self) {
        // A registration without devices would take from a kubelet what it knows of an earlier process.
        if self.devices.borrow().is_none() {
            return;
        }
        let seen = match self.look().await {
            Ok(seen) => seen,
            Err(error) => {
                let directory = self.config.directory.display();
                tracing::warn!(%error, %directory, "kubelet's sockets cannot be looked at");
                return;
            }
        };
        let now = Instant::now();
        self.past.notice(&seen, now);
        let done = match next(&seen, &self.past, now) {
            Step::Wait => return,
            Step::Listen => self.listen().await.map_err(|error| error.to_string()),
            Step::Register(kubelet) => {
                self.past.tried = Some((kubelet, now));
                let registered = self.register().await.map_err(|error| error.to_string());
                registered.map(|()| {
                    self.past.registered = Some(Registered {
                        kubelet,
                        at: now,
                        begun: seen.watches.begun,
                    });
                })
            }
        };
        if let Err(error) = done {
            self.past.tried = seen.kubelet.map(|kubelet| (kubelet, now));
            let resource = &self.config.resource;
            tracing::warn!(%error, %resource, "kubelet does not know the resource; it is tried again");
        }
    }

    async fn look(&self) -> io::Result<Seen> {
        let (kubelet, own) = (self.config.directory.join("kubelet.sock"), self.socket());
        // Reading a path may block.
        let looked = spawn_blocking(move || Ok((identify(&kubelet)?, identify(&own)?)));
        let (kubelet, own) = looked.await.map_err(io::Error::other).flatten()?;
        Ok(Seen {
            kubelet,
            own,
            watches: *self.watches.borrow(),
        })
    }

    /// Serves on a new socket, and no more on an earlier one.
    async fn listen(&mut self) -> io::Result<()> {
        self.server.shutdown().await;
        self.past.registered = None;
        let socket = self.socket();
        let listener = bind_unix(&socket)?;
        self.past.listening = identify(&socket)?;
        let connections = UnixListenerStream::new(listener).map_ok(authority::tolerant);
        let calls = Calls {
            devices: self.devices.subscribe(),
            advertisement: self.advertisement.clone(),
            watches: self.watches.clone(),
        };
        let router = Server::builder().add_service(DevicePluginServer::new(calls));
        self.server.spawn(async move {
            if let Err(error) = router.serve_with_incoming(connections).await {
                tracing::warn!(%error, socket = %socket.display(), "the device plugin's server ended");
            }
        });
        Ok(())
    }

    async fn register(&self) -> Result<(), socket::CallError> {
        let request = RegisterRequest {
            version: VERSION.to_owned(),
            endpoint: self.endpoint(),
            resource_name: self.config.resource.clone(),
            options: Some(OPTIONS),
        };
        let kubelet = self.config.directory.join("kubelet.sock");
        socket::call(&kubelet, DEADLINE, async |channel| {
            RegistrationClient::new(channel).register(request).await
        })
        .await?;
        tracing::info!(resource = %self.config.resource, "registered with kubelet");
        Ok(())
    }

    /// The name of our socket, by the resource's.
    fn endpoint(&self) -> String {
        format!("{}.sock", self.config.resource.replace('/', "-"))
    }

    fn socket(&self) -> PathBuf {
        self.config.directory.join(self.endpoint())
    }
}

/// The socket that is at `path`, if one is.
fn identify(path: &Path) -> io::Result<Option<SocketId>> {
    match fs::symlink_metadata(path) {
        Ok(file) => Ok(file.file_type().is_socket().then(|| SocketId {
            device: file.dev(),
            inode: file.ino(),
            // Nothing writes to a socket's file: that it was modified last is that it was made.
            made: (file.mtime(), file.mtime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
