//! The core's contract of a cloud, through HTTP: this client against a simulator of the API.

mod faults;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::Router;
use eni_cloud_tencent::{
    ApiConfig, Credentials, Endpoint, Gateway, StaticCredentials, TencentCloud,
    simulator::{Settings, Simulator},
};
use eni_core::{
    cloud::Cloud,
    contract::cloud::CloudHarness,
    env::SystemEnvironment,
    model::{InstanceId, Limits, SubnetId},
    sim::{Latency, MemoryCloud},
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

/// A simulator on a port of this machine, and a client of it.
struct Simulated {
    cloud: Arc<TencentCloud>,
    simulator: Simulator,
    config: ApiConfig,
    /// The servers; they end with the harness.
    servers: JoinSet<std::io::Result<()>>,
}

/// Long enough for a look between an order and its end.
const ORDER: Duration = Duration::from_millis(20);

/// The keys of the client.
fn keys() -> Credentials {
    Credentials::new("AKIDcontract", "key")
}

impl Simulated {
    async fn start() -> Self {
        let limits = Limits {
            enis: 4,
            addresses_per_eni: 14,
        };
        let range = |text: &str| text.parse().expect("a range");
        let memory = MemoryCloud::builder()
            .subnet("subnet-aaaaaaaa", "ap-guangzhou-3", range("10.0.0.0/24"))
            .subnet("subnet-ffffffff", "ap-guangzhou-3", range("10.0.1.0/31"))
            .subnet("subnet-bbbbbbbb", "ap-guangzhou-4", range("10.0.2.0/24"))
            .instance("ins-aaaaaaaa", "subnet-aaaaaaaa", limits)
            .latency(Latency::orders(ORDER))
            .build();
        let environment = SystemEnvironment::shared();
        let simulator = Simulator::new(memory, environment.clone(), Settings::default());
        simulator.add_credentials(keys(), None);
        let mut servers = JoinSet::new();
        let gateway = serve(&mut servers, simulator.router()).await;
        let config = ApiConfig {
            endpoint: Endpoint::At(gateway),
            ..ApiConfig::new("ap-guangzhou")
        };
        let source = Arc::new(StaticCredentials::new(keys()));
        Self {
            cloud: Arc::new(TencentCloud::new(&config, source, environment).expect("a client")),
            simulator,
            config,
            servers,
        }
    }
}

/// Serves on a port of its own, and tells where.
async fn serve(servers: &mut JoinSet<std::io::Result<()>>, router: Router) -> Gateway {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    servers.spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().expect("a gateway")
}

#[async_trait]
impl CloudHarness for Simulated {
    fn cloud(&self) -> Arc<dyn Cloud> {
        self.cloud.clone()
    }

    fn instance(&self) -> InstanceId {
        "ins-aaaaaaaa".into()
    }

    fn subnet(&self) -> SubnetId {
        "subnet-aaaaaaaa".into()
    }

    fn full_subnet(&self) -> Option<SubnetId> {
        Some("subnet-ffffffff".into())
    }

    fn foreign_subnet(&self) -> Option<SubnetId> {
        Some("subnet-bbbbbbbb".into())
    }

    /// A server's time is real: it is looked at again, up to the suite's limit.
    async fn settle(&self) {
        sleep(ORDER / 4).await;
    }
}

mod contract {
    eni_core::cloud_contract!(async || super::Simulated::start().await);
}
