//! The contract of [`Cluster`]: its stores and their watches.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, future::join_all, stream::BoxStream};

use crate::{
    cluster::{Cluster, ClusterError, Object, Scope, Version, Versioned, WatchEvent, modify},
    model::{
        AgentReport, Claim, ClaimPhase, ClaimRequest, DeletePolicy, EniRecord, Generation, Intent, Limits,
        NodeConfig, NodePool, NodeSpec, PodKey, PoolAddress, PoolEni, WarmRange, Workload,
    },
};

/// How long a case waits for a watch to show something.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh cluster for one case, without NodeENIConfig and VpcENI objects.
#[async_trait]
pub trait ClusterHarness: Send + Sync {
    /// The cluster.
    fn cluster(&self) -> Arc<dyn Cluster>;
}

fn record(name: &str, node: &str) -> EniRecord {
    EniRecord {
        name: name.to_owned(),
        token: "token".to_owned(),
        node: node.into(),
        instance: "ins-1".into(),
        subnet: "subnet-1".into(),
        secondary: 0,
        intent: Intent::Attached,
        id: None,
    }
}

/// An object with something in every field.
fn config(name: &str) -> NodeConfig {
    let address = |last: u8| PoolAddress {
        ip: [10, 0, 0, last].into(),
        generation: Generation::from_random(0x7fff_ff00 + u64::from(last)),
    };
    NodeConfig {
        name: name.into(),
        spec: NodeSpec {
            instance: "ins-1".into(),
            node_uid: "uid-1".into(),
            zone: "zone-1".into(),
            warm: WarmRange::new(2, 4),
            limits: Some(Limits {
                enis: 4,
                addresses_per_eni: 10,
            }),
        },
        pool: NodePool {
            enis: vec![PoolEni {
                id: "eni-1".into(),
                mac: "20:90:6f:00:00:01".parse().expect("a MAC"),
                subnet: "subnet-1".into(),
                cidr: "10.0.0.0/24".parse().expect("a range"),
                gateway: [10, 0, 0, 1].into(),
                primary: [10, 0, 0, 2].into(),
                attached: vec![address(3), address(4)],
                releasing: vec![address(5)],
                reserved: [([10, 0, 0, 3].into(), "u-1".into())].into(),
                evicting: vec![[10, 0, 0, 6].into()],
            }],
            maximum: 6,
            capacity: 27,
            granted: 9,
            by_claim: true,
        },
        agent: AgentReport {
            withdrawn: vec![address(5)],
            held: 1,
            short: 2,
            advertised: 6,
        },
    }
}

fn is_conflict<T: std::fmt::Debug>(result: Result<T, ClusterError>) {
    assert!(matches!(result, Err(ClusterError::Conflict { .. })), "{result:?}");
}

/// "`get` and `list` see every write that was acknowledged to the same process before the call".
pub async fn what_was_created_is_read_whole(harness: &dyn ClusterHarness) {
    let configs = harness.cluster().node_configs();
    let created = configs.create(config("node-a")).await.expect("a new object");
    assert_eq!(created.object, config("node-a"));
    assert_eq!(configs.get("node-a").await.expect("the object"), created);
    assert_eq!(configs.list(&Scope::All).await.expect("a listing"), [created]);

    let records = harness.cluster().eni_records();
    let whole = EniRecord {
        secondary: 9,
        intent: Intent::Deleted,
        id: Some("eni-1".into()),
        ..record("eni-a", "node-a")
    };
    records.create(whole.clone()).await.expect("a new object");
    assert_eq!(records.get("eni-a").await.expect("the object").object, whole);
}

/// "`create` of a key that exists ... \[is\] a Conflict and change\[s\] nothing".
pub async fn creating_what_exists_conflicts_and_changes_nothing(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let created = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    is_conflict(records.create(record("eni-a", "node-b")).await);
    assert_eq!(records.get("eni-a").await.expect("the object"), created);
}

/// An object that does not exist is a `NotFound`.
pub async fn reading_what_does_not_exist_is_not_found(harness: &dyn ClusterHarness) {
    let result = harness.cluster().eni_records().get("eni-none").await;
    assert!(matches!(result, Err(ClusterError::NotFound { .. })), "{result:?}");
    let result = harness.cluster().pods().get("default/none").await;
    assert!(matches!(result, Err(ClusterError::NotFound { .. })), "{result:?}");
}

/// An update replaces the object and answers its new version.
pub async fn an_update_gives_a_new_version(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let mut read = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    let old = read.version.clone();
    read.object.secondary = 3;
    let updated = records.update(read).await.expect("an update");
    assert_ne!(updated.version, old);
    assert_eq!(updated.object.secondary, 3);
    assert_eq!(records.get("eni-a").await.expect("the object"), updated);
}

