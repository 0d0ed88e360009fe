//! The flags.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::Parser;
use eni_kube::Access;

use crate::admission::Network;

/// Makes pods ask for the VPC address that they get, so that no more of them are scheduled to a node than it can
/// serve.
#[derive(Clone, Debug, Parser)]
#[command(name = "tke-eni-webhook", version)]
pub struct Options {
    /// Where the API server reaches it, by HTTPS: /add-pod-eni-ip-limit, /healthz and /metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,

    /// The network of pods that name none: tke-route-eni, tke-direct-eni, or that of another CNI, whose pods are
    /// left alone.
    #[arg(long, value_name = "NETWORK", default_value = "tke-route-eni")]
    pub default_cni: String,

    /// The name under which the API server calls it, that of its Service; its certificate is made out to it.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "add-pod-eni-ip-limit-webhook.tke-eni-ip-webhook.svc"
    )]
    pub server_name: String,

    /// The namespace of the Secret with its certificate.
    #[arg(long, value_name = "NAMESPACE", default_value = "tke-eni-ip-webhook")]
    pub namespace: String,

    /// The Secret with its certificate, which it makes if there is none.
    #[arg(long, value_name = "NAME", default_value = "add-pod-eni-ip-limit-webhook")]
    pub secret: String,

    /// The MutatingWebhookConfiguration that it tells what to trust.
    #[arg(long, value_name = "NAME", default_value = "add-pod-eni-ip-limit-webhook")]
    pub configuration: String,

    /// A kubeconfig file; without it the service account of the pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The API server's own address, such as https://10.0.0.1:60002, so as not to depend on kube-proxy.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,

    /// What is logged: a level, or a filter such as info,webhook=debug.
    #[arg(long, value_name = "FILTER", env = "TKE_ENI_LOG_LEVEL", default_value = "info", value_parser = filter)]
    pub log_level: String,
}

impl Options {
    /// Reads them from a command line.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments)
    }

    /// The network of pods that name none, if it is one of ours.
    pub fn default_network(&self) -> Option<Network> {
        Network::of(&self.default_cni)
    }

    /// Where the API server is.
    pub fn access(&self) -> Access {
        Access {
            kubeconfig: self.kubeconfig.clone(),
            master: self.master.clone(),
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; write info, or info,webhook=debug")),
    }
}
