//! Candidates for one lease on a real API server.

mod support;

use std::{process::ExitCode, sync::Arc, time::Duration};

use eni_core::env::SystemEnvironment;
use eni_kube::{Election, ElectionOptions, Leader};
use kube::core::Request;
use serde_json::{Value, json};
use support::{Bed, Case, LEASES, eventually};
use tokio::time::{Instant, timeout};

const LEASE: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(3);

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        fn main() -> ExitCode {
            let cases: Vec<Case> = vec![$((stringify!($case), |bed: Arc<Bed>| Box::pin($case(bed)))),*];
            support::run("leader election on a real API server", cases)
        }
    };
}

cases![
    one_of_two_leads_and_its_release_hands_over_at_once,
    a_leader_that_died_is_waited_out,
    a_leader_that_cannot_renew_gives_up_before_another_may_lead,
    a_lease_that_is_taken_away_is_lost_for_good,
    a_strangers_mark_on_the_lease_is_kept_and_costs_nothing,
];

fn candidate(bed: &Bed, identity: &str) -> Election {
    let options = ElectionOptions {
        lease_duration: LEASE,
        renew_deadline: DEADLINE,
        retry_period: Duration::from_millis(200),
        ..ElectionOptions::new("default", "test", identity)
    };
    Election::new(bed.client.clone(), options, SystemEnvironment::shared())
}

fn leads(leader: &Leader) -> bool {
    leader.leadership().remaining().is_some()
}

async fn lease(bed: &Bed) -> Value {
    bed.call(Request::new(LEASES).get("test", &Default::default()))
        .await
}

async fn one_of_two_leads_and_its_release_hands_over_at_once(bed: Arc<Bed>) {
    let (first, second) = (candidate(&bed, "first"), candidate(&bed, "second"));
    let leader = first.lead().await;
    // Renewed for longer than the lease alone would last.
    assert!(
        timeout(LEASE * 2, second.lead()).await.is_err(),
        "there is a leader"
    );
    assert!(leads(&leader));
    let leadership = leader.leadership();
    let released = Instant::now();
    leader.release().await;
    assert_eq!(leadership.remaining(), None);
    let next = second.lead().await;
    assert!(released.elapsed() < LEASE, "it was handed over, not waited out");
    assert!(leads(&next));
    let lease = lease(&bed).await;
    assert_eq!(lease["spec"]["holderIdentity"], "second");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
}

async fn a_leader_that_died_is_waited_out(bed: Arc<Bed>) {
    let leader = candidate(&bed, "first").lead().await;
    let leadership = leader.leadership();
    drop(leader);
    assert_eq!(leadership.remaining(), None);
    let begun = Instant::now();
    let next = candidate(&bed, "second").lead().await;
    assert!(
        begun.elapsed() >= LEASE,
        "a call of the dead one may be under way"
    );
    assert!(leads(&next));
}

async fn a_leader_that_cannot_renew_gives_up_before_another_may_lead(bed: Arc<Bed>) {
    let leader = candidate(&bed, "first").lead().await;
    let server = bed.server.clone();
    let cut = Instant::now();
    tokio::task::spawn_blocking(move || server.blocking_lock().crash_server())
        .await
        .unwrap();
    eventually("it gives up", async || (!leads(&leader)).then_some(())).await;
    assert!(cut.elapsed() < LEASE, "the lease still holds off the others");
    let server = bed.server.clone();
    tokio::task::spawn_blocking(move || server.blocking_lock().start_server().unwrap())
        .await
        .unwrap();
    let next = candidate(&bed, "second").lead().await;
    assert!(leads(&next) && !leads(&leader));
    // The late release of who leads no more takes nothing from who does.
    leader.release().await;
    assert_eq!(lease(&bed).await["spec"]["holderIdentity"], "second");
}

async fn a_lease_that_is_taken_away_is_lost_for_good(bed: Arc<Bed>) {
    let leader = candidate(&bed, "first").lead().await;
    let steal = |lease: &mut Value| lease["spec"]["holderIdentity"] = json!("thief");
    eventually("it is taken", async || bed.edit(LEASES, "test", steal).await.ok()).await;
    eventually("that is seen", async || (!leads(&leader)).then_some(())).await;
    let give_back = |lease: &mut Value| lease["spec"]["holderIdentity"] = json!("first");
    bed.edit(LEASES, "test", give_back).await.unwrap();
    assert!(timeout(Duration::from_secs(1), leader.release()).await.is_ok());
    assert_eq!(
        lease(&bed).await["spec"]["holderIdentity"],
        "first",
        "it wrote no more"
    );
}

async fn a_strangers_mark_on_the_lease_is_kept_and_costs_nothing(bed: Arc<Bed>) {
    let leader = candidate(&bed, "first").lead().await;
    let mark = |lease: &mut Value| lease["metadata"]["annotations"] = json!({"theirs": "1"});
    let marked = eventually("it is marked", async || bed.edit(LEASES, "test", mark).await.ok()).await;
    eventually("it is renewed", async || {
        let renewed = lease(&bed).await["spec"]["renewTime"] != marked["spec"]["renewTime"];
        renewed.then_some(())
    })
    .await;
    assert!(leads(&leader));
    assert_eq!(lease(&bed).await["metadata"]["annotations"]["theirs"], "1");
}