/// "`update` of a version that is not the latest ... \[is\] a Conflict and change\[s\] nothing".
pub async fn an_update_of_an_old_version_conflicts_and_changes_nothing(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let first = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    let changed = EniRecord {
        secondary: 1,
        ..first.object.clone()
    };
    let second = records
        .update(Versioned {
            object: changed,
            ..first.clone()
        })
        .await
        .expect("an update");
    let late = EniRecord {
        secondary: 2,
        ..first.object.clone()
    };
    is_conflict(
        records
            .update(Versioned {
                object: late,
                ..first
            })
            .await,
    );
    assert_eq!(records.get("eni-a").await.expect("the object"), second);
}

/// A deleted object has no latest version: a late update fails, as a conflict or as not found.
pub async fn an_update_of_a_deleted_object_does_not_bring_it_back(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let read = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    records.delete("eni-a", None).await.expect("deleting");
    let result = records.update(read).await;
    let refused = matches!(
        result,
        Err(ClusterError::Conflict { .. } | ClusterError::NotFound { .. })
    );
    assert!(refused, "{result:?}");
    assert!(records.list(&Scope::All).await.expect("a listing").is_empty());
}

/// "`delete` of an object that is gone succeeds".
pub async fn deleting_again_succeeds(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let created = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    records
        .delete("eni-a", Some(&created.version))
        .await
        .expect("deleting");
    assert!(records.list(&Scope::All).await.expect("a listing").is_empty());
    records.delete("eni-a", None).await.expect("deleting again");
    records
        .delete("eni-a", Some(&created.version))
        .await
        .expect("deleting the version again");
}

/// "With a version it deletes only that".
pub async fn deleting_an_old_version_conflicts(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let first = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    let old: Version = first.version.clone();
    let changed = EniRecord {
        secondary: 1,
        ..first.object.clone()
    };
    let second = records
        .update(Versioned {
            object: changed,
            ..first
        })
        .await
        .expect("an update");
    is_conflict(records.delete("eni-a", Some(&old)).await);
    assert_eq!(records.get("eni-a").await.expect("the object"), second);
}

/// "All objects in a scope".
pub async fn listings_keep_to_their_scope(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    for (name, node) in [("eni-a1", "node-a"), ("eni-b1", "node-b"), ("eni-a2", "node-a")] {
        records.create(record(name, node)).await.expect("a new object");
    }
    let list = async |scope: Scope| {
        let listed = records.list(&scope).await.expect("a listing");
        let mut names: Vec<_> = listed.into_iter().map(|listed| listed.object.name).collect();
        names.sort();
        names
    };
    assert_eq!(list(Scope::All).await, ["eni-a1", "eni-a2", "eni-b1"]);
    assert_eq!(list(Scope::Node("node-a".into())).await, ["eni-a1", "eni-a2"]);
    assert!(list(Scope::Node("node-c".into())).await.is_empty());
}

/// Compare-and-swap holds between writers that run at once.
pub async fn concurrent_modifications_lose_nothing(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    let increment = |record: &mut EniRecord| {
        record.secondary += 1;
        true
    };
    let writers = (0..8).map(|_| modify(records.as_ref(), "eni-a", increment));
    for result in join_all(writers).await {
        result.expect("a modification");
    }
    assert_eq!(
        records.get("eni-a").await.expect("the object").object.secondary,
        8
    );
}

/// What a watcher knows by folding the steps of a watch.
struct Watched<T> {
    stream: BoxStream<'static, WatchEvent<T>>,
    known: BTreeMap<String, T>,
}

impl<T: Object> Watched<T> {
    async fn begin(mut stream: BoxStream<'static, WatchEvent<T>>) -> Self {
        let first = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .expect("the first step in time");
        let Some(WatchEvent::Reset(all)) = first else {
            panic!("a watch begins with a reset, not {first:?}")
        };
        let known = all
            .into_iter()
            .map(|found| (found.object.key(), found.object))
            .collect();
        Self { stream, known }
    }

    /// Follows the watch until what it tells is as wanted.
    async fn until(&mut self, wanted: impl Fn(&BTreeMap<String, T>) -> bool) {
        while !wanted(&self.known) {
            let step = tokio::time::timeout(PATIENCE, self.stream.next()).await;
            match step.unwrap_or_else(|_| panic!("the watch stalls at {:?}", self.known)) {
                Some(WatchEvent::Reset(all)) => {
                    self.known = all
                        .into_iter()
                        .map(|found| (found.object.key(), found.object))
                        .collect();
                }
                Some(WatchEvent::Applied(found)) => {
                    self.known.insert(found.object.key(), found.object);
                }
                Some(WatchEvent::Deleted(object)) => {
                    self.known.remove(&object.key());
                }
                None => panic!("a watch never ends"),
            }
        }
    }
}

/// "`watch` begins with one `Reset`".
pub async fn a_watch_begins_with_the_whole_state(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    assert!(Watched::begin(records.watch(Scope::All)).await.known.is_empty());
    records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    records
        .create(record("eni-b", "node-b"))
        .await
        .expect("a new object");
    let watched = Watched::begin(records.watch(Scope::All)).await;
    assert_eq!(watched.known.keys().collect::<Vec<_>>(), ["eni-a", "eni-b"]);
}

