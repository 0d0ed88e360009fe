//! The engine of ENI pools in ten lines: a cloud, a cluster, one controller.

use std::{collections::BTreeMap, sync::Arc};

use eni_core::{
    cluster::{Cluster, Scope, WatchEvent},
    controller::{Backends, PoolConfig, PoolController},
    env::SystemEnvironment,
    leadership::Unrivalled,
    model::{Limits, Node},
    sim::{MemoryCloud, MemoryCluster},
};
use futures::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Your cloud implements `Cloud`, your object store implements `Cluster`; these two live in memory.
    let limits = Limits {
        enis: 4,
        addresses_per_eni: 10,
    };
    let cloud = MemoryCloud::builder().subnet("subnet-a", "zone-1", "10.1.0.0/24".parse()?);
    let cloud = Arc::new(cloud.instance("ins-1", "subnet-a", limits).build());
    let (instance, zone) = (Some("ins-1".into()), Some("zone-1".into()));
    let cluster = Arc::new(MemoryCluster::new());
    cluster.put_node(Node {
        name: "node-1".into(),
        uid: "uid-1".into(),
        instance,
        zone,
        max_pods: None,
        silent: None,
    });

    let tags = BTreeMap::from([("cluster".to_owned(), "demo".to_owned())]);
    let config = PoolConfig::new(vec!["subnet-a".into()], tags);
    let backends = Backends {
        cloud,
        cluster: cluster.clone(),
        environment: SystemEnvironment::shared(),
        leadership: Arc::new(Unrivalled),
    };
    let controller = PoolController::new(backends, config);
    let running = tokio::spawn(controller.run());

    // The node needs five warm addresses: an ENI is created, attached and published with them.
    let mut configs = cluster.node_configs().watch(Scope::All);
    while let Some(event) = configs.next().await {
        if let WatchEvent::Applied(read) = event
            && read.object.pool.attached() == 5
        {
            for eni in read.object.pool.enis {
                println!("{}: {} {} {:?}", read.object.name, eni.id, eni.mac, eni.attached);
            }
            break;
        }
    }
    running.abort();
    Ok(())
}
