//! The container runtime's sandboxes over CRI, for `--container-runtime-endpoint`.

mod endpoint;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_core::{
    model::{PodKey, Uid},
    sandbox::{Sandbox, SandboxError, Sandboxes},
};

pub use endpoint::{CONTAINERD, InvalidRuntimeEndpoint, RuntimeEndpoint};

use crate::{
    proto::runtime::{
        ListPodSandboxRequest, PodSandbox, PodSandboxState, runtime_service_client::RuntimeServiceClient,
    },
    socket,
};

/// How long a listing may take; kubelet's own `--runtime-request-timeout` is two minutes, and a listing of
/// hundreds of sandboxes takes milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer that is read, kubelet's own limit (`maxMsgSize` of its CRI client).
const LONGEST: usize = 16 << 20;

/// The sandboxes of a runtime that speaks CRI v1: containerd, CRI-O, cri-dockerd.
#[derive(Debug)]
pub struct CriSandboxes {
    endpoint: RuntimeEndpoint,
    deadline: Duration,
}

impl CriSandboxes {
    /// The sandboxes of the runtime at `endpoint`; a listing fails after `deadline`, [`DEADLINE`] as a rule.
    pub fn new(endpoint: RuntimeEndpoint, deadline: Duration) -> Self {
        Self { endpoint, deadline }
    }
}

#[async_trait]
impl Sandboxes for CriSandboxes {
    async fn list(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let listed = socket::call(self.endpoint.path(), self.deadline, async |channel| {
            let mut runtime = RuntimeServiceClient::new(channel).max_decoding_message_size(LONGEST);
            let reply = runtime.list_pod_sandbox(ListPodSandboxRequest {}).await?;
            Ok(reply.into_inner().items)
        });
        let listed = listed.await.map_err(|error| {
            SandboxError(format!(
                "{error}; is it a runtime with CRI v1? See --container-runtime-endpoint"
            ))
        })?;
        understand(listed)
    }
}

/// What the runtime means. A sandbox is dead only if the runtime says so.
fn understand(listed: Vec<PodSandbox>) -> Result<Vec<Sandbox>, SandboxError> {
    let mut sandboxes = BTreeMap::new();
    for listed in listed {
        if listed.id.is_empty() {
            return Err(SandboxError(
                "one of them has no id, so that the list is not complete".to_owned(),
            ));
        }
        let container: Arc<str> = listed.id.into();
        let ready = listed.state != PodSandboxState::SandboxNotready as i32;
        let pod = listed.metadata.filter(|pod| !pod.uid.is_empty());
        let pod = pod.map(|pod| (PodKey::new(pod.namespace, pod.name), Uid::from(pod.uid)));
        let sandbox = sandboxes.entry(container.clone()).or_insert(Sandbox {
            container,
            ready,
            pod,
        });
        sandbox.ready |= ready;
    }
    Ok(sandboxes.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::runtime::PodSandboxMetadata;

    fn listed(id: &str, state: i32) -> PodSandbox {
        PodSandbox {
            id: id.to_owned(),
            metadata: None,
            state,
        }
    }

    fn ready(listed: Vec<PodSandbox>) -> Vec<bool> {
        let sandboxes = understand(listed).unwrap();
        sandboxes.iter().map(|sandbox| sandbox.ready).collect()
    }

    #[test]
    fn only_what_the_runtime_says_is_dead_is_dead() {
        assert_eq!(
            ready(vec![listed("a", 0), listed("b", 1), listed("c", 7)]),
            [true, false, true]
        );
    }

    #[test]
    fn a_sandbox_that_is_listed_twice_is_one_and_lives_if_one_line_says_so() {
        assert_eq!(ready(vec![listed("a", 1), listed("a", 0)]), [true]);
    }

    #[test]
    fn a_list_with_something_that_is_no_sandbox_is_no_list() {
        assert!(understand(vec![listed("a", 0), listed("", 0)]).is_err());
    }

    #[test]
    fn a_sandbox_is_of_the_pod_that_the_runtime_names() {
        let metadata = PodSandboxMetadata {
            name: "web-0".to_owned(),
            uid: "uid-1".to_owned(),
            namespace: "shop".to_owned(),
            attempt: 1,
        };
        let mut sandbox = listed("a", 0);
        sandbox.metadata = Some(metadata);
        let understood = understand(vec![sandbox]).unwrap();
        let pod = (PodKey::new("shop", "web-0"), Uid::from("uid-1".to_owned()));
        assert_eq!(understood[0].pod, Some(pod));
    }
}