/// "The last state of every object arrives".
pub async fn a_watch_shows_creation_change_and_deletion(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let mut watched = Watched::begin(records.watch(Scope::All)).await;
    let mut read = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    watched.until(|known| known.contains_key("eni-a")).await;
    for count in 1..=3 {
        read.object.secondary = count;
        read = records.update(read).await.expect("an update");
    }
    watched
        .until(|known| known.get("eni-a").is_some_and(|record| record.secondary == 3))
        .await;
    records.delete("eni-a", None).await.expect("deleting");
    watched.until(BTreeMap::is_empty).await;
}

/// "The objects in a scope".
pub async fn a_watch_keeps_to_its_scope(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    records
        .create(record("eni-b1", "node-b"))
        .await
        .expect("a new object");
    let mut watched = Watched::begin(records.watch(Scope::Node("node-a".into()))).await;
    assert!(watched.known.is_empty());
    records
        .create(record("eni-b2", "node-b"))
        .await
        .expect("a new object");
    records
        .create(record("eni-z", "node-a"))
        .await
        .expect("a new object");
    watched.until(|known| known.contains_key("eni-z")).await;
    assert_eq!(watched.known.len(), 1, "{:?}", watched.known);
}

/// "An object was deleted, or left the scope".
pub async fn an_object_that_leaves_the_scope_is_deleted(harness: &dyn ClusterHarness) {
    let records = harness.cluster().eni_records();
    let mut read = records
        .create(record("eni-a", "node-a"))
        .await
        .expect("a new object");
    let mut watched = Watched::begin(records.watch(Scope::Node("node-a".into()))).await;
    assert_eq!(watched.known.len(), 1);
    read.object.node = "node-b".into();
    records.update(read).await.expect("an update");
    watched.until(BTreeMap::is_empty).await;
}

fn claim() -> Claim {
    Claim::new(
        PodKey::new("default", "web-0"),
        "uid-1".into(),
        ClaimRequest::default(),
    )
}

/// A claim keeps every field, and a cleared one stays cleared.
pub async fn a_claim_is_read_whole(harness: &dyn ClusterHarness) {
    let claims = harness.cluster().claims();
    let whole = Claim {
        request: ClaimRequest {
            policy: Some(DeletePolicy::Never),
            address: Some([10, 0, 0, 9].into()),
            subnets: vec!["subnet-1".into(), "subnet-2".into()],
            keep: Some(Duration::from_secs(300)),
        },
        workload: Some(Workload {
            api: "apps/v1".into(),
            kind: "StatefulSet".into(),
            name: "web".into(),
            uid: "uid-w".into(),
        }),
        node: Some("node-a".into()),
        subnet: Some("subnet-1".into()),
        addresses: [[10, 0, 0, 9].into(), "fd00::9".parse().expect("an address")]
            .into_iter()
            .collect(),
        phase: ClaimPhase::Retained,
        reason: Some("its pod is gone".to_owned()),
        expiry: Some("2030-01-02T03:04:05Z".parse().expect("a time")),
        ..claim()
    };
    let mut read = claims.create(whole.clone()).await.expect("a new claim");
    assert_eq!(claims.get("default/web-0").await.expect("the claim"), read);
    assert_eq!(read.object, whole);
    read.object = claim();
    claims.update(read).await.expect("an update");
    assert_eq!(
        claims.get("default/web-0").await.expect("the claim").object,
        claim()
    );
}

/// "The node it concerns": a claim is seen by the agent of its pod's node alone.
pub async fn a_claim_follows_its_node_and_leaves_every_scope_with_none(harness: &dyn ClusterHarness) {
    let claims = harness.cluster().claims();
    let mut on_a = Watched::begin(claims.watch(Scope::Node("node-a".into()))).await;
    let mut on_b = Watched::begin(claims.watch(Scope::Node("node-b".into()))).await;
    let mut read = claims.create(claim()).await.expect("a new claim");
    for (node, a, b) in [(Some("node-a"), 1, 0), (Some("node-b"), 0, 1), (None, 0, 0)] {
        read.object.node = node.map(Into::into);
        read = claims.update(read).await.expect("an update");
        on_a.until(|known| known.len() == a).await;
        on_b.until(|known| known.len() == b).await;
    }
    assert_eq!(claims.list(&Scope::All).await.expect("a listing"), [read]);
}

/// Who decided on an old state of a claim, such as a replaced leader, changes nothing.
pub async fn a_claims_late_writer_conflicts_and_changes_nothing(harness: &dyn ClusterHarness) {
    let claims = harness.cluster().claims();
    let first = claims.create(claim()).await.expect("a new claim");
    let mut adopted = first.clone();
    adopted.object.pod = "uid-2".into();
    let adopted = claims.update(adopted).await.expect("an update");
    let mut late = first.clone();
    late.object.phase = ClaimPhase::Releasing;
    is_conflict(claims.update(late).await);
    is_conflict(claims.delete("default/web-0", Some(&first.version)).await);
    assert_eq!(claims.get("default/web-0").await.expect("the claim"), adopted);
}
