//! From start to end: what is known, the election, and who answers.

use std::{fs, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use eni_core::{
    env::{Environment, SystemEnvironment},
    leadership::Leadership,
};
use eni_kube::{
    ConnectError, Election, ElectionOptions, KubeCluster, KubeOptions, connect, extender::Binder,
};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::sleep,
};

use crate::{ledger::Ledger, options::Options, server::Extender};

/// The source of our events.
const COMPONENT: &str = "tke-eni-ip-scheduler";

/// How often it is looked whether leadership lasts, and how long is waited for an API server that does not answer.
const LOOK: Duration = Duration::from_millis(500);

/// Why the extender does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The Kubernetes API.
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    /// The port.
    #[error("--listen {address}: {source}; end what listens there, or take another port")]
    Port {
        /// What was given.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A part of it ended, without which it cannot answer rightly.
    #[error("the server or the watches of the extender ended by themselves ({0}); it is to be started again")]
    Ended(String),
}

/// Runs until `shutdown` is ready, and gives leadership back then.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let environment = SystemEnvironment::shared();
    let client = connect(&options.access()).await?;
    let address = options.listen;
    let bound = TcpListener::bind(address).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|source| StartError::Port { address, source })?;
    let identity = identity(environment.as_ref());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, identity, "the extender starts");

    let cluster = Arc::new(KubeCluster::new(
        client.clone(),
        &KubeOptions::new(COMPONENT),
        environment.clone(),
    ));
    let ledger = Arc::new(Ledger::default());
    let extender = Extender::new(
        ledger.clone(),
        Binder::new(client.clone(), options.call_timeout()),
    );
    let mut parts = JoinSet::new();
    let server = extender.clone();
    parts.spawn(async move { server.serve(listener).await });
    let (followed, follower) = (cluster.clone(), ledger.clone());
    parts.spawn(async move { match follower.follow(followed.as_ref()).await {} });
    let election = Election::new(
        client,
        ElectionOptions::new(
            &options.leader_elect_resource_namespace,
            &options.leader_elect_resource_name,
            identity,
        ),
        environment,
    );
    let mut shutdown = pin!(shutdown);
    loop {
        let leader = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            Some(ended) = parts.join_next() => return Err(stopped_alone(ended)),
            leader = election.lead() => leader,
        };
        let leadership = leader.leadership();
        let term = async {
            if take_over(&options, &ledger, &cluster, leadership.as_ref()).await {
                extender.begin(leadership.clone());
                tracing::info!("this replica answers");
                while leadership.remaining().is_some() {
                    sleep(LOOK).await;
                }
            }
        };
        let stopped = tokio::select! {
            biased;
            () = &mut shutdown => true,
            // Whoever follows must not wait for a lease that nobody serves.
            Some(ended) = parts.join_next() => {
                extender.end().await;
                leader.release().await;
                return Err(stopped_alone(ended));
            }
            () = term => false,
        };
        extender.end().await;
        leader.release().await;
        if stopped {
            return Ok(());
        }
    }
}

/// A part that never ends by itself has ended.
fn stopped_alone(ended: Result<io::Result<()>, JoinError>) -> StartError {
    StartError::Ended(match ended {
        Ok(Ok(())) => "without an error".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    })
}

/// Waits until what the leader before may have sent has ended, and reads everything then. False: leadership was lost.
async fn take_over(
    options: &Options,
    ledger: &Ledger,
    cluster: &KubeCluster,
    leadership: &dyn Leadership,
) -> bool {
    sleep(options.http_timeout).await;
    while leadership.remaining().is_some() {
        if !ledger.is_known() {
            tracing::info!("pods and NodeENIConfigs are not read yet");
        } else {
            match ledger.refresh(cluster).await {
                Ok(()) => return true,
                Err(error) => tracing::warn!(%error, "pods and NodeENIConfigs cannot be read"),
            }
        }
        sleep(LOOK).await;
    }
    false
}

/// This process and no other: in a pod the host's name is the pod's, or with its network the node's.
fn identity(environment: &dyn Environment) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), environment.random())
}
