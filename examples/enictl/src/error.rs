//! Why there is no answer.

use std::path::PathBuf;

use eni_core::{journal::JournalError, network::NetworkError};
use eni_netlink::socket::NetlinkError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no way to the API server.
    #[error("no kubeconfig ({0}); set KUBECONFIG or give --kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server does not answer as it should.
    #[error("{what}: {source}; look whether the API server is up and this user may read that")]
    Api {
        /// What was asked.
        what: String,
        /// Its answer.
        source: kube::Error,
    },
    /// ipamd has not run yet: its kinds are not defined.
    #[error("the API server knows no {0}; ipamd defines it when it starts")]
    Undefined(&'static str),
    /// The agent does not answer on its socket.
    #[error("{socket}: {message}; run this on the node, as root, while the agent runs")]
    Agent {
        /// Its socket.
        socket: PathBuf,
        /// What happened.
        message: String,
    },
    /// The kernel cannot be read.
    #[error("the kernel cannot be read: {0}; run this as root in the node's network namespace")]
    Netlink(#[from] NetlinkError),
    /// The kernel cannot be read.
    #[error("the kernel cannot be read: {0}; run this as root in the node's network namespace")]
    Network(#[from] NetworkError),
    /// The journal cannot be copied.
    #[error("{path}: {source}; give it a journal that this user can read")]
    Copy {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The copy of the journal cannot be read.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// An answer cannot be shown.
    #[error(
        "an answer is no JSON: {0}; the versions of enictl and the agent differ, use those of one release"
    )]
    Json(#[from] serde_json::Error),
}
