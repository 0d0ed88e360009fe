//! gRPC over the sockets of programs of the node.

use std::{error::Error, path::Path, time::Duration};

use tokio::time::timeout;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Why a program did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Nobody listens there.
    #[error("{socket} cannot be reached: {why}")]
    Unreachable {
        /// The socket.
        socket: String,
        /// What happened.
        why: String,
    },
    /// It answered no.
    #[error("{socket} answered {}: {}", status.code(), status.message())]
    Refused {
        /// The socket.
        socket: String,
        /// Its answer.
        status: Box<Status>,
    },
    /// It took too long.
    #[error("{socket} did not answer within {deadline:?}")]
    Late {
        /// The socket.
        socket: String,
        /// How long it had.
        deadline: Duration,
    },
}

/// Calls a program by a connection of its own, so that a restart of the program leaves nothing stale here.
pub(crate) async fn call<T>(
    socket: &Path,
    deadline: Duration,
    call: impl AsyncFnOnce(Channel) -> Result<T, Status>,
) -> Result<T, CallError> {
    let path = socket.display().to_string();
    call_at(format!("unix:{path}"), path, deadline, call).await
}

/// The same of a program at a URI, which errors call `path`.
pub(crate) async fn call_at<T>(
    uri: String,
    path: String,
    deadline: Duration,
    call: impl AsyncFnOnce(Channel) -> Result<T, Status>,
) -> Result<T, CallError> {
    let called = async {
        let connected = match Endpoint::from_shared(uri) {
            Ok(endpoint) => endpoint.connect().await,
            Err(invalid) => Err(invalid),
        };
        let channel = connected.map_err(|error| CallError::Unreachable {
            socket: path.clone(),
            why: chain(&error),
        })?;
        call(channel).await.map_err(|status| CallError::Refused {
            socket: path.clone(),
            status: Box::new(status),
        })
    };
    timeout(deadline, called).await.unwrap_or(Err(CallError::Late {
        socket: path.clone(),
        deadline,
    }))
}

/// An error with everything that caused it: the outermost says "transport error" and no more.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
