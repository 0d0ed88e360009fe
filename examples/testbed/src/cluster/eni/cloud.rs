//! The cloud: Tencent's API over the VPC, on an address of the VPC.

use std::{io, net::Ipv4Addr};

use eni_cloud_tencent::{
    Credentials,
    simulator::{Settings, Simulator},
};
use eni_core::env::SystemEnvironment;
use eni_netlink::namespace::Namespace;
use fabric::vpc::Vpc;
use tokio::runtime::Runtime;

/// Where the API is, and who may call it.
#[derive(Debug)]
pub(super) struct Account {
    /// `http://ADDRESS:PORT`.
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) secret_id: &'static str,
    pub(super) secret_key: &'static str,
}

/// Answers calls in a network namespace, as long as this process lives.
pub(super) fn serve(
    runtime: &Runtime,
    vpc: &Vpc,
    namespace: &Namespace,
    address: Ipv4Addr,
) -> io::Result<Account> {
    let bind = || std::net::TcpListener::bind((address, 0));
    let listener = namespace.run_in(bind).map_err(io::Error::other)??;
    listener.set_nonblocking(true)?;
    let settings = Settings::default();
    let account = Account {
        endpoint: format!("http://{}", listener.local_addr()?),
        region: settings.region.clone(),
        secret_id: "AKIDtestbed",
        secret_key: "testbed",
    };
    let simulator = Simulator::new(vpc.cloud.clone(), SystemEnvironment::shared(), settings);
    simulator.add_credentials(Credentials::new(account.secret_id, account.secret_key), None);
    let _entered = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    runtime.spawn(async move {
        if let Err(error) = simulator.serve(listener).await {
            tracing::error!(%error, "the cloud does not answer any more");
        }
    });
    Ok(account)
}
