//! What makes a node, as the processes that make it are told. Values only.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct NodeSpec {
    /// Its host name.
    pub(in crate::cluster) name: String,
    /// Where its files are.
    pub(in crate::cluster) directory: PathBuf,
    /// Its network namespace.
    pub(in crate::cluster) netns: PathBuf,
    /// Its cgroups.
    pub(in crate::cluster) cgroups: Vec<Cgroup>,
    /// The cluster's directory, which stays visible wherever it is.
    pub(in crate::cluster) state: PathBuf,
    /// Directories of the machine over which the node has a layer of its own.
    pub(in crate::cluster) layers: Vec<PathBuf>,
    /// What the node sees where: the source, below `directory`, and the place.
    pub(in crate::cluster) binds: Vec<(String, PathBuf)>,
    /// Settings of the whole machine that the node may change for itself alone, below `/proc/sys`.
    pub(in crate::cluster) settings: Vec<String>,
    /// What is run, in order.
    pub(in crate::cluster) steps: Vec<Step>,
}

/// A cgroup of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Cgroup {
    /// Its hierarchy, by the name of its directory below `/sys/fs/cgroup`.
    pub(in crate::cluster) hierarchy: String,
    /// How the hierarchy is mounted.
    pub(in crate::cluster) options: String,
    /// The directory.
    pub(in crate::cluster) path: PathBuf,
}

/// Something that a node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) enum Step {
    /// Runs as long as the node does; started again when it ends.
    Service(Program),
    /// Has to succeed before the next step, and is tried until it does.
    Once(Program),
}

/// A program of a node; its log is in the node's directory, under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Program {
    /// Its name.
    pub(in crate::cluster) name: String,
    /// Its path, or a name on PATH.
    pub(in crate::cluster) path: PathBuf,
    /// Its arguments.
    pub(in crate::cluster) arguments: Vec<String>,
}

impl NodeSpec {
    /// Reads one.
    pub(in crate::cluster) fn read(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// Writes it.
    pub(in crate::cluster) fn write(&self, file: &Path) -> io::Result<()> {
        fs::write(file, serde_json::to_vec_pretty(self).map_err(io::Error::other)?)
    }
}
