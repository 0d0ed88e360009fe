//! Tencent's HTTP API over a [`MemoryCloud`]: strict enough for the official SDKs, with the codes, states,
//! limits and oddities of the service.
//!
//! A [`Simulator`] listens on a socket, or is called as a service in the same process. What the API shows
//! lives in the memory cloud, whose latencies, quotas and [`Fabric`](eni_core::sim::Fabric) apply.

mod accounts;
mod actions;
pub mod catalogue;
mod desk;
mod eips;
mod faults;
mod gateway;
mod listing;
mod metadata;
mod parameters;
mod query;
mod rates;
mod refusal;
mod render;
mod reserves;
mod schema;
mod server;
mod signature;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;
mod topology;
mod validate;
mod wire;

use std::{fmt, io, sync::Arc, time::Duration};

use axum::Router;
use eni_core::{env::Environment, model::InstanceId, sim::MemoryCloud};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::Credentials;
use desk::Desk;
pub use faults::{Fault, FaultPlan, FaultRule};
pub use rates::Rates;
pub use topology::{Place, Range, Topology, TopologyError};

/// Which of Tencent's two sites is simulated: the international one lacks some fields, and refuses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Site {
    /// cloud.tencent.com
    #[default]
    Mainland,
    /// tencentcloud.com
    International,
}

/// What a simulator is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region that requests must name.
    pub region: String,
    /// The site.
    pub site: Site,
    /// How often actions may be called.
    pub rates: Rates,
    /// When the VPC was made, as listings show it.
    pub since: String,
    /// The security groups there are.
    pub security_groups: Vec<String>,
    /// How long orders about public addresses take.
    pub eip_orders: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "ap-guangzhou".to_owned(),
            site: Site::default(),
            rates: Rates::default(),
            since: "2026-01-01 08:00:00".to_owned(),
            // The first is what the memory cloud gives an ENI for which none is named.
            security_groups: vec!["sg-default".to_owned(), "sg-sim00001".to_owned()],
            eip_orders: Duration::ZERO,
        }
    }
}

/// The API over one memory cloud. Clones are handles of the same simulator.
#[derive(Clone)]
pub struct Simulator {
    desk: Arc<Desk>,
}

impl Simulator {
    /// The API over `cloud`, which may be used and changed beside it at any time. Nobody has keys yet.
    pub fn new(cloud: MemoryCloud, environment: Arc<dyn Environment>, settings: Settings) -> Self {
        let desk = Desk {
            cloud,
            environment,
            settings,
            accounts: Mutex::default(),
            meter: Mutex::default(),
            tokens: Mutex::default(),
            tasks: Mutex::default(),
            notes: Mutex::default(),
            faults: Mutex::default(),
            eips: Mutex::default(),
            reserves: Mutex::default(),
        };
        Self { desk: Arc::new(desk) }
    }

    /// Accepts requests that are signed with these keys, for ever or until then.
    pub fn add_credentials(&self, credentials: Credentials, expires: Option<Timestamp>) {
        self.desk.accounts.lock().add(credentials, expires);
    }

    /// Every temporary set of keys stops to be good, as if its time were over.
    pub fn expire_tokens(&self) {
        self.desk.accounts.lock().expire();
    }

    /// Replaces the plan of faults.
    pub fn plan_faults(&self, plan: FaultPlan) {
        self.desk.plan_faults(plan);
    }

    /// The cloud behind the API.
    pub fn cloud(&self) -> &MemoryCloud {
        &self.desk.cloud
    }

    /// The API as a service, for callers in the same process.
    pub fn router(&self) -> Router {
        server::router(self.desk.clone())
    }

    /// The metadata service as `instance` reaches it, with temporary keys of `role`.
    pub fn metadata(&self, instance: impl Into<InstanceId>, role: Option<String>) -> Router {
        metadata::router(self.desk.clone(), instance.into(), role)
    }

    /// Answers requests on a socket until the future is dropped.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        axum::serve(listener, self.router()).await
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("cloud", &self.desk.cloud)
            .finish_non_exhaustive()
    }
}
