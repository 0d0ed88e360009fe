//! ipamd: the one process of a cluster that talks to the cloud.
//!
//! It is a library: [`run`] takes the cloud, the cluster and the environment from its caller. What it
//! decides is in `eni_core::controller`.

use std::{future::Future, sync::Arc};

use eni_core::{
    cloud::Cloud,
    cluster::Cluster,
    controller::{PoolConfig, PoolController},
    env::Environment,
};

/// Runs the controllers until `shutdown` is ready. Orders under way are found again by the next run.
pub async fn run(
    cloud: Arc<dyn Cloud>,
    cluster: Arc<dyn Cluster>,
    environment: Arc<dyn Environment>,
    config: PoolConfig,
    shutdown: impl Future<Output = ()>,
) {
    let subnets = config.subnets.len();
    tracing::info!(subnets, warm = ?config.warm, "ipamd starts");
    let pools = PoolController::new(cloud, cluster, environment, config);
    tokio::select! {
        biased;
        () = shutdown => tracing::info!("ipamd stops"),
        () = pools.run() => {}
    }
}
