//! The VPC's data plane in the kernel: a router namespace with one veth pair per ENI.
//!
//! One end is the router's port; the other is the ENI's device, which waits in the router's namespace
//! while it is attached to nothing and moves to the node's at attach, as a hot-plug does. An address
//! is delivered to an ENI exactly while the cloud says that the ENI has it: a host route and a
//! permanent neighbour entry at the port. Strict reverse-path filtering at every port drops whatever a
//! node sends from an address that the sending ENI does not have.

mod router;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use eni_core::{
    model::{EniId, InstanceId},
    sim::{Fabric, FabricChange},
};
use eni_netlink::{namespace::NamespaceError, socket::NetlinkError};
use ipnet::IpNet;
use parking_lot::Mutex;

use crate::{
    netns::{self, NamedNamespace},
    topology::Topology,
};
use router::Router;

/// The VPC's data plane.
#[derive(Debug)]
pub struct VpcFabric {
    namespace: Arc<NamedNamespace>,
    router: Mutex<Router>,
    errors: Mutex<Vec<String>>,
}

/// Why the data plane cannot be as the cloud says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FabricError {
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A namespace cannot be used.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A setting of the kernel cannot be used.
    #[error(transparent)]
    Setting(#[from] io::Error),
    /// The cloud and the fabric do not agree on what exists.
    #[error("the cloud speaks of {0}, which the fabric does not have")]
    Unknown(String),
    /// The cloud can do more than the fabric.
    #[error("the fabric cannot carry out {0}")]
    Unsupported(String),
}

impl VpcFabric {
    /// Makes the router's namespace at `path`.
    pub fn create(path: PathBuf, topology: &Topology) -> Result<Arc<Self>, FabricError> {
        let namespace = Arc::new(NamedNamespace::create(path)?);
        let router = Router::new(namespace.clone(), topology)?;
        Ok(Arc::new(Self {
            namespace,
            router: Mutex::new(router),
            errors: Mutex::default(),
        }))
    }

    /// Makes the namespace at `node` known: the ENIs of `instance` appear there.
    pub fn connect(&self, instance: InstanceId, node: &Path) -> Result<(), FabricError> {
        self.router.lock().connect(instance, node)
    }

    /// Sends what is for `range` to the ENI that has the address `to`, and accepts it as a source there: an
    /// entry of the VPC's route table, as a network of pods without ENIs needs one per node.
    pub fn route(&self, range: IpNet, to: IpAddr) -> Result<(), FabricError> {
        self.router.lock().route(range, to)
    }

    /// What went wrong so far; the data plane is not what the cloud believes if there is anything.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }

    /// The ENIs that exist.
    pub fn enis(&self) -> Vec<EniId> {
        self.router.lock().enis()
    }

    /// Packets that the router dropped because their source was not assigned to the sending ENI.
    pub async fn spoofed_drops(&self) -> io::Result<u64> {
        netns::inside(self.router(), || {
            let counters = fs::read_to_string("/proc/thread-self/net/netstat")?;
            counter(&counters, "TcpExt:", "IPReversePathFilter")
                .ok_or_else(|| io::Error::other("this kernel does not count IPReversePathFilter"))
        })
        .await
    }

    /// The path of the router's namespace.
    pub fn router(&self) -> &Path {
        self.namespace.path()
    }
}

impl Fabric for VpcFabric {
    fn apply(&self, change: &FabricChange) {
        let applied = self.router.lock().apply(change);
        if let Err(error) = applied {
            tracing::error!(?change, %error, "the fabric does not follow the cloud");
            self.errors.lock().push(format!("fabric: {error}"));
        }
    }
}

/// A counter of `/proc/net/netstat`: a line of names, then a line of values, each with the same prefix.
fn counter(text: &str, prefix: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(prefix));
    let position = lines
        .next()?
        .split_whitespace()
        .position(|column| column == name)?;
    lines.next()?.split_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_is_found_by_its_column() {
        let text = "TcpExt: A IPReversePathFilter B\nTcpExt: 1 42 3\nIpExt: A\nIpExt: 9\n";
        assert_eq!(counter(text, "TcpExt:", "IPReversePathFilter"), Some(42));
        assert_eq!(counter(text, "IpExt:", "IPReversePathFilter"), None);
    }
}
