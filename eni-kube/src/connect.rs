//! The client of the Kubernetes API, as the flags `--kubeconfig` and `--master` of Kubernetes' own components say.

use std::path::PathBuf;

use http::uri::InvalidUri;
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Where the API server is, and who asks it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `--kubeconfig`: a kubeconfig file; without it the service account of the pod.
    pub kubeconfig: Option<PathBuf>,
    /// `--master`: the API server's own address, such as `https://10.0.0.1:60002`, in place of the one that the
    /// kubeconfig or the pod says.
    pub master: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("--kubeconfig: {0}; give it a kubeconfig file that this user can read")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is no service account.
    #[error("this is no pod with a service account ({0}); run it in one, or give --kubeconfig")]
    NoServiceAccount(#[from] InClusterError),
    /// The address is none.
    #[error("--master {url}: {source}; write it as https://10.0.0.1:60002")]
    Master {
        /// What was given.
        url: String,
        /// Why.
        source: InvalidUri,
    },
    /// No client can be made of it.
    #[error("no client of the Kubernetes API: {0}; look at the certificates of the kubeconfig")]
    Client(#[from] kube::Error),
}

/// A client of the Kubernetes API. Nothing is asked of the API server yet, which need not be there.
pub async fn connect(access: &Access) -> Result<Client, ConnectError> {
    let mut config = match &access.kubeconfig {
        Some(file) => {
            let file = Kubeconfig::read_from(file)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::incluster()?,
    };
    if let Some(url) = &access.master {
        config.cluster_url = url.parse().map_err(|source| ConnectError::Master {
            url: url.clone(),
            source,
        })?;
    }
    Ok(Client::try_from(config)?)
}
