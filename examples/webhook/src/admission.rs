//! What is added to a pod. No I/O.

use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};

/// The annotation by which a pod chooses its networks, as TKE's Multus reads it: names, separated by commas.
pub const NETWORKS: &str = "tke.cloud.tencent.com/networks";

/// A network of VPC-CNI that pods are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A secondary address of a shared ENI.
    Route,
    /// An ENI of the pod's own.
    Direct,
}

impl Network {
    /// The network of this name, if it is one of ours.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "tke-route-eni" => Some(Self::Route),
            "tke-direct-eni" => Some(Self::Direct),
            _ => None,
        }
    }

    /// The extended resource of which a pod in it needs one.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Route => "tke.cloud.tencent.com/eni-ip",
            Self::Direct => "tke.cloud.tencent.com/direct-eni",
        }
    }
}

/// What a pod lacks, if anything: the resource, and the patch that asks for one in its first container.
///
/// A pod on its node's network needs none, and who asks already, in whichever container, knows better. A pod
/// that names its networks is in those; any other is in `default`.
pub fn lacks(pod: &Pod, default: Option<Network>) -> Option<(&'static str, Patch)> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) {
        return None;
    }
    let resource = network(pod, default)?.resource();
    let first = spec.containers.first()?;
    let asks = |container: &Container| amounts(container).any(|amounts| amounts.contains_key(resource));
    let asked = containers(spec).any(asks);
    (!asked).then(|| (resource, ask(first, resource)))
}

fn network(pod: &Pod, default: Option<Network>) -> Option<Network> {
    let Some(named) = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(NETWORKS))
    else {
        return default;
    };
    // A name may come with a namespace before it and an interface after it.
    let bare = |name: &str| {
        let name = name.split('@').next().unwrap_or_default();
        Network::of(name.rsplit('/').next().unwrap_or_default().trim())
    };
    let ours: Vec<_> = named.split(',').filter_map(bare).collect();
    // An ENI of its own is what it cannot do without.
    let direct = ours.iter().find(|network| **network == Network::Direct);
    direct.or(ours.first()).copied()
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn amounts(
    container: &Container,
) -> impl Iterator<
    Item = &std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
> {
    let resources = container.resources.iter();
    resources.flat_map(|resources| resources.limits.iter().chain(&resources.requests))
}

/// Adds one of `resource` to what the first container may use and what it asks for, which must be the same for
/// an extended resource.
fn ask(first: &Container, resource: &str) -> Patch {
    let resources = first.resources.as_ref();
    let mut operations = Vec::new();
    if resources.is_none() {
        operations.push(add(&["resources"], json!({})));
    }
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    for (figure, present) in [("limits", limits.is_some()), ("requests", requests.is_some())] {
        operations.push(if present {
            add(&["resources", figure, resource], json!("1"))
        } else {
            add(&["resources", figure], json!({ resource: "1" }))
        });
    }
    Patch(operations)
}

fn add(path: &[&str], value: Value) -> PatchOperation {
    let path = PointerBuf::from_tokens(["spec", "containers", "0"].iter().chain(path).copied());
    PatchOperation::Add(AddOperation { path, value })
}

#[cfg(test)]
mod tests;
