//! The gRPC protocol between the CNI plugins and the node's agent, and what both sides must agree on
//! besides: where the agent listens, and the DEL records that plugins leave for an agent that is away.
#![deny(missing_docs)]

pub mod boot;
mod endpoint;
pub mod netns;
mod spool;
mod version;

pub use endpoint::{Endpoint, InvalidEndpoint};
pub use spool::{DelRecord, Spool, SpoolError};
pub use version::{Incompatible, PROTOCOL, negotiate, spoken};

/// The messages, the client and the server as generated from `proto/agent.proto`, which documents them.
pub mod proto {
    #![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all)]
    tonic::include_proto!("eni.agent.v1");
}

use eni_core::model::SandboxKey;

impl From<&SandboxKey> for proto::Interface {
    fn from(key: &SandboxKey) -> Self {
        Self {
            network: key.network.to_string(),
            container_id: key.container.to_string(),
            name: key.interface.to_string(),
        }
    }
}

impl From<proto::Interface> for SandboxKey {
    fn from(interface: proto::Interface) -> Self {
        Self::new(interface.network, interface.container_id, interface.name)
    }
}
