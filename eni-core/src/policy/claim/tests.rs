//! Every step of a claim's life, and what must never be one.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::{Claim, ClaimPhase, ClaimRequest, DeletePolicy, Pod, PodAddresses, PodKey, PodPhase};

fn pod(uid: &str, node: Option<&str>) -> Pod {
    Pod {
        key: PodKey::new("shop", "web-0"),
        uid: uid.into(),
        node: node.map(Into::into),
        host_network: false,
        phase: PodPhase::Running,
        claim: Ok(Default::default()),
        workload: None,
    }
}

fn on(node: &str) -> Whereabouts {
    Whereabouts::On(node.into())
}

/// A claim of pod `u-1` with an address in use on node `a`.
fn assigned(policy: DeletePolicy) -> Claim {
    let request = ClaimRequest {
        policy: Some(policy),
        ..ClaimRequest::default()
    };
    Claim {
        addresses: PodAddresses::from(std::net::IpAddr::from([10, 0, 0, 9])),
        phase: ClaimPhase::Assigned,
        ..open(&pod("u-1", Some("a")), request).expect("a claim")
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn sight<'a>(pod: Option<&'a Pod>, whereabouts: &'a Whereabouts) -> ClaimSight<'a> {
    ClaimSight {
        pod,
        unwired: false,
        whereabouts,
        now: at(1_000),
    }
}

fn unwired<'a>(pod: Option<&'a Pod>, whereabouts: &'a Whereabouts) -> ClaimSight<'a> {
    ClaimSight {
        unwired: true,
        ..sight(pod, whereabouts)
    }
}

#[test]
fn a_new_pod_is_bound_given_an_address_and_confirmed() {
    let mut pod = pod("u-1", None);
    let mut claim = open(&pod, ClaimRequest::default()).expect("a claim");
    assert_eq!(
        decide(&claim, &sight(Some(&pod), &Whereabouts::Unknown)),
        ClaimStep::Rest
    );
    pod.node = Some("a".into());
    let step = decide(&claim, &sight(Some(&pod), &Whereabouts::Unknown));
    assert_eq!(step, ClaimStep::Bind("a".into()));
    claim.node = pod.node.clone();
    let step = decide(&claim, &sight(Some(&pod), &Whereabouts::Unknown));
    assert_eq!(step, ClaimStep::Choose("a".into()));
    claim.addresses = assigned(DeletePolicy::Never).addresses;
    let step = decide(&claim, &sight(Some(&pod), &Whereabouts::Free));
    assert_eq!(step, ClaimStep::Assign("a".into()));
    assert_eq!(decide(&claim, &sight(Some(&pod), &on("a"))), ClaimStep::Confirm);
    claim.phase = ClaimPhase::Assigned;
    assert_eq!(decide(&claim, &sight(Some(&pod), &on("a"))), ClaimStep::Rest);
}

#[test]
fn a_pod_of_the_host_network_and_one_that_ended_get_no_claim() {
    let host = Pod {
        host_network: true,
        ..pod("u-1", None)
    };
    let ended = Pod {
        phase: PodPhase::Finished,
        ..pod("u-1", None)
    };
    assert_eq!(open(&host, ClaimRequest::default()), None);
    assert_eq!(open(&ended, ClaimRequest::default()), None);
}

#[test]
fn nothing_goes_while_the_owners_wiring_may_be_up() {
    let next = pod("u-2", Some("b"));
    for policy in [DeletePolicy::Immediate, DeletePolicy::Never] {
        let claim = assigned(policy);
        for present in [Some(&next), None] {
            let step = decide(&claim, &sight(present, &on("a")));
            assert!(
                matches!(&step, ClaimStep::Wait(reason) if reason.starts_with("a has not said")),
                "{step:?}"
            );
        }
    }
}

#[test]
fn the_next_pod_adopts_once_the_wiring_is_down() {
    let next = pod("u-2", Some("b"));
    let adopt = ClaimStep::Adopt("u-2".into());
    for whereabouts in [on("a"), Whereabouts::Free] {
        let step = decide(
            &assigned(DeletePolicy::Never),
            &unwired(Some(&next), &whereabouts),
        );
        assert_eq!(step, adopt);
    }
}

#[test]
fn a_lost_nodes_pod_keeps_its_address_while_its_object_exists() {
    let owner = pod("u-1", Some("a"));
    let (claim, there) = (assigned(DeletePolicy::Never), on("a"));
    let lost = ClaimSight {
        unwired: true,
        ..sight(Some(&owner), &there)
    };
    assert_eq!(decide(&claim, &lost), ClaimStep::Rest);
}

#[test]
fn an_address_follows_its_pod_from_another_node_a_parking_eni_or_nowhere() {
    let next = pod("u-2", Some("b"));
    let claim = Claim {
        pod: "u-2".into(),
        node: Some("b".into()),
        phase: ClaimPhase::Pending,
        ..assigned(DeletePolicy::Never)
    };
    let step = |whereabouts: &Whereabouts| decide(&claim, &sight(Some(&next), whereabouts));
    assert_eq!(step(&on("a")), ClaimStep::Move("b".into()));
    assert_eq!(step(&Whereabouts::Parked), ClaimStep::Move("b".into()));
    assert_eq!(step(&Whereabouts::Free), ClaimStep::Assign("b".into()));
    assert_eq!(step(&Whereabouts::Unknown), ClaimStep::Rest);
    assert_eq!(step(&on("b")), ClaimStep::Confirm);
}

#[test]
fn a_taken_address_is_given_up_unless_the_pod_asked_for_it_or_uses_it() {
    let owner = pod("u-1", Some("a"));
    let mut claim = assigned(DeletePolicy::Never);
    let waits = |claim: &Claim| {
        let step = decide(claim, &sight(Some(&owner), &Whereabouts::Taken));
        matches!(&step, ClaimStep::Wait(reason) if reason.contains("10.0.0.9"))
    };
    assert!(waits(&claim));
    claim.phase = ClaimPhase::Pending;
    let step = decide(&claim, &sight(Some(&owner), &Whereabouts::Taken));
    assert_eq!(step, ClaimStep::Forget);
    claim.request.address = claim.addresses.iter().next();
    assert!(waits(&claim));
}

#[test]
fn a_kept_address_expires_by_a_deadline_that_is_written_once() {
    let mut claim = assigned(DeletePolicy::Never);
    assert_eq!(decide(&claim, &unwired(None, &on("a"))), ClaimStep::Retain(None));
    claim.request.keep = Some(Duration::from_secs(300));
    let step = decide(&claim, &unwired(None, &on("a")));
    assert_eq!(step, ClaimStep::Retain(Some(at(1_300))));
    (claim.phase, claim.expiry) = (ClaimPhase::Retained, Some(at(1_300)));
    let (there, mut later) = (on("a"), Vec::new());
    for second in [1_299, 1_300] {
        let sight = ClaimSight {
            now: at(second),
            ..sight(None, &there)
        };
        later.push(decide(&claim, &sight));
    }
    assert_eq!(later[0], ClaimStep::Rest);
    assert!(matches!(later[1], ClaimStep::Release(_)), "{later:?}");
}

#[test]
fn a_deleted_claim_serves_its_pod_and_nobody_after_it() {
    let claim = Claim {
        deleting: true,
        ..assigned(DeletePolicy::Never)
    };
    let (there, owner, next) = (on("a"), pod("u-1", Some("a")), pod("u-2", Some("a")));
    assert_eq!(decide(&claim, &sight(Some(&owner), &there)), ClaimStep::Rest);
    for pod in [None, Some(&next)] {
        assert!(matches!(decide(&claim, &sight(pod, &there)), ClaimStep::Wait(_)));
        let over = decide(&claim, &unwired(pod, &there));
        assert!(matches!(over, ClaimStep::Release(_)), "{over:?}");
    }
}

#[test]
fn a_finished_pod_is_no_owner() {
    let ended = Pod {
        phase: PodPhase::Finished,
        ..pod("u-1", Some("a"))
    };
    let claim = assigned(DeletePolicy::Immediate);
    assert!(matches!(
        decide(&claim, &unwired(Some(&ended), &on("a"))),
        ClaimStep::Release(_)
    ));
}

#[test]
fn a_released_address_is_off_its_eni_before_the_claim_is_deleted() {
    let mut claim = assigned(DeletePolicy::Never);
    claim.phase = ClaimPhase::Releasing;
    let next = pod("u-2", Some("b"));
    let step = |claim: &Claim, whereabouts: &Whereabouts| decide(claim, &sight(Some(&next), whereabouts));
    assert_eq!(step(&claim, &on("a")), ClaimStep::Unassign);
    assert_eq!(step(&claim, &Whereabouts::Parked), ClaimStep::Unassign);
    assert_eq!(step(&claim, &Whereabouts::Unknown), ClaimStep::Rest);
    assert_eq!(step(&claim, &Whereabouts::Free), ClaimStep::Delete);
    claim.addresses = PodAddresses::default();
    assert_eq!(step(&claim, &Whereabouts::Unknown), ClaimStep::Delete);
}
