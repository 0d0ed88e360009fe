//! The client of the Kubernetes API.

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::options::KubernetesFlags;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("--kubeconfig: {0}; give it a kubeconfig file that this user can read")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// There is no service account.
    #[error("this is no pod with a service account ({0}); run it in one, or give --kubeconfig")]
    NoServiceAccount(#[from] kube::config::InClusterError),
    /// The address is none.
    #[error("--master {url}: {source}; write it as https://10.0.0.1:60002")]
    Master {
        /// What was given.
        url: String,
        /// Why.
        source: axum::http::uri::InvalidUri,
    },
    /// No client can be made of it.
    #[error("no client of the Kubernetes API: {0}; look at the certificates of the kubeconfig")]
    Client(#[from] kube::Error),
}

/// A client as the flags want it. Nothing is asked of the API server yet.
pub async fn connect(flags: &KubernetesFlags) -> Result<Client, ConnectError> {
    let mut config = match &flags.kubeconfig {
        Some(file) => {
            let file = Kubeconfig::read_from(file)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::incluster()?,
    };
    if let Some(url) = &flags.master {
        config.cluster_url = url.parse().map_err(|source| ConnectError::Master {
            url: url.clone(),
            source,
        })?;
    }
    Ok(Client::try_from(config)?)
}
