//! A whole Kubernetes cluster on this machine: a control plane and nodes with kubelet, containerd and
//! kube-proxy, each an instance of a VPC that the crate `fabric` makes in network namespaces.
//!
//! [`Cluster::up`] is what `cargo testbed up` does. One process, the supervisor, starts everything and holds it
//! on leashes: whatever ends it ends all. Its mounts and networks are in namespaces of its own, which end with
//! it. What remains is in one directory, and the nodes' cgroups; `down` removes both.

pub(crate) mod node;

mod certificates;
mod control_plane;
mod eni;
mod handle;
mod kubectl;
mod options;
mod order;
mod relay;
mod state;
mod status;
pub(crate) mod supervisor;

pub use handle::Cluster;
pub use kubectl::Kubectl;
pub use options::{Cni, Options};
pub use order::CloudEni;
pub use state::State;

use std::{io, path::PathBuf};

use crate::kubernetes::Unavailable;

/// Why there is no cluster, or why it does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A part of the control plane, or what it is made of.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),

    /// The VPC.
    #[error(transparent)]
    Vpc(#[from] fabric::vpc::VpcError),

    /// The machine refused something.
    #[error("{what}: {source}; it takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN")]
    Machine {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },

    /// A program of the machine is missing.
    #[error("`{0}` is not on PATH; `cargo verify -- --only install`, run by root, installs its package")]
    Package(&'static str),

    /// A program of this project was not built.
    #[error("{} does not exist; `cargo build --package {}` makes it", .0.display(), eni::PACKAGES.join(" --package "))]
    Program(PathBuf),

    /// An image of our programs.
    #[error("the image {tag} cannot be made: {reason}")]
    Image {
        /// Its name.
        tag: &'static str,
        /// Why.
        reason: String,
    },

    /// There is one already.
    #[error("{} holds a cluster; end it with `cargo testbed down`, or name another directory with --state", .0.display())]
    Exists(PathBuf),

    /// There is none.
    #[error("there is no cluster in {}; `cargo testbed up` makes one", .0.display())]
    Missing(PathBuf),

    /// The supervisor could not bring it up.
    #[error("the cluster did not come up; the end of {}:\n{tail}", log.display())]
    Failed {
        /// The log.
        log: PathBuf,
        /// Its end.
        tail: String,
    },

    /// A command was refused.
    #[error("`kubectl {arguments}` failed: {output}")]
    Kubectl {
        /// Its arguments.
        arguments: String,
        /// What it said.
        output: String,
    },

    /// Something did not come in time.
    #[error("{what}: not within {seconds} s; the logs are in {}", logs.display())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where to look.
        logs: PathBuf,
    },
}

impl ClusterError {
    /// Whether programs are missing that could be had.
    fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Package(_) | Self::Program(_) | Self::Unavailable(Unavailable::Missing(_))
        )
    }

    /// An error of the machine in doing `what`.
    fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Machine { what, source }
    }
}
