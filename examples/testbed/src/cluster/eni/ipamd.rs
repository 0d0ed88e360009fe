//! ipamd, in the process that holds the cloud.

use std::{path::Path, sync::Arc};

use fabric::vpc::Vpc;
use ipamd::{options::Options, program};
use tokio::task::JoinHandle;

use crate::cluster::ClusterError;

/// The cluster's id, as ENIs bear it.
const CLUSTER: &str = "cls-testbed";

/// Runs ipamd on the cloud of a VPC, until this process ends or the task is aborted, which is as a crash: its lease
/// is not given back. What it says goes to the log of this process.
pub(in crate::cluster) fn start(
    runtime: &tokio::runtime::Runtime,
    vpc: &Vpc,
    kubeconfig: &Path,
) -> Result<JoinHandle<()>, ClusterError> {
    let subnets: Vec<&str> = vpc
        .topology
        .subnets
        .iter()
        .map(|subnet| subnet.id.as_str())
        .collect();
    let arguments = [
        "tke-eni-ipamd".to_owned(),
        format!("--clusterid={CLUSTER}"),
        format!("--subnets={}", subnets.join(":")),
        // Its own, in whose place it is given the VPC's.
        "--cloud=memory".to_owned(),
        "--memory-cloud=unused".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--health-address=127.0.0.1:0".to_owned(),
    ];
    let options = Options::read(arguments)
        .map_err(|error| ClusterError::machine("ipamd's flags")(std::io::Error::other(error)))?;
    let cloud = Arc::new(vpc.cloud.clone());
    let task = runtime.spawn(async move {
        if let Err(error) = program::run_on(cloud, options, std::future::pending()).await {
            tracing::error!(%error, "ipamd has ended");
        }
    });
    Ok(task)
}
