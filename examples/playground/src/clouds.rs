//! Which cloud the system works on. Behind each is the same VPC.

use std::{io, net::Ipv4Addr, sync::Arc};

use clap::ValueEnum;
use eni_cloud_tencent::{
    ApiConfig, BuildError, Credentials, Endpoint, InvalidGateway, StaticCredentials, TencentCloud,
    simulator::{Settings, Simulator},
};
use eni_core::{cloud::Cloud, env::SystemEnvironment};
use fabric::vpc::Vpc;
use tokio::net::TcpListener;

/// A way to the VPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CloudKind {
    /// By calls in this process.
    #[default]
    Memory,
    /// By Tencent's API: signed HTTP to a simulator on the loopback address.
    TencentSim,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudKindError {
    /// The simulator's socket.
    #[error("the simulator cannot listen on the loopback address: {0}")]
    Listen(#[from] io::Error),
    /// Its address.
    #[error(transparent)]
    Gateway(#[from] InvalidGateway),
    /// The client.
    #[error(transparent)]
    Client(#[from] BuildError),
}

/// The VPC's cloud, reached this way as long as this process lives.
pub async fn connect(kind: CloudKind, vpc: &Vpc) -> Result<Arc<dyn Cloud>, CloudKindError> {
    if kind == CloudKind::Memory {
        return Ok(Arc::new(vpc.cloud.clone()));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let gateway = format!("http://{}", listener.local_addr()?).parse()?;
    let (environment, settings) = (SystemEnvironment::shared(), Settings::default());
    let api = ApiConfig {
        endpoint: Endpoint::At(gateway),
        ..ApiConfig::new(settings.region.clone())
    };
    let keys = Credentials::new("AKIDplayground", "playground");
    let simulator = Simulator::new(vpc.cloud.clone(), environment.clone(), settings);
    simulator.add_credentials(keys.clone(), None);
    tokio::spawn(async move {
        if let Err(error) = simulator.serve(listener).await {
            tracing::error!(%error, "the simulator does not answer any more");
        }
    });
    let keys = Arc::new(StaticCredentials::new(keys));
    Ok(Arc::new(TencentCloud::new(&api, keys, environment)?))
}
