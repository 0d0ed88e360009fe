//! The protocols of others that the agent speaks, as generated from `proto/`; each file names its source.
#![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all)]

/// Kubelet's device plugins.
pub mod device_plugin {
    tonic::include_proto!("v1beta1");
}

/// Which devices kubelet gave out.
pub mod pod_resources {
    tonic::include_proto!("v1");
}

/// The container runtime.
pub mod runtime {
    tonic::include_proto!("runtime.v1");
}
