//! A real Kubernetes API server for tests, from Debian packages alone.
//!
//! Debian has etcd as a package, and Kubernetes 1.20 as the source of one: the newest whose source holds the
//! server. Both are kept below cargo's target directory, or where `ENI_TESTBED_CACHE` says; nothing is
//! installed, and root is not needed. [`ApiServer::start`] never builds: that takes minutes, and is the
//! gate's stage `kubernetes`.

pub(crate) mod arguments;
pub(crate) mod authority;
mod binaries;
mod build;
mod debian;
pub(crate) mod etcd;
pub mod images;
pub(crate) mod probe;
pub(crate) mod process;
pub mod programs;
mod server;

pub use binaries::Binaries;
pub use server::ApiServer;

use std::{io, path::PathBuf, time::Duration};

/// How long a server may take to be ready; an API server needs 4 s on two idle cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The environment variable that forbids tests to skip for want of an API server.
pub const REQUIRE_KUBERNETES: &str = "ENI_REQUIRE_KUBERNETES";

/// Why there is no API server.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The programs were not built yet, which takes minutes and is not done by the way.
    #[error("{} does not exist; `cargo verify -- --only kubernetes` makes it once", .0.display())]
    Missing(PathBuf),

    /// The machine refused something.
    #[error("{what}: {source}; look at the machine (disk, permissions, limits)")]
    Machine {
        /// What was tried.
        what: String,
        /// Its words.
        source: io::Error,
    },

    /// Certificates could not be made.
    #[error("no certificate could be made: {0}; this is a mistake of the testbed")]
    Certificate(#[from] rcgen::Error),

    /// A program ended, or was not ready in time.
    #[error("{program} is not ready after {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// What it said last.
        log: String,
    },
}

impl Unavailable {
    /// An error of the machine in doing `what`.
    pub(crate) fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Machine { what, source }
    }
}
