//! `tencent-sim`: Tencent's API on a loopback address, over a cloud in memory.
//!
//! Its first line of output is JSON: where it listens, and what there is.

use std::{error::Error, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use eni_cloud_tencent::{
    Credentials,
    simulator::{FaultPlan, Rates, Settings, Simulator, Topology},
};
use eni_core::env::SystemEnvironment;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpListener;

/// Tencent Cloud's VPC, CVM, tag and STS API, version 3.0, simulated on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where to answer, a loopback address; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_parser = loopback)]
    listen: SocketAddr,
    /// The id of the key that requests are signed with.
    #[arg(long)]
    secret_id: String,
    /// The key that requests are signed with.
    #[arg(long, env = "TENCENT_SIM_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
    /// Subnets and instances, as JSON; without it, two zones with two subnets each and three instances.
    #[arg(long)]
    topology: Option<PathBuf>,
    /// How long orders take, in milliseconds.
    #[arg(long, default_value_t = 500)]
    order_millis: u64,
    /// Calls of each action in a second; 0 for no limit. By default as documented.
    #[arg(long)]
    rate: Option<u32>,
    /// A plan of faults, as JSON; the same as by PUT to /_sim/faults.
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Where the metadata service answers, a loopback address.
    #[arg(long, value_parser = loopback)]
    metadata_listen: Option<SocketAddr>,
    /// The instance that the metadata service speaks of; by default the first.
    #[arg(long)]
    metadata_instance: Option<String>,
    /// The role whose keys the metadata service hands out.
    #[arg(long)]
    metadata_role: Option<String>,
}

/// Nobody else on the network shall reach it.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}"))?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("it is not a loopback address; listen on 127.0.0.1 or ::1".to_owned()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let topology: Topology = options.topology.map_or(Ok(Topology::default()), read)?;
    let orders = Duration::from_millis(options.order_millis);
    let settings = Settings {
        region: topology.region.clone(),
        rates: match options.rate {
            None => Rates::Documented,
            Some(0) => Rates::Unlimited,
            Some(each) => Rates::Each(each),
        },
        eip_orders: orders,
        ..Settings::default()
    };
    let cloud = topology.cloud(orders)?;
    let simulator = Simulator::new(cloud, Arc::new(SystemEnvironment::default()), settings);
    simulator.add_credentials(Credentials::new(options.secret_id, options.secret_key), None);
    simulator.plan_faults(options.faults.map_or(Ok(FaultPlan::default()), read)?);

    let listener = TcpListener::bind(options.listen).await?;
    let metadata = match options.metadata_listen {
        Some(address) => Some(TcpListener::bind(address).await?),
        None => None,
    };
    let first = json!({
        "listen": listener.local_addr()?,
        "metadata": metadata.as_ref().map(TcpListener::local_addr).transpose()?,
        "topology": topology,
    });
    println!("{first}");
    let Some(second) = metadata else {
        return Ok(simulator.serve(listener).await?);
    };
    let first = topology.instances.first().map(|place| place.id.clone());
    let instance = options.metadata_instance.or(first).unwrap_or_default();
    let router = simulator.metadata(instance, options.metadata_role);
    tokio::try_join!(simulator.serve(listener), async {
        axum::serve(second, router).await
    })?;
    Ok(())
}

fn read<T: DeserializeOwned>(path: PathBuf) -> Result<T, Box<dyn Error>> {
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
