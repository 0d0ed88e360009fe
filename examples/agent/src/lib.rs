//! The node's agent, as a library that a binary assembles.
//!
//! Two parts are off unless a binary asks for them. These are the names of its options, and what each is here:
//!
//! | option | meaning | here |
//! | --- | --- | --- |
//! | `--device-plugin` | kubelet is offered the node's addresses as `tke.cloud.tencent.com/eni-ip` | [`AgentConfig::devices`] |
//! | `--advertise=attainable` | as many as ipamd grants (the default) | [`DialogueConfig::advertise`](eni_core::agent::DialogueConfig) |
//! | `--advertise=bound` | as many as are attached, as TKE does | the same |
//! | `--runtime-endpoint=unix:///...` | the container runtime that lists sandboxes; without it the only one of the [usual](runtime::USUAL) that is there | [`runtime::sandboxes`] for [`Backends::sandboxes`] |
//!
//! The device plugin needs the node's `/var/lib/kubelet/device-plugins` and `/var/lib/kubelet/pod-resources`,
//! the list of sandboxes the directory of the runtime's socket. Where there is no telling which runtime is
//! kubelet's, the agent says so and tells sandboxes by their network namespaces.

pub mod devices;
mod node;
pub mod proto;
pub mod results;
pub mod runtime;
pub mod server;
mod socket;

pub use node::{AgentConfig, AgentError, Backends, run};
