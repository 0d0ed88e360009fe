//! The gRPC server that the CNI plugins call: [`NodeService`] behind `agent_api`'s protocol.

mod calls;
mod listener;
mod replay;

pub use listener::{ListenError, Listener};
pub(crate) use listener::{bind_alone, bind_unix};
pub use replay::ReplayError;

use std::{future::Future, sync::Arc, time::Duration};

use agent_api::{Endpoint, Spool, proto::agent_server::AgentServer};
use eni_core::{agent::NodeService, gc::NodeCollector, network::NodeNetwork};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use calls::Calls;

use crate::history::History;

/// How long plugins that are wiring a pod are waited for when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// What the calls are about.
#[derive(Clone)]
pub struct Served {
    /// Who gives the addresses.
    pub service: Arc<NodeService>,
    /// The node's kernel.
    pub network: Arc<dyn NodeNetwork>,
    /// Who takes back what nobody uses.
    pub collector: Arc<NodeCollector>,
    /// Where the calls are remembered.
    pub history: Arc<History>,
}

/// Why the server ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The DELs that came while no agent was there could not be made good.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The transport failed.
    #[error("the server on {endpoint} failed: {source}")]
    Transport {
        /// Where it listened.
        endpoint: Endpoint,
        /// What happened.
        source: tonic::transport::Error,
    },
}

/// Replays the DELs that came while no agent was there, then serves until `shutdown`.
///
/// A shutdown answers waiting ADDs at once, so that the runtime tries again, and lets those that are
/// wiring a pod end.
pub async fn run(
    listener: Listener,
    served: Served,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let endpoint = listener.endpoint().clone();
    let spool = Spool::new(endpoint.spool_directory());
    // The socket listens already. A plugin that found none has written its record by now, or finds the
    // socket when it looks once more after writing; so no record is left behind.
    replay::all(&spool, &served.service, &*served.network).await?;

    let stopping = CancellationToken::new();
    let calls = Calls::new(served, spool, stopping.clone());
    let router = Server::builder().add_service(AgentServer::new(calls));
    let serve = listener.serve(router, stopping.clone().cancelled_owned());
    tokio::pin!(serve);
    tracing::info!(%endpoint, "serving CNI plugins");
    let ended = tokio::select! {
        biased;
        () = shutdown => {
            stopping.cancel();
            timeout(DRAIN, serve).await.unwrap_or_else(|_| {
                tracing::warn!(%endpoint, "stopped although plugins were still connected");
                Ok(())
            })
        }
        ended = &mut serve => ended,
    };
    ended.map_err(|source| ServeError::Transport { endpoint, source })
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}
