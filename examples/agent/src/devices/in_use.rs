//! Which devices kubelet has given out, by its pod resources API.

use std::{collections::BTreeSet, path::Path, time::Duration};

use super::list::number;
use crate::{
    proto::pod_resources::{ListPodResourcesRequest, pod_resources_lister_client::PodResourcesListerClient},
    socket::{self, CallError},
};

/// How long kubelet may take: it answers out of its memory.
const DEADLINE: Duration = Duration::from_secs(1);

/// The longest answer that is read, kubelet's own limit for its clients (`defaultPodResourcesMaxSize`).
const LONGEST: usize = 16 << 20;

/// The numbers of the resource's devices that containers have. A pod that ended may still be counted.
pub(super) async fn in_use(socket: &Path, resource: &str) -> Result<BTreeSet<u32>, CallError> {
    let pods = socket::call(socket, DEADLINE, async |channel| {
        let mut kubelet = PodResourcesListerClient::new(channel).max_decoding_message_size(LONGEST);
        let reply = kubelet.list(ListPodResourcesRequest {}).await?;
        Ok(reply.into_inner().pod_resources)
    });
    let containers = pods.await?.into_iter().flat_map(|pod| pod.containers);
    let devices = containers.flat_map(|container| container.devices);
    let devices = devices.filter(|devices| devices.resource_name == resource);
    let ids = devices.flat_map(|devices| devices.device_ids);
    Ok(ids.filter_map(|id| number(&id)).collect())
}
