//! ipamd: the one process of a cluster that talks to the cloud.
//!
//! It is a library: its caller makes the controller, with its cloud, its cluster and its environment, and
//! keeps a monitor of it where it wants one. What is decided is in `eni_core::controller`.

use std::future::Future;

use eni_core::controller::PoolController;

/// Runs the controllers until `shutdown` is ready or leadership is lost. Orders under way are found again
/// by the next run.
pub async fn run(pools: PoolController, shutdown: impl Future<Output = ()>) {
    tracing::info!(?pools, "ipamd starts");
    tokio::select! {
        biased;
        () = shutdown => tracing::info!("ipamd stops"),
        () = pools.run() => {}
    }
}
