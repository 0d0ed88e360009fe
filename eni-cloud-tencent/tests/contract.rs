//! The core's contract of a cloud, through HTTP: this client against a simulator of the API.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_cloud_tencent::{
    ApiConfig, Credentials, Endpoint, StaticCredentials, TencentCloud,
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

struct Simulated {
    cloud: Arc<TencentCloud>,
    /// The server; it ends with the harness.
    _server: JoinSet<std::io::Result<()>>,
}

/// Long enough for a look between an order and its end.
const ORDER: Duration = Duration::from_millis(20);

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
        let keys = Credentials::new("AKIDcontract", "key");
        simulator.add_credentials(keys.clone(), None);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gateway = format!("http://{}", listener.local_addr().expect("an address"));
        let mut server = JoinSet::new();
        server.spawn(async move { simulator.serve(listener).await });
        let config = ApiConfig {
            endpoint: Endpoint::At(gateway.parse().expect("a gateway")),
            ..ApiConfig::new("ap-guangzhou")
        };
        let keys = Arc::new(StaticCredentials::new(keys));
        Self {
            cloud: Arc::new(TencentCloud::new(&config, keys, environment).expect("a client")),
            _server: server,
        }
    }
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
