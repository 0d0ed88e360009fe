//! Makes good the DELs that plugins acknowledged while no agent was there.

use std::{io, time::Duration};

use agent_api::{DelRecord, Spool, SpoolError};
use eni_core::{
    agent::{Del, DelError, NodeService},
    model::SandboxKey,
};
use std::sync::Arc;
use tokio::time::Instant;

/// No call can be under way for long for an interface whose DEL is being replayed.
const DEADLINE: Duration = Duration::from_secs(10);

/// A recorded DEL that could not be made good.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The records could not be read or removed.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The DEL failed.
    #[error("the recorded DEL of {key} failed: {source}")]
    Del {
        /// The interface.
        key: SandboxKey,
        /// What happened.
        source: DelError,
    },
    /// The current boot has no id.
    #[error("cannot read the boot id: {0}")]
    Boot(#[from] io::Error),
}

/// Replays every record. One that cannot be read is reported and left for the operator.
pub(super) async fn all(spool: &Spool, service: &Arc<NodeService>) -> Result<(), ReplayError> {
    for record in spool.list()? {
        match record {
            Ok(record) => one(spool, service, record).await?,
            Err(error) => {
                tracing::error!(%error, "a recorded DEL cannot be read; its address stays owned until it is reclaimed");
            }
        }
    }
    Ok(())
}

/// Replays the record of one interface, if there is one.
pub(super) async fn of(
    spool: &Spool,
    service: &Arc<NodeService>,
    key: &SandboxKey,
) -> Result<(), ReplayError> {
    match spool.find(key)? {
        Some(record) => one(spool, service, record).await,
        None => Ok(()),
    }
}

async fn one(spool: &Spool, service: &Arc<NodeService>, record: DelRecord) -> Result<(), ReplayError> {
    let del = Del {
        key: record.key.clone(),
        deadline: Instant::now() + DEADLINE,
        started: record.started()?,
    };
    let released = service.del(del).await.map_err(|source| ReplayError::Del {
        key: record.key.clone(),
        source,
    })?;
    spool.remove(&record.key)?;
    tracing::info!(key = %record.key, ?released, "replayed a DEL that came while the agent was away");
    Ok(())
}
