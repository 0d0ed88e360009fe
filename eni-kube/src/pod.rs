//! A Pod object as the core's pod.

use eni_core::model::{NodeName, Pod, PodKey, PodPhase, Uid};
use k8s_openapi::api::core::v1;

use crate::{
    claim_request::{claim_request, workload},
    error::{InvalidObject, required},
};

/// The core's view of a Pod object.
///
/// A pod that Kubernetes calls `Succeeded` or `Failed` is [`PodPhase::Finished`]: that covers what
/// `kubectl` shows as Completed, Error and Evicted. A pod that is only being deleted still runs and
/// keeps its phase. A phase of no known name counts as running, so that nothing is taken from it.
pub fn pod(object: &v1::Pod) -> Result<Pod, InvalidObject> {
    let meta = &object.metadata;
    let field = |field, value| required("Pod", meta, field, value);
    let spec = object.spec.as_ref();
    Ok(Pod {
        key: PodKey::new(field("namespace", &meta.namespace)?, field("name", &meta.name)?),
        uid: Uid::from(field("uid", &meta.uid)?),
        node: spec
            .and_then(|spec| spec.node_name.as_deref())
            .filter(|name| !name.is_empty())
            .map(NodeName::from),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        phase: phase(object.status.as_ref()),
        claim: claim_request(meta),
        workload: workload(meta),
    })
}

fn phase(status: Option<&v1::PodStatus>) -> PodPhase {
    match status.and_then(|status| status.phase.as_deref()) {
        None | Some("" | "Pending") => PodPhase::Pending,
        Some("Succeeded" | "Failed") => PodPhase::Finished,
        Some(_) => PodPhase::Running,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

    use super::*;

    fn object(phase: Option<&str>) -> v1::Pod {
        v1::Pod {
            metadata: ObjectMeta {
                namespace: Some("shop".into()),
                name: Some("web-0".into()),
                uid: Some("u-1".into()),
                ..Default::default()
            },
            spec: Some(v1::PodSpec {
                node_name: Some("node-1".into()),
                ..Default::default()
            }),
            status: Some(v1::PodStatus {
                phase: phase.map(Into::into),
                ..Default::default()
            }),
        }
    }

    #[test]
    fn a_scheduled_pod_needs_an_address() {
        let expected = Pod {
            key: PodKey::new("shop", "web-0"),
            uid: Uid::from("u-1"),
            node: Some(NodeName::from("node-1")),
            host_network: false,
            phase: PodPhase::Running,
            claim: Ok(Default::default()),
            workload: None,
        };
        let pod = pod(&object(Some("Running"))).unwrap();
        assert_eq!(pod, expected);
        assert!(pod.needs_address());
    }

    #[test]
    fn each_phase_is_known() {
        for (text, expected) in [
            (None, PodPhase::Pending),
            (Some(""), PodPhase::Pending),
            (Some("Pending"), PodPhase::Pending),
            (Some("Running"), PodPhase::Running),
            (Some("Unknown"), PodPhase::Running),
            (Some("Succeeded"), PodPhase::Finished),
            (Some("Failed"), PodPhase::Finished),
        ] {
            assert_eq!(pod(&object(text)).unwrap().phase, expected, "{text:?}");
        }
    }

    #[test]
    fn an_evicted_pod_is_finished() {
        let mut object = object(Some("Failed"));
        object.status.as_mut().unwrap().reason = Some("Evicted".into());
        assert!(!pod(&object).unwrap().needs_address());
    }

    #[test]
    fn a_pod_that_is_being_deleted_still_needs_its_address() {
        let mut object = object(Some("Running"));
        object.metadata.deletion_timestamp = Some(Time(Default::default()));
        assert!(pod(&object).unwrap().needs_address());
    }

    #[test]
    fn a_pod_without_status_or_node_is_pending_and_unscheduled() {
        let mut object = object(None);
        object.status = None;
        object.spec.as_mut().unwrap().node_name = Some(String::new());
        let pod = pod(&object).unwrap();
        assert_eq!((pod.phase, pod.node), (PodPhase::Pending, None));
    }

    #[test]
    fn the_host_network_needs_no_address() {
        let mut object = object(Some("Running"));
        object.spec.as_mut().unwrap().host_network = Some(true);
        assert!(!pod(&object).unwrap().needs_address());
    }

    #[test]
    fn a_pod_without_uid_is_an_error_that_names_it() {
        let mut object = object(Some("Running"));
        object.metadata.uid = None;
        let error = pod(&object).unwrap_err();
        assert!(
            error.to_string().starts_with("Pod shop/web-0 has no uid"),
            "{error}"
        );
    }
}
