//! What kubelet calls.

use std::sync::Arc;

use async_trait::async_trait;
use eni_core::agent::Advertisement;
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    list::{Devices, preferred},
    registration::Watches,
};
use crate::proto::device_plugin::{
    AllocateRequest, AllocateResponse, ContainerAllocateResponse, ContainerPreferredAllocationResponse,
    DevicePluginOptions, Empty, ListAndWatchResponse, PreStartContainerRequest, PreStartContainerResponse,
    PreferredAllocationRequest, PreferredAllocationResponse, device_plugin_server::DevicePlugin,
};

/// What the plugin asks kubelet to call besides the list.
pub(super) const OPTIONS: DevicePluginOptions = DevicePluginOptions {
    pre_start_required: false,
    get_preferred_allocation_available: true,
};

/// The plugin as kubelet calls it.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    pub(super) devices: watch::Receiver<Option<Devices>>,
    pub(super) advertisement: Arc<Advertisement>,
    pub(super) watches: watch::Sender<Watches>,
}

#[async_trait]
impl DevicePlugin for Calls {
    type ListAndWatchStream = BoxStream<'static, Result<ListAndWatchResponse, Status>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<DevicePluginOptions>, Status> {
        Ok(Response::new(OPTIONS))
    }

    async fn list_and_watch(&self, _: Request<Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let mut devices = self.devices.clone();
        devices.mark_changed();
        let watcher = Watcher::new(devices, self);
        let lists = stream::unfold(watcher, async |mut watcher| {
            let list = watcher.next().await?;
            Some((Ok(list), watcher))
        });
        Ok(Response::new(lists.boxed()))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<PreferredAllocationRequest>,
    ) -> Result<Response<PreferredAllocationResponse>, Status> {
        let containers = request.into_inner().container_requests.into_iter();
        let containers = containers.map(|container| {
            let size = usize::try_from(container.allocation_size).unwrap_or_default();
            let (available, must) = (
                &container.available_device_i_ds,
                &container.must_include_device_i_ds,
            );
            ContainerPreferredAllocationResponse {
                device_i_ds: preferred(available, must, size),
            }
        });
        Ok(Response::new(PreferredAllocationResponse {
            container_responses: containers.collect(),
        }))
    }

    /// A device stands for an address, which the pod gets by CNI: the container gets nothing.
    async fn allocate(
        &self,
        request: Request<AllocateRequest>,
    ) -> Result<Response<AllocateResponse>, Status> {
        let containers = request.into_inner().container_requests.into_iter();
        Ok(Response::new(AllocateResponse {
            container_responses: containers.map(|_| ContainerAllocateResponse {}).collect(),
        }))
    }

    async fn pre_start_container(
        &self,
        _: Request<PreStartContainerRequest>,
    ) -> Result<Response<PreStartContainerResponse>, Status> {
        Ok(Response::new(PreStartContainerResponse {}))
    }
}

/// A kubelet that watches the devices, until its stream is dropped.
struct Watcher {
    devices: watch::Receiver<Option<Devices>>,
    advertisement: Arc<Advertisement>,
    watches: watch::Sender<Watches>,
}

impl Watcher {
    fn new(devices: watch::Receiver<Option<Devices>>, calls: &Calls) -> Self {
        calls.watches.send_modify(|watches| {
            watches.open += 1;
            watches.begun += 1;
        });
        Self {
            devices,
            advertisement: calls.advertisement.clone(),
            watches: calls.watches.clone(),
        }
    }

    /// The next list that differs from the last; `None` when the plugin ends.
    async fn next(&mut self) -> Option<ListAndWatchResponse> {
        loop {
            self.devices.changed().await.ok()?;
            if let Some(devices) = &*self.devices.borrow_and_update() {
                tracing::info!(allocatable = devices.allocatable(), "kubelet is told");
                self.advertisement.tell(devices.allocatable());
                return Some(devices.response());
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watches.send_modify(|watches| watches.open -= 1);
    }
}
