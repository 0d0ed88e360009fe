//! The core's controller on this cloud: nodes get their pools, and a new process finds what the one before gave out.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use eni_core::{
    cloud::{Cloud, EniFilter},
    cluster::{Cluster, Scope, WatchEvent},
    controller::{Backends, PoolConfig, PoolController},
    env::SystemEnvironment,
    leadership::Unrivalled,
    model::{Eni, Node, NodeConfig},
    sim::MemoryCluster,
};
use futures::StreamExt;
use serde_json::json;
use static_pool::StaticPool;
use tokio::time::timeout;

/// Far above what it takes, in virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

fn open(book: &Path) -> StaticPool {
    let machine = |number: u8| {
        json!({
            "id": format!("machine-{number}"), "zone": "row-a", "subnet": "rack-1", "address": format!("10.9.1.{number}0"),
            "mac": format!("02:00:00:00:0{number}:00"), "spare": [format!("02:00:00:00:0{number}:01")],
        })
    };
    let plan = json!({
        "ranges": [{
            "id": "rack-1", "zone": "row-a", "cidr": "10.9.1.0/24", "gateway": "10.9.1.1",
            "addresses": ["10.9.1.64/26"],
        }],
        "machines": [machine(1), machine(2)],
        "addressesPerInterface": 15,
    });
    StaticPool::open(serde_json::from_value(plan).unwrap(), book).unwrap()
}

/// Runs a controller until both nodes have five addresses; what it published.
async fn run(pool: &StaticPool, cluster: &MemoryCluster) -> BTreeMap<String, NodeConfig> {
    let tags = BTreeMap::from([("cluster".to_owned(), "rack".to_owned())]);
    let backends = Backends {
        cloud: Arc::new(pool.clone()),
        cluster: Arc::new(cluster.connect()),
        environment: SystemEnvironment::shared(),
        leadership: Arc::new(Unrivalled),
    };
    let controller = PoolController::new(backends, PoolConfig::new(vec!["rack-1".into()], tags));
    let running = tokio::spawn(controller.run());
    let mut configs = cluster.node_configs().watch(Scope::All);
    let full = async {
        let mut known = BTreeMap::new();
        while known.len() < 2 {
            if let Some(WatchEvent::Applied(read)) = configs.next().await
                && read.object.pool.attached() == 5
            {
                known.insert(read.object.name.to_string(), read.object);
            }
        }
        known
    };
    let known = timeout(PATIENCE, full)
        .await
        .expect("both nodes have their pools");
    running.abort();
    known
}

async fn ports(pool: &StaticPool) -> Vec<Eni> {
    let ours = BTreeMap::from([("cluster".to_owned(), "rack".to_owned())]);
    pool.enis(&EniFilter::Tags(ours)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nodes_get_their_pools_and_the_next_process_finds_them() {
    let directory = tempfile::tempdir().unwrap();
    let book = directory.path().join("book.json");
    let cluster = MemoryCluster::new();
    for number in 1..=2 {
        cluster.put_node(Node {
            name: format!("node-{number}").into(),
            uid: format!("uid-{number}").into(),
            instance: Some(format!("machine-{number}").into()),
            zone: Some("row-a".into()),
            max_pods: None,
            silent: None,
        });
    }
    let pool = open(&book);
    let published = run(&pool, &cluster).await;
    let eni = &published["node-1"].pool.enis[0];
    assert_eq!(
        eni.mac.to_string(),
        "02:00:00:00:01:01",
        "the machine's spare interface"
    );
    let made = ports(&pool).await;
    assert_eq!(made.len(), 2);

    let next = open(&book);
    run(&next, &cluster).await;
    assert_eq!(ports(&next).await, made, "nothing was made again");
}

#[test]
fn a_book_that_cannot_be_read_is_not_taken_for_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let book = directory.path().join("book.json");
    std::fs::write(&book, "{").unwrap();
    let plan =
        serde_json::from_value(json!({"ranges": [], "machines": [], "addressesPerInterface": 4})).unwrap();
    let error = StaticPool::open(plan, &book).unwrap_err();
    assert!(error.to_string().contains("put the file back"), "{error}");
}
