//! The node's kernel: ENIs in service and pods on the wire.

use std::net::IpAddr;

use async_trait::async_trait;
use ipnet::IpNet;

use crate::model::{Mac, PodAddresses, PodKey, SandboxKey};

/// An ENI as its node needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniSetup {
    /// The MAC by which the device is found.
    pub mac: Mac,
    /// The ENI's own address.
    pub primary: IpAddr,
    /// The subnet's range.
    pub cidr: IpNet,
    /// The subnet's router.
    pub gateway: IpAddr,
}

/// An ENI in service on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EniLink {
    /// The device's interface index. It changes when the ENI is attached again.
    pub index: u32,
    /// The routing table that leaves by it.
    pub table: u32,
}

/// Which pod interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInterface {
    /// The sandbox's interface; what makes it ours.
    pub key: SandboxKey,
    /// The pod, where the runtime named it; what the device on the node's side is called after.
    pub pod: Option<PodKey>,
    /// The addresses it was last known to have. When the sandbox's namespace is gone the kernel has
    /// forgotten them along with the device, and only they lead to the rules that stayed behind.
    pub addresses: Option<PodAddresses>,
}

/// One pod interface to be put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodWiring {
    /// Which one.
    pub interface: PodInterface,
    /// The path of the sandbox's network namespace.
    pub netns: String,
    /// Its addresses.
    pub addresses: PodAddresses,
    /// The routing table of its ENI; `None` leaves by the main table.
    pub table: Option<u32>,
    /// The MTU of both ends.
    pub mtu: u32,
}

/// A pod interface on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wired {
    /// The device on the node's side.
    pub host_name: String,
    /// Its MAC, which the pod's neighbour entry names.
    pub host_mac: Mac,
    /// The MAC of the interface in the sandbox.
    pub pod_mac: Mac,
}

/// A pod interface whose device is in the node's kernel: its sandbox's namespace lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WiredPod {
    /// Whose it is.
    pub key: SandboxKey,
    /// The addresses that routes lead to it for.
    pub addresses: PodAddresses,
}

/// What of ours is in the node's kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Pod interfaces, in order of their keys.
    pub pods: Vec<WiredPod>,
    /// What serves no pod interface and no ENI that is there, in order.
    pub leftovers: Vec<Leftover>,
}

/// Something of ours that serves nothing that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Leftover {
    /// Rules and routes of an address that no pod interface has.
    Address(IpAddr),
    /// The routing table of an ENI that is not on the node, with the rules that lead to it, unless a pod
    /// interface still leaves by it: a table that ends nowhere is better for it than another ENI's.
    Table(u32),
}

/// What leads to and from a pod interface on the node's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRoutes {
    /// Whose it is.
    pub key: SandboxKey,
    /// Its addresses.
    pub addresses: PodAddresses,
    /// The routing table of its ENI; `None` leaves by the main table.
    pub table: Option<u32>,
}

/// One thing in the kernel that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    /// What is wrong, such as `rule 1536 from 10.0.0.7 is missing`.
    pub what: String,
}

/// A failed kernel operation, named by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The ENI's device is not on the node (yet, or any more): wait for it.
    #[error("no device with MAC {mac} on this node; the ENI is not attached yet, or was detached")]
    NoDevice {
        /// The MAC.
        mac: Mac,
    },
    /// The sandbox's network namespace is gone: the sandbox is dead.
    #[error("network namespace {netns} does not exist; the sandbox is gone")]
    NoNamespace {
        /// Its path.
        netns: String,
    },
    /// The name or address is taken by something that is not ours: an operator must look.
    #[error("{what} is in the way and is not ours; remove it")]
    Foreign {
        /// What is in the way.
        what: String,
    },
    /// The kernel refused.
    #[error("{operation}: {message}")]
    Kernel {
        /// The operation with its arguments.
        operation: String,
        /// The kernel's answer.
        message: String,
    },
}

/// The result of a kernel operation.
pub type NetworkResult<T> = Result<T, NetworkError>;

/// The node's kernel, as far as ENIs and pods need it.
///
/// # Contract
///
/// * Everything is idempotent: what is already as asked is left alone, what is gone is gone.
/// * `wire` is all or nothing: when a step fails, exactly what it had done is undone.
/// * `unwire` knows its own by (container, interface), never by a name or an address that a newer
///   sandbox may have: it touches no rule of an address that another interface now has. It collects
///   every error and does as much as it can.
/// * Nothing that is not marked as ours is ever changed.
/// * Operations on different pods run side by side; no lock is held across pods.
/// * Dropping a future leaves the operation to finish on its own; repeat it to know the outcome.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait NodeNetwork: Send + Sync {
    /// Puts an ENI into service: link up, own address, routing table.
    async fn ensure_eni(&self, eni: &EniSetup) -> NetworkResult<EniLink>;

    /// Takes an ENI out of service: its table, its rules and its address, whether or not the device is
    /// still there.
    async fn remove_eni(&self, mac: Mac) -> NetworkResult<()>;

    /// Puts a pod interface on the wire.
    async fn wire(&self, wiring: &PodWiring) -> NetworkResult<Wired>;

    /// Takes a pod interface off the wire.
    async fn unwire(&self, interface: &PodInterface) -> NetworkResult<()>;

    /// Compares a pod interface with the kernel; an empty answer means that all is well.
    async fn verify(&self, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>>;

    /// Puts right what the node as a whole needs (forwarding, reverse-path filters) and finishes what
    /// earlier calls put off. To be repeated every few seconds, as others change the node too.
    async fn maintain(&self) -> NetworkResult<()>;

    /// What of ours is there. A kernel that is busy may leave something out: absence in one survey proves
    /// nothing.
    async fn survey(&self) -> NetworkResult<Survey>;

    /// Puts back what others took away on the node's side of pod interfaces whose device is there (its device
    /// set up, rules, routes, neighbours); what that was. It enters no sandbox, and leaves alone what has no
    /// device.
    async fn repair(&self, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>>;

    /// Removes a leftover, unless something that is there uses it by now.
    async fn clear(&self, leftover: Leftover) -> NetworkResult<()>;

    /// A line for everything in the node's network namespace that is ours: pod links, rules, routes,
    /// neighbours.
    async fn list(&self) -> NetworkResult<Vec<String>>;
}
