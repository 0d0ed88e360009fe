//! From start to end: the certificate, the server, and that the API server trusts it.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use eni_kube::{ConnectError, connect};
use kube::Client;
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    certificate::{CertificateError, Identity, obtain, publish},
    options::Options,
    server,
    tls::{self, TlsError},
};

/// How often it is seen to that the API server trusts the certificate: who applies the manifest again takes that
/// away.
const LOOK: Duration = Duration::from_secs(30);
/// How long is waited for an API server that does not answer.
const RETRY: Duration = Duration::from_secs(2);

/// Why the webhook does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The Kubernetes API.
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port.
    #[error("--listen {address}: {source}; end what listens there, or take another port")]
    Port {
        /// What was given.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Runs until `shutdown` is ready. An API server that does not answer is waited for.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let client = connect(&options.access()).await?;
    let address = options.listen;
    let bound = TcpListener::bind(address).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|source| StartError::Port { address, source })?;
    let mut shutdown = pin!(shutdown);
    let identity = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        identity = identity(&client, &options) => identity,
    };
    let tls = tls::acceptor(&identity)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, default = options.default_cni, "the webhook serves");
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        served = server::serve(listener, tls, options.default_network()) => {
            served.map_err(|source| StartError::Port { address, source })
        }
        never = keep_trusted(&client, &options, &identity) => match never {},
    }
}

async fn identity(client: &Client, options: &Options) -> Identity {
    loop {
        match obtain(client, options).await {
            Ok(identity) => return identity,
            Err(error) => tracing::warn!(%error, "no certificate yet"),
        }
        sleep(RETRY).await;
    }
}

async fn keep_trusted(client: &Client, options: &Options, identity: &Identity) -> Infallible {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        while let Err(error) = trust(client, options, identity).await {
            tracing::warn!(%error, "pods are admitted without asking for an address until this is mended");
            sleep(RETRY).await;
        }
    }
}

async fn trust(client: &Client, options: &Options, identity: &Identity) -> Result<(), CertificateError> {
    if publish(client, options, identity).await? {
        tracing::info!(
            configuration = options.configuration,
            "the API server is told what to trust"
        );
    }
    Ok(())
}
