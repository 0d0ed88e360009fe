//! The contract of [`Sandboxes`].

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::skip;
use crate::sandbox::Sandboxes;

/// A fresh runtime for one case, without sandboxes at first.
#[async_trait]
pub trait SandboxesHarness: Send + Sync {
    /// The runtime's list.
    fn sandboxes(&self) -> Arc<dyn Sandboxes>;

    /// Starts a sandbox; the case gives it a name, and the answer is the runtime's id.
    async fn start(&self, name: &str) -> Arc<str>;

    /// Stops a sandbox so that the runtime still knows it; `false` if the backend does not tell stopped
    /// ones from removed ones.
    async fn stop(&self, container: &str) -> bool;

    /// Ends a sandbox and removes it.
    async fn remove(&self, container: &str);

    /// From now on something that a listing needs cannot be read.
    async fn break_down(&self);
}

/// The list, by id.
async fn list(harness: &dyn SandboxesHarness) -> BTreeMap<Arc<str>, bool> {
    let listed = harness.sandboxes().list().await.expect("a listing").into_iter();
    listed.map(|sandbox| (sandbox.container, sandbox.ready)).collect()
}

/// "None" is an answer.
pub async fn no_sandboxes_are_an_empty_list(harness: &dyn SandboxesHarness) {
    assert_eq!(list(harness).await, BTreeMap::new());
}

/// "Every sandbox that the runtime knows".
pub async fn every_running_sandbox_is_ready(harness: &dyn SandboxesHarness) {
    let (one, other) = (harness.start("one").await, harness.start("other").await);
    assert_eq!(list(harness).await, BTreeMap::from([(one, true), (other, true)]));
}

/// "One that does not run has no network any more".
pub async fn a_sandbox_that_does_not_run_is_not_ready(harness: &dyn SandboxesHarness) {
    let (stopped, running) = (harness.start("stopped").await, harness.start("running").await);
    if !harness.stop(&stopped).await {
        return skip(
            "a_sandbox_that_does_not_run_is_not_ready",
            "the backend does not tell stopped sandboxes from removed ones",
        );
    }
    assert_eq!(
        list(harness).await,
        BTreeMap::from([(stopped, false), (running, true)])
    );
}

/// A removed one is absent; absent or not ready, it is never ready.
pub async fn a_sandbox_that_is_gone_is_not_ready(harness: &dyn SandboxesHarness) {
    let (gone, running) = (harness.start("gone").await, harness.start("running").await);
    harness.remove(&gone).await;
    assert_eq!(list(harness).await, BTreeMap::from([(running, true)]));
}

/// "Each sandbox is listed once".
pub async fn each_sandbox_is_listed_once(harness: &dyn SandboxesHarness) {
    let container = harness.start("one").await;
    harness.start("other").await;
    let listed = harness.sandboxes().list().await.expect("a listing");
    let times = listed.iter().filter(|sandbox| sandbox.container == container);
    assert_eq!(times.count(), 1);
}

/// A listing is not an earlier one.
pub async fn a_listing_sees_what_happened_before_it(harness: &dyn SandboxesHarness) {
    for round in 0..3 {
        let container = harness.start(&format!("round-{round}")).await;
        assert_eq!(list(harness).await.get(&container), Some(&true));
        harness.remove(&container).await;
        assert_eq!(list(harness).await.get(&container), None);
    }
}

/// "The list is complete, or it is an error".
pub async fn what_cannot_be_read_is_an_error_and_never_a_part(harness: &dyn SandboxesHarness) {
    harness.start("one").await;
    harness.start("other").await;
    harness.break_down().await;
    harness
        .sandboxes()
        .list()
        .await
        .expect_err("a listing of a part is no listing");
}
