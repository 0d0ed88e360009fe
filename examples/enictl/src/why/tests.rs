//! Every cause, each from the facts of a pod that waits, with one thing changed.

use serde_json::{from_value, json};

use super::*;
use crate::objects::{NodeConfig, Report};

/// A pod that is scheduled, on a node whose addresses are all taken while more may come.
fn waits() -> Facts {
    let config: NodeConfig = from_value(json!({
        "metadata": {"name": "n"}, "spec": {"instance": "ins-1", "nodeUid": "u-1", "zone": "z"},
        "status": {}, "agent": {"advertised": 5},
    }))
    .unwrap();
    Facts {
        pod: Some(PodFacts {
            node: Some("n".to_owned()),
            host_network: false,
            finished: false,
            ip: None,
            unscheduled: None,
        }),
        node_uid: Some("u-1".to_owned()),
        instance: Some("ins-1".to_owned()),
        config: Some(config),
        counts: Some(Counts {
            bound: 5,
            used: 5,
            granted: 9,
            capacity: 9,
            ..Counts::default()
        }),
        creating: 1,
        ..Facts::default()
    }
}

fn event(reason: &str, second: i64) -> Told {
    Told {
        at: Timestamp::from_second(second).unwrap(),
        reason: reason.to_owned(),
        message: format!("{reason} happened"),
    }
}

fn after(change: impl FnOnce(&mut Facts)) -> Cause {
    let mut facts = waits();
    change(&mut facts);
    decide(&facts)
}

fn node() -> String {
    "n".to_owned()
}

#[test]
fn a_pod_that_has_or_needs_no_address_is_told_so() {
    let pod = |change: fn(&mut PodFacts)| after(|facts| change(facts.pod.as_mut().unwrap()));
    assert_eq!(after(|facts| facts.pod = None), Cause::NoPod);
    assert_eq!(pod(|pod| pod.host_network = true), Cause::HostNetwork);
    assert_eq!(pod(|pod| pod.finished = true), Cause::Finished);
    let ip = [10, 0, 0, 1].into();
    assert_eq!(
        pod(|pod| pod.ip = Some([10, 0, 0, 1].into())),
        Cause::HasAddress { ip }
    );
}

#[test]
fn before_the_pool_come_the_scheduler_and_the_node() {
    let cause = after(|facts| {
        let pod = facts.pod.as_mut().unwrap();
        (pod.node, pod.unscheduled) = (None, Some("0/3 nodes".to_owned()));
    });
    assert!(cause.to_string().ends_with("0/3 nodes"), "{cause}");
    assert_eq!(
        after(|facts| facts.node_uid = None),
        Cause::NoNode { node: node() }
    );
    assert_eq!(
        after(|facts| facts.instance = None),
        Cause::NoInstance { node: node() }
    );
    assert_eq!(
        after(|facts| facts.node_uid = Some("u-2".to_owned())),
        Cause::FormerNode { node: node() }
    );
}

#[test]
fn a_node_without_a_pool_waits_for_ipamd_unless_that_said_what_hinders_it() {
    let without = |told: &[Told]| {
        after(|facts| {
            facts.counts = None;
            facts.node_told = told.to_vec();
        })
    };
    assert_eq!(
        without(&[event("NodeNotReady", 1)]),
        Cause::NoPool { node: node() }
    );
    let cause = without(&[event("ENILimit", 1)]);
    assert!(
        matches!(&cause, Cause::Obstacle { reason, .. } if reason == "ENILimit"),
        "{cause}"
    );
}

#[test]
fn of_several_obstacles_the_latest_is_told() {
    let told = [
        event("Rebooted", 9),
        event("SubnetExhausted", 5),
        event("ENILimit", 3),
    ];
    let cause = after(|facts| facts.node_told = told.to_vec());
    let expected = Cause::Obstacle {
        node: node(),
        reason: "SubnetExhausted".to_owned(),
        at: "00:00:05".to_owned(),
        message: "SubnetExhausted happened".to_owned(),
    };
    assert_eq!(cause, expected);
}

#[test]
fn a_node_without_free_addresses_is_full_or_waits() {
    let counts = |change: fn(&mut Counts)| after(|facts| change(facts.counts.as_mut().unwrap()));
    assert_eq!(
        decide(&waits()),
        Cause::WaitsForIpamd {
            node: node(),
            creating: 1
        }
    );
    let full = counts(|counts| (counts.bound, counts.used) = (9, 9));
    assert_eq!(
        full,
        Cause::NodeFull {
            node: node(),
            capacity: 9
        }
    );
    let granted = counts(|counts| counts.granted = 5);
    assert_eq!(
        granted,
        Cause::NoGrant {
            node: node(),
            granted: 5
        }
    );
    let cooling = counts(|counts| (counts.granted, counts.used, counts.cooling) = (5, 4, 1));
    assert_eq!(cooling, Cause::Cooling { node: node() });
}

#[test]
fn with_addresses_free_it_is_the_agent_the_sandbox_or_kubelet() {
    let free = |change: fn(&mut Facts)| {
        after(|facts| {
            let counts = facts.counts.as_mut().unwrap();
            (counts.used, counts.idle) = (4, 1);
            // What hindered ipamd once is no cause now.
            facts.node_told = vec![event("ENILimit", 1)];
            change(facts);
        })
    };
    assert_eq!(
        free(|facts| facts.config.as_mut().unwrap().agent = Some(Report::default())),
        Cause::NoAgent { node: node() }
    );
    assert_eq!(free(|_| ()), Cause::Kubelet { node: node() });
    let failing = free(|facts| facts.pod_told = vec![event("Pulled", 3), event("FailedCreatePodSandBox", 2)]);
    assert!(failing.to_string().contains("last at 00:00:02"), "{failing}");
}

#[test]
fn events_are_told_the_latest_first() {
    let event = |reason: &str, at: &str| -> Event {
        from_value(json!({
            "metadata": {}, "involvedObject": {}, "reason": reason, "message": "m", "lastTimestamp": at,
        }))
        .unwrap()
    };
    let told = told([
        event("Old", "2026-01-01T00:00:00Z"),
        event("New", "2026-01-01T00:00:01Z"),
    ]);
    let reasons: Vec<_> = told.iter().map(|told| told.reason.as_str()).collect();
    assert_eq!(reasons, ["New", "Old"]);
}
