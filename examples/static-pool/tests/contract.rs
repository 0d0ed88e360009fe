//! The core's suite for clouds.

use std::sync::Arc;

use async_trait::async_trait;
use eni_core::{
    cloud::Cloud,
    contract::cloud::CloudHarness,
    model::{InstanceId, SubnetId},
};
use serde_json::json;
use static_pool::StaticPool;
use tempfile::TempDir;

struct Harness {
    pool: StaticPool,
    _directory: TempDir,
}

impl Harness {
    async fn start() -> Self {
        let range = |id: &str, zone: &str, number: u8, addresses: &str| {
            json!({
                "id": id, "zone": zone, "cidr": format!("10.9.{number}.0/24"),
                "gateway": format!("10.9.{number}.1"), "addresses": [addresses],
            })
        };
        let plan = json!({
            "ranges": [
                range("rack-1", "row-a", 1, "10.9.1.32/27"),
                range("rack-2", "row-b", 2, "10.9.2.32/27"),
                { "id": "full", "zone": "row-a", "cidr": "10.9.3.0/24", "gateway": "10.9.3.1", "addresses": [] },
            ],
            "machines": [{
                "id": "machine-1", "zone": "row-a", "subnet": "rack-1", "address": "10.9.1.11",
                "mac": "02:00:00:00:01:00", "spare": ["02:00:00:00:01:01", "02:00:00:00:01:02"],
            }],
            "addressesPerInterface": 15,
        });
        let directory = tempfile::tempdir().expect("a directory");
        let plan = serde_json::from_value(plan).expect("a plan");
        Self {
            pool: StaticPool::open(plan, directory.path().join("book.json")).expect("a pool"),
            _directory: directory,
        }
    }
}

#[async_trait]
impl CloudHarness for Harness {
    fn cloud(&self) -> Arc<dyn Cloud> {
        Arc::new(self.pool.clone())
    }

    fn instance(&self) -> InstanceId {
        "machine-1".into()
    }

    fn subnet(&self) -> SubnetId {
        "rack-1".into()
    }

    fn full_subnet(&self) -> Option<SubnetId> {
        Some("full".into())
    }

    fn foreign_subnet(&self) -> Option<SubnetId> {
        Some("rack-2".into())
    }

    // Every entry is whole when it is answered.
    async fn settle(&self) {}
}

mod contract {
    eni_core::cloud_contract!(async || super::Harness::start().await);
}
