//! The core's contract of a cluster, kept by a real API server.

mod support;

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use eni_core::{
    cluster::Cluster,
    contract::cluster::{self, ClusterHarness},
};
use eni_kube::KubeCluster;
use support::{Bed, Case};

struct Kubernetes(Arc<KubeCluster>);

#[async_trait]
impl ClusterHarness for Kubernetes {
    fn cluster(&self) -> Arc<dyn Cluster> {
        self.0.clone()
    }
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];

        fn cases() -> Vec<Case> {
            vec![$((stringify!($case), |bed: Arc<Bed>| Box::pin(async move {
                cluster::$case(&Kubernetes(Arc::new(bed.cluster()))).await;
            }))),*]
        }
    };
}

contract![
    what_was_created_is_read_whole,
    creating_what_exists_conflicts_and_changes_nothing,
    reading_what_does_not_exist_is_not_found,
    an_update_gives_a_new_version,
    an_update_of_an_old_version_conflicts_and_changes_nothing,
    an_update_of_a_deleted_object_does_not_bring_it_back,
    deleting_again_succeeds,
    deleting_an_old_version_conflicts,
    listings_keep_to_their_scope,
    concurrent_modifications_lose_nothing,
    a_watch_begins_with_the_whole_state,
    a_watch_shows_creation_change_and_deletion,
    a_watch_keeps_to_its_scope,
    an_object_that_leaves_the_scope_is_deleted,
    a_claim_is_read_whole,
    a_claim_follows_its_node_and_leaves_every_scope_with_none,
    a_claims_late_writer_conflicts_and_changes_nothing,
];

/// The suite's own macro makes tests for the standard runner, so its list is repeated here.
fn no_case_is_forgotten() {
    let suite = include_str!("../../eni-core/src/contract/cluster.rs");
    let cases = suite.split("\npub async fn ").skip(1);
    let mut cases: Vec<_> = cases.filter_map(|case| Some(case.split_once('(')?.0)).collect();
    let mut listed = CASES.to_vec();
    cases.sort_unstable();
    listed.sort_unstable();
    assert_eq!(cases, listed);
}

fn main() -> ExitCode {
    no_case_is_forgotten();
    support::run("the contract of a cluster on a real API server", cases())
}
