//! The pod network of this project in a cluster: as it is deployed, from the manifests and images of its programs, on
//! a cloud whose data plane is the cluster's own VPC.

mod cloud;
mod images;
mod manifests;
mod programs;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use eni_netlink::namespace::Namespace;
use fabric::{nodes::Node, vpc::Vpc};
use tokio::runtime::Runtime;

use self::cloud::Account;
pub(super) use self::programs::{PACKAGES, build};
use super::{ClusterError, Cni, Kubectl};

/// Where the scheduler's extender answers on the node that has it, the first one.
pub(super) fn extender(node: Ipv4Addr) -> String {
    format!("http://{node}:{EXTENDER_PORT}")
}

/// The extender's port, by its manifest.
const EXTENDER_PORT: u16 = 50055;

/// The network, before nodes are there that run it.
#[derive(Debug)]
pub(super) struct Eni {
    account: Account,
    images: Vec<PathBuf>,
}

impl Eni {
    /// Has the cloud answer on the instance `gateway`, and makes the images of the programs beside this one, with their
    /// files below `work`.
    pub(super) fn prepare(
        runtime: &Runtime,
        vpc: &Vpc,
        gateway: &Node,
        work: &Path,
    ) -> Result<Self, ClusterError> {
        let programs = std::env::current_exe().map_err(ClusterError::machine("the path of this program"))?;
        let programs = programs.parent().unwrap_or(Path::new("/"));
        let namespace = Namespace::open(gateway.netns()).map_err(std::io::Error::other);
        let account = namespace.and_then(|place| cloud::serve(runtime, vpc, &place, gateway.address));
        Ok(Self {
            account: account.map_err(ClusterError::machine("the cloud's gateway"))?,
            images: images::make(programs, work)?,
        })
    }

    /// The archives of the images, which nodes have to know.
    pub(super) fn images(&self) -> &[PathBuf] {
        &self.images
    }

    /// Deploys the programs.
    pub(super) fn deploy(&self, vpc: &Vpc, kubectl: &Kubectl, cni: Cni) -> Result<(), ClusterError> {
        let objects = manifests::objects(&self.account, &vpc.topology, cni);
        kubectl.feed(&["apply", "--filename=-"], &objects.to_string())?;
        Ok(())
    }
}
