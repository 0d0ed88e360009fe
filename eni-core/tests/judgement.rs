//! When an instance counts as gone, and an ENI as leaked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use eni_core::{
    model::*,
    policy::{Implausible, Judgement, LEAK_AGE, LEAKS_PER_ROUND, LISTING_LAG, Leaks, Roll, confirms_leak},
};
use tokio::time::Instant;

const AUDIT: Duration = Duration::from_secs(600);

type Ids = BTreeSet<InstanceId>;

fn ids(names: &[&str]) -> Ids {
    names.iter().map(|name| (*name).into()).collect()
}

fn instance(id: &str, state: InstanceState) -> Instance {
    Instance {
        id: id.into(),
        zone: "zone-1".into(),
        vpc: "vpc-1".into(),
        state,
    }
}

fn running(ids: &[&str]) -> Vec<Instance> {
    ids.iter()
        .map(|id| instance(id, InstanceState::Running))
        .collect()
}

#[test]
fn an_instance_is_gone_once_two_listings_a_lag_apart_lack_it() {
    let now = Instant::now();
    let (named, alive) = (ids(&["old", "a", "b"]), ids(&["a", "b"]));
    let mut roll = Roll::new(now, AUDIT);
    let listed = running(&["a", "b"]);
    assert_eq!(roll.learn(now, &named, &listed, &alive), Ok(ids(&[])));
    assert!(!roll.is_gone(&"old".into()), "one listing proves nothing");
    let soon = now + LISTING_LAG / 2;
    assert_eq!(roll.learn(soon, &named, &listed, &alive), Ok(ids(&[])));
    let later = now + LISTING_LAG;
    assert_eq!(roll.learn(later, &named, &listed, &alive), Ok(ids(&["old"])));
    assert!(roll.is_gone(&"old".into()));
    assert!(!roll.is_gone(&"a".into()));
}

#[test]
fn a_terminated_instance_is_gone_like_an_absent_one_and_a_stopped_one_is_not() {
    let now = Instant::now();
    let (named, alive) = (ids(&["ended", "stopped", "a"]), ids(&["a"]));
    let mut listed = running(&["a"]);
    listed.push(instance("ended", InstanceState::Terminated));
    listed.push(instance("stopped", InstanceState::Stopped));
    let mut roll = Roll::new(now, AUDIT);
    for at in [now, now + LISTING_LAG, now + AUDIT] {
        roll.learn(at, &named, &listed, &alive).unwrap();
    }
    assert!(roll.is_gone(&"ended".into()));
    assert!(!roll.is_gone(&"stopped".into()));
}

#[test]
fn an_instance_that_shows_again_was_not_gone() {
    let now = Instant::now();
    let (named, alive) = (ids(&["old", "a"]), ids(&["a"]));
    let mut roll = Roll::new(now, AUDIT);
    roll.learn(now, &named, &running(&["a"]), &alive).unwrap();
    roll.learn(now + LISTING_LAG / 2, &named, &running(&["a", "old"]), &alive)
        .unwrap();
    roll.learn(now + LISTING_LAG, &named, &running(&["a"]), &alive)
        .unwrap();
    assert!(!roll.is_gone(&"old".into()), "the two must be listings in a row");
}

#[test]
fn a_partial_listing_removes_nothing() {
    let now = Instant::now();
    let all: Vec<_> = (0..20).map(|n| format!("ins-{n}")).collect();
    let named: Ids = all.iter().map(Into::into).collect();
    let mut roll = Roll::new(now, AUDIT);
    for n in 0..5 {
        let empty = roll.learn(now + n * LISTING_LAG, &named, &[], &named);
        assert_eq!(
            empty,
            Err(Implausible(20)),
            "an empty answer about machines that have nodes"
        );
    }
    assert!(named.iter().all(|id| !roll.is_gone(id)));
}

#[test]
fn a_node_that_lost_its_object_is_looked_at_at_once_and_then_with_the_audit() {
    let now = Instant::now();
    let (named, alive) = (ids(&["old", "a", "b", "c", "d"]), ids(&["a", "b", "c", "d"]));
    let mut roll = Roll::new(now, AUDIT);
    assert_eq!(
        roll.due(now, &named, &named),
        ids(&[]),
        "nothing speaks against anybody"
    );
    let asked = roll.due(now, &named, &alive);
    assert!(asked.contains::<InstanceId>(&"old".into()));
    assert_eq!(
        asked.len(),
        4,
        "three others are asked for to see whether the listing can be believed"
    );
    let listed: Vec<_> = asked
        .iter()
        .map(|id| instance(id.as_str(), InstanceState::Running))
        .collect();
    roll.learn(now, &asked, &listed, &alive).unwrap();
    assert_eq!(
        roll.due(now + LISTING_LAG, &named, &alive),
        ids(&[]),
        "it runs: no more calls"
    );
    assert_eq!(roll.due(now + AUDIT, &named, &alive), named);
    roll.learn(now + AUDIT, &named, &running(&["a", "b", "c", "d"]), &alive)
        .unwrap();
    let second = roll.due(now + AUDIT + LISTING_LAG, &named, &alive);
    assert!(
        second.contains::<InstanceId>(&"old".into()),
        "a first absence is confirmed soon"
    );
}

#[test]
fn a_reading_that_failed_is_asked_for_again() {
    let now = Instant::now();
    let (named, alive) = (ids(&["old", "a"]), ids(&["a"]));
    let mut roll = Roll::new(now, AUDIT);
    let asked = roll.due(now, &named, &alive);
    assert_eq!(roll.due(now + LISTING_LAG, &named, &alive), asked);
}

