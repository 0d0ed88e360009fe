//! The backends of this crate keep the contracts of their traits.
#![cfg(feature = "contract")]

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_core::{
    cloud::Cloud,
    cluster::Cluster,
    contract::{
        cloud::CloudHarness, cluster::ClusterHarness, journal::JournalHarness, network::NetworkHarness,
    },
    journal::{Journal, MemoryJournal},
    model::{InstanceId, Limits, Mac, SubnetId},
    network::{EniSetup, NodeNetwork},
    sim::{Latency, MemoryCloud, MemoryCluster, MemoryNetwork},
};

struct InMemory<T>(T);

fn cloud() -> MemoryCloud {
    let cloud = MemoryCloud::builder()
        .subnet("subnet-a", "zone-1", "10.0.0.0/24".parse().unwrap())
        .subnet("subnet-b", "zone-2", "10.0.1.0/24".parse().unwrap())
        .subnet("subnet-full", "zone-1", "10.0.2.0/29".parse().unwrap())
        .instance(
            "ins-a",
            "subnet-a",
            Limits {
                enis: 2,
                addresses_per_eni: 15,
            },
        )
        .latency(Latency::orders(Duration::from_secs(3)))
        .build();
    cloud.take_addresses(&"subnet-full".into(), 5);
    cloud
}

#[async_trait]
impl CloudHarness for InMemory<MemoryCloud> {
    fn cloud(&self) -> Arc<dyn Cloud> {
        Arc::new(self.0.clone())
    }

    fn instance(&self) -> InstanceId {
        "ins-a".into()
    }

    fn subnet(&self) -> SubnetId {
        "subnet-a".into()
    }

    fn full_subnet(&self) -> Option<SubnetId> {
        Some("subnet-full".into())
    }

    fn foreign_subnet(&self) -> Option<SubnetId> {
        Some("subnet-b".into())
    }

    async fn settle(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

mod memory_cloud {
    eni_core::cloud_contract!(async || {
        tokio::time::pause();
        super::InMemory(super::cloud())
    });
}

/// The least that a cloud may be able to do.
mod plain_memory_cloud {
    use eni_core::cloud::Capabilities;

    eni_core::cloud_contract!(async || {
        tokio::time::pause();
        let cloud = super::MemoryCloud::builder()
            .subnet("subnet-a", "zone-1", "10.0.0.0/24".parse().unwrap())
            .subnet("subnet-b", "zone-2", "10.0.1.0/24".parse().unwrap())
            .subnet("subnet-full", "zone-1", "10.0.2.0/31".parse().unwrap())
            .instance(
                "ins-a",
                "subnet-a",
                super::Limits {
                    enis: 2,
                    addresses_per_eni: 3,
                },
            )
            .capabilities(Capabilities::default());
        super::InMemory(cloud.build())
    });
}

impl ClusterHarness for InMemory<MemoryCluster> {
    fn cluster(&self) -> Arc<dyn Cluster> {
        Arc::new(self.0.clone())
    }
}

mod memory_cluster {
    eni_core::cluster_contract!(async || super::InMemory(super::MemoryCluster::new()));
}

#[async_trait]
impl JournalHarness for InMemory<MemoryJournal> {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(self.0.clone())
    }
}

mod memory_journal {
    eni_core::journal_contract!(async || super::InMemory(super::MemoryJournal::new()));
}

#[cfg(feature = "file-journal")]
mod file_journal {
    use std::sync::Arc;

    use async_trait::async_trait;
    use eni_core::{
        contract::journal::JournalHarness,
        journal::{FileJournal, Journal},
    };

    struct InDirectory(tempfile::TempDir);

    #[async_trait]
    impl JournalHarness for InDirectory {
        async fn open(&self) -> Arc<dyn Journal> {
            Arc::new(FileJournal::open(self.0.path().join("journal")).await.unwrap())
        }
    }

    eni_core::journal_contract!(async || InDirectory(tempfile::TempDir::new().unwrap()));
}

const MAC: Mac = Mac([0x20, 0x90, 0x6f, 0, 0, 1]);

#[async_trait]
impl NetworkHarness for InMemory<Arc<MemoryNetwork>> {
    fn network(&self) -> Arc<dyn NodeNetwork> {
        self.0.clone()
    }

    fn eni(&self) -> EniSetup {
        EniSetup {
            mac: MAC,
            primary: [10, 0, 0, 2].into(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: [10, 0, 0, 1].into(),
        }
    }

    fn namespaces(&self) -> [String; 2] {
        ["/run/netns/one".to_owned(), "/run/netns/other".to_owned()]
    }

    async fn remove_namespace(&self, path: &str) {
        self.0.remove_namespace(path);
    }

    fn addresses(&self) -> [IpAddr; 2] {
        [[10, 0, 0, 7].into(), [10, 0, 0, 8].into()]
    }

    async fn flush(&self, address: IpAddr) -> bool {
        self.0.break_rules(address);
        true
    }

    async fn set_down(&self, host_name: &str) -> bool {
        self.0.set_down(host_name);
        true
    }

    async fn detach(&self) -> bool {
        self.0.detach(MAC);
        true
    }
}

mod memory_network {
    use std::sync::Arc;

    eni_core::network_contract!(async || {
        let network = super::MemoryNetwork::new();
        network.attach(super::MAC);
        network.remove_namespace("/run/netns/one-gone");
        super::InMemory(Arc::new(network))
    });
}
