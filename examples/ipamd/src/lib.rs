//! ipamd: the one process of a cluster that talks to the cloud.
//!
//! It is a library: [`run`] takes the cloud, the cluster and the environment from its caller. What it
//! decides is in `eni_core::controller`.

use std::future::Future;

use eni_core::controller::{Backends, PoolConfig, PoolController};

/// Runs the controllers until `shutdown` is ready or leadership is lost. Orders under way are found again
/// by the next run.
pub async fn run(backends: Backends, config: PoolConfig, shutdown: impl Future<Output = ()>) {
    let subnets = config.subnets.len();
    tracing::info!(subnets, warm = ?config.warm, "ipamd starts");
    let pools = PoolController::new(backends, config);
    tokio::select! {
        biased;
        () = shutdown => tracing::info!("ipamd stops"),
        () = pools.run() => {}
    }
}