fn eni(id: &str, state: EniState, instance: Option<&str>) -> Eni {
    Eni {
        id: id.into(),
        name: format!("name-of-{id}"),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        kind: EniKind::Secondary,
        state,
        subnet: "subnet-a".into(),
        zone: "zone-1".into(),
        instance: instance.map(Into::into),
        addresses: vec![EniAddress {
            ip: IpAddr::from([10, 0, 0, 9]),
            primary: true,
            ready: true,
        }],
        security_groups: vec![],
        tags: tags(),
    }
}

fn idle(id: &str) -> Eni {
    eni(id, EniState::Available, None)
}

fn tags() -> BTreeMap<String, String> {
    BTreeMap::from([("cluster".to_owned(), "uid-of-kube-system".to_owned())])
}

fn record(name: &str, id: Option<&str>) -> EniRecord {
    EniRecord {
        name: name.into(),
        token: "token".into(),
        node: "node-1".into(),
        instance: "ins-1".into(),
        subnet: "subnet-a".into(),
        secondary: 1,
        intent: Intent::Attached,
        id: id.map(Into::into),
    }
}

fn hosts() -> BTreeMap<InstanceId, NodeName> {
    BTreeMap::from([("ins-1".into(), "node-1".into())])
}

#[test]
fn an_eni_without_a_record_is_condemned_after_ten_minutes_of_our_own_observation() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    let listed = [idle("eni-1")];
    let mut judge = |after| leaks.judge(begun + after, &listed, &[], &hosts());
    assert_eq!(judge(Duration::ZERO), Judgement::default());
    assert_eq!(
        judge(LEAK_AGE - Duration::from_secs(1)),
        Judgement::default(),
        "too young"
    );
    assert_eq!(judge(LEAK_AGE).condemned, ["eni-1".into()]);
}

#[test]
fn a_long_time_between_two_listings_is_no_second_witness_by_itself() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    let first = leaks.judge(begun + 10 * LEAK_AGE, &[idle("eni-1")], &[], &hosts());
    assert_eq!(first, Judgement::default());
}

#[test]
fn an_eni_that_was_something_else_in_between_is_young_again() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    leaks.judge(begun, &[idle("eni-1")], &[], &hosts());
    for between in [vec![], vec![eni("eni-1", EniState::Attaching, Some("ins-1"))]] {
        leaks.judge(begun + LEAK_AGE / 2, &between, &[], &hosts());
        assert_eq!(leaks.suspected(), 0);
        assert_eq!(
            leaks
                .judge(begun + LEAK_AGE, &[idle("eni-1")], &[], &hosts())
                .condemned,
            []
        );
    }
}

#[test]
fn an_eni_with_a_record_by_id_or_by_the_name_of_an_unanswered_creation_is_never_suspected() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    let records = [record("other", Some("eni-1")), record("name-of-eni-2", None)];
    for n in 0..5 {
        let judgement = leaks.judge(
            begun + n * LEAK_AGE,
            &[idle("eni-1"), idle("eni-2")],
            &records,
            &hosts(),
        );
        assert_eq!(judgement, Judgement::default());
    }
}

#[test]
fn an_attached_eni_is_adopted_by_its_node_or_left_alone() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    let (ours, astray) = (
        eni("eni-1", EniState::InUse, Some("ins-1")),
        eni("eni-2", EniState::InUse, Some("ins-9")),
    );
    for n in 0..5 {
        let listed = [ours.clone(), astray.clone()];
        let judgement = leaks.judge(begun + n * LEAK_AGE, &listed, &[], &hosts());
        assert_eq!(judgement.adopt, [(ours.clone(), "node-1".into())]);
        assert_eq!(judgement.astray, [("eni-2".into(), "ins-9".into())]);
        assert_eq!(judgement.condemned, []);
    }
}

#[test]
fn a_primary_eni_is_never_judged() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    let primary = Eni {
        kind: EniKind::Primary,
        ..idle("eni-1")
    };
    for n in 0..5 {
        assert_eq!(
            leaks.judge(
                begun + n * LEAK_AGE,
                std::slice::from_ref(&primary),
                &[],
                &hosts()
            ),
            Judgement::default()
        );
    }
}

#[test]
fn one_round_condemns_only_so_many() {
    let (begun, mut leaks) = (Instant::now(), Leaks::default());
    let listed: Vec<_> = (0..50).map(|n| idle(&format!("eni-{n:02}"))).collect();
    leaks.judge(begun, &listed, &[], &hosts());
    let judgement = leaks.judge(begun + LEAK_AGE, &listed, &[], &hosts());
    assert_eq!(judgement.condemned.len(), LEAKS_PER_ROUND);
    assert_eq!(leaks.suspected(), 50);
}

#[test]
fn a_leak_is_confirmed_only_by_an_unattached_secondary_eni_with_all_our_tags() {
    assert!(confirms_leak(&idle("eni-1"), &tags()));
    assert!(!confirms_leak(
        &eni("eni-1", EniState::InUse, Some("ins-1")),
        &tags()
    ));
    assert!(!confirms_leak(
        &eni("eni-1", EniState::Attaching, Some("ins-1")),
        &tags()
    ));
    assert!(!confirms_leak(
        &Eni {
            kind: EniKind::Primary,
            ..idle("eni-1")
        },
        &tags()
    ));
    let foreign = Eni {
        tags: BTreeMap::new(),
        ..idle("eni-1")
    };
    assert!(!confirms_leak(&foreign, &tags()));
    assert!(
        !confirms_leak(&idle("eni-1"), &BTreeMap::new()),
        "without tags of ours nothing is ours"
    );
}
