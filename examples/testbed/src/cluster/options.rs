//! What cluster is wanted.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A cluster to bring up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// Where everything of it is kept, while it is there; made by it and removed with it.
    pub state: PathBuf,
    /// Its nodes, besides the one of the control plane.
    pub nodes: u32,
    /// The network of its pods.
    pub cni: Cni,
}

/// A network of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cni {
    /// This project's: ENIs of the node, and their addresses.
    Eni,
    /// The same, where every pod has an address of its own that follows it.
    EniStatic,
    /// The reference plugins: a bridge per node, and a route of the VPC per node.
    Bridge,
    /// None: nodes are not ready before somebody installs one.
    None,
}

impl Cni {
    /// Whether it is this project's.
    pub fn is_eni(self) -> bool {
        matches!(self, Self::Eni | Self::EniStatic)
    }
}
