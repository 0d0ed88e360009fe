//! Makes good the DELs that plugins acknowledged while no agent was there.

use std::{io, time::Duration};

use agent_api::{DelRecord, Spool, SpoolError};
use eni_core::{
    agent::{Del, DelError, NodeService},
    model::SandboxKey,
    network::{NodeNetwork, PodInterface},
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
pub(super) async fn all(
    spool: &Spool,
    service: &Arc<NodeService>,
    network: &dyn NodeNetwork,
) -> Result<(), ReplayError> {
    for record in spool.list()? {
        match record {
            Ok(record) => one(spool, service, network, record).await?,
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
    network: &dyn NodeNetwork,
    key: &SandboxKey,
) -> Result<(), ReplayError> {
    match spool.find(key)? {
        Some(record) => one(spool, service, network, record).await,
        None => Ok(()),
    }
}

async fn one(
    spool: &Spool,
    service: &Arc<NodeService>,
    network: &dyn NodeNetwork,
    record: DelRecord,
) -> Result<(), ReplayError> {
    let del = Del {
        key: record.key.clone(),
        deadline: Instant::now() + DEADLINE,
        started: record.started()?,
    };
    let released = service.del(del).await.map_err(|source| ReplayError::Del {
        key: record.key.clone(),
        source,
    })?;
    if let Some(allocation) = &released {
        // The plugin may not have known the addresses, and so have left their rules.
        let interface = PodInterface {
            key: record.key.clone(),
            pod: allocation.pod.clone(),
            addresses: Some(allocation.addresses),
        };
        if let Err(error) = network.unwire(&interface).await {
            tracing::error!(key = %record.key, addresses = %allocation.addresses, %error,
                "a deleted pod's rules or routes remain; remove them by hand");
        }
    }
    spool.remove(&record.key)?;
    tracing::info!(key = %record.key, ?released, "replayed a DEL that came while the agent was away");
    Ok(())
}
