//! What is concluded from listings that lag, lack something, or contradict our orders.

mod walk;

use super::*;
use crate::model::{EniKind, Mac};

const SECOND: Duration = Duration::from_secs(1);

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

/// An attached ENI whose own address is 10.0.0.1, with these for pods.
fn eni(pods: &[u8]) -> Eni {
    let address = |last: u8, primary| EniAddress {
        ip: ip(last),
        primary,
        ready: true,
    };
    let pods = pods.iter().map(|last| address(*last, false));
    Eni {
        id: "eni-a".into(),
        name: "a".into(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        kind: EniKind::Secondary,
        state: EniState::InUse,
        subnet: "subnet-a".into(),
        zone: "zone-1".into(),
        instance: Some("ins-1".into()),
        addresses: std::iter::once(address(1, true)).chain(pods).collect(),
        security_groups: vec![],
        tags: BTreeMap::new(),
    }
}

/// One that a listing has shown, and when.
fn seen(pods: &[u8]) -> (Seen, Instant) {
    let now = Instant::now();
    let mut seen = Seen::unknown(now);
    seen.learn(Some(eni(pods)), now + SECOND);
    (seen, now + SECOND)
}

/// Which of those that the agent was told of are gone.
fn vanished(seen: &Seen) -> BTreeSet<IpAddr> {
    seen.vanished([ip(5), ip(6)])
}

fn listed(seen: &Seen) -> Vec<(IpAddr, bool)> {
    let eni = seen.eni.as_ref().unwrap();
    let pods = eni.secondary_addresses();
    pods.map(|address| (address.ip, address.ready)).collect()
}

#[test]
fn an_eni_is_gone_only_after_a_lag_without_it_in_every_listing() {
    let (mut seen, now) = seen(&[5]);
    assert!(!seen.is_in_flight(), "nothing is awaited");
    seen.learn(None, now + SECOND);
    assert!(
        !seen.is_gone() && !seen.is_present() && seen.is_in_flight(),
        "one listing is no evidence"
    );
    seen.learn(None, now + LAG);
    assert!(!seen.is_gone(), "the two are less than a lag apart");
    seen.learn(Some(eni(&[5])), now + LAG + SECOND);
    assert!(seen.is_present());
    seen.learn(None, now + 2 * LAG);
    assert!(!seen.is_gone(), "it was there in between");
    seen.learn(None, now + 3 * LAG);
    assert!(!seen.is_gone(), "two may lack it by chance");
    seen.learn(None, now + 3 * LAG + SECOND);
    assert!(seen.is_gone() && !seen.is_in_flight());
    assert_eq!(seen.gone_since(), Some(now + 2 * LAG));
}

#[test]
fn a_deletion_of_ours_is_believed_by_the_second_listing() {
    let (mut seen, now) = seen(&[]);
    seen.touch(now + SECOND);
    seen.ordered(EniState::Deleting);
    assert!(!seen.is_present());
    seen.learn(None, now + 2 * SECOND);
    assert!(!seen.is_gone());
    seen.learn(None, now + 3 * SECOND);
    assert!(seen.is_gone());
}

#[test]
fn a_deletion_without_effect_for_a_lag_did_not_happen() {
    let (mut seen, now) = seen(&[]);
    seen.touch(now);
    seen.ordered(EniState::Deleting);
    seen.learn(Some(eni(&[])), now + SECOND);
    assert!(!seen.is_present() && seen.is_in_flight(), "it may be on its way");
    seen.learn(Some(eni(&[])), now + LAG);
    assert!(seen.is_present() && !seen.is_in_flight());
}

#[test]
fn a_listing_that_began_before_our_order_says_nothing() {
    let (mut seen, now) = seen(&[]);
    seen.touch(now + 5 * SECOND);
    seen.ordered(EniState::Detaching);
    assert!(!seen.learn(Some(eni(&[])), now + 4 * SECOND));
    assert_eq!(seen.eni.as_ref().unwrap().state, EniState::Detaching);
    assert!(!seen.learn(None, now + 4 * SECOND));
    assert!(seen.is_present());
}

#[test]
fn an_order_that_listings_do_not_show_yet_is_still_under_way() {
    let (mut seen, now) = seen(&[]);
    seen.touch(now);
    seen.ordered(EniState::Detaching);
    seen.learn(Some(eni(&[])), now + SECOND);
    assert!(
        seen.is_in_flight(),
        "the listing shows the state before the order"
    );
    seen.learn(Some(eni(&[])), now + LAG);
    assert!(!seen.is_in_flight(), "it had no effect");
}

#[test]
fn what_was_assigned_is_counted_until_a_listing_a_lag_later_lacks_it() {
    let (mut seen, now) = seen(&[5]);
    seen.touch(now);
    seen.assigned(&[ip(6)], now);
    assert_eq!(listed(&seen), [(ip(5), true), (ip(6), false)]);
    seen.learn(Some(eni(&[5])), now + SECOND);
    assert_eq!(listed(&seen), [(ip(5), true), (ip(6), false)], "listings lag");
    seen.learn(Some(eni(&[5, 6])), now + 2 * SECOND);
    assert_eq!(listed(&seen), [(ip(5), true), (ip(6), true)]);
    assert!(!seen.is_in_flight());

    seen.touch(now + 3 * SECOND);
    seen.assigned(&[ip(7)], now + 3 * SECOND);
    seen.learn(Some(eni(&[5, 6])), now + 3 * SECOND + LAG);
    seen.learn(Some(eni(&[5, 6])), now + 4 * SECOND + LAG);
    assert_eq!(listed(&seen), [(ip(5), true), (ip(6), true)], "it never came");
}

#[test]
fn what_was_ordered_off_is_awaited_until_a_listing_lacks_it_and_gone_after_a_lag_without_it() {
    let (mut seen, now) = seen(&[5, 6]);
    seen.touch(now);
    seen.unassigned(&[ip(6)], now);
    seen.learn(Some(eni(&[5, 6])), now + SECOND);
    assert!(seen.is_in_flight());
    assert!(!seen.is_settled());
    seen.learn(Some(eni(&[5])), now + 2 * SECOND);
    assert!(seen.is_settled(), "it takes other orders meanwhile");
    assert!(seen.is_in_flight(), "one listing is no evidence");
    assert_eq!(vanished(&seen), BTreeSet::new());
    seen.learn(Some(eni(&[5])), now + 2 * SECOND + LAG);
    assert_eq!(vanished(&seen), BTreeSet::from([ip(6)]));
    assert!(!seen.is_in_flight());
}

#[test]
fn what_comes_back_by_an_order_of_ours_is_in_another_stay() {
    let (mut seen, now) = seen(&[5, 6]);
    seen.touch(now);
    seen.unassigned(&[ip(6)], now);
    seen.learn(Some(eni(&[5])), now + 2 * SECOND);
    seen.touch(now + 3 * SECOND);
    seen.assigned(&[ip(6)], now + 3 * SECOND);
    assert_eq!(vanished(&seen), BTreeSet::from([ip(6)]));
    assert_eq!(listed(&seen), [(ip(5), true), (ip(6), false)]);
}

#[test]
fn what_was_ordered_off_is_leaving_also_in_an_old_listing_after_a_newer_one() {
    let (mut seen, now) = seen(&[5, 6]);
    seen.touch(now);
    seen.unassigned(&[ip(6)], now);
    seen.learn(Some(eni(&[5])), now + SECOND);
    seen.learn(Some(eni(&[5, 6])), now + 2 * SECOND);
    assert_eq!(seen.unassigning(), BTreeSet::from([ip(6)]));
    seen.learn(Some(eni(&[5, 6])), now + LAG);
    assert_eq!(seen.unassigning(), BTreeSet::new(), "the order had no effect");

    seen.touch(now + LAG);
    seen.unassigned(&[ip(6)], now + LAG);
    seen.assigned(&[ip(6)], now + LAG);
    assert_eq!(seen.unassigning(), BTreeSet::new(), "it came again");
}

#[test]
fn an_address_has_vanished_only_after_a_lag_without_it_in_every_listing() {
    let (mut seen, now) = seen(&[5, 6]);
    seen.learn(Some(eni(&[5])), now + SECOND);
    assert!(vanished(&seen).is_empty() && seen.is_in_flight());
    seen.learn(Some(eni(&[5, 6])), now + 20 * SECOND);
    seen.learn(Some(eni(&[5])), now + 35 * SECOND);
    assert!(vanished(&seen).is_empty(), "it was there in between");
    seen.learn(Some(eni(&[5])), now + 35 * SECOND + LAG);
    assert!(
        vanished(&seen).is_empty() && seen.is_in_flight(),
        "two may lack it by chance"
    );
    seen.learn(Some(eni(&[5])), now + 36 * SECOND + LAG);
    assert_eq!(vanished(&seen), BTreeSet::from([ip(6)]));
    assert!(!seen.is_in_flight());
    seen.learn(Some(eni(&[5, 6])), now + 3 * LAG);
    assert!(vanished(&seen).is_empty(), "it came back");
}

#[test]
fn an_address_is_late_from_the_first_listing_that_showed_it() {
    let (mut seen, now) = seen(&[5]);
    let mut slow = eni(&[5, 6]);
    slow.addresses[2].ready = false;
    for second in 1..=3 {
        seen.learn(Some(slow.clone()), now + second * SECOND);
    }
    let late = |seen: &Seen, second| seen.unready_for(5 * SECOND, now + second * SECOND);
    assert_eq!(late(&seen, 5), [] as [IpAddr; 0]);
    assert_eq!(late(&seen, 6), [ip(6)]);
    assert!(seen.is_stuck(5 * SECOND, now + 6 * SECOND));
    seen.learn(Some(eni(&[5, 6])), now + 7 * SECOND);
    assert!(!seen.is_stuck(5 * SECOND, now + 60 * SECOND));
}

#[test]
fn a_state_that_should_pass_is_timed_from_its_beginning() {
    let (mut seen, now) = seen(&[]);
    let moving = Eni {
        state: EniState::Detaching,
        ..eni(&[])
    };
    seen.learn(Some(moving.clone()), now + SECOND);
    seen.learn(Some(moving), now + 20 * SECOND);
    assert_eq!(seen.moving_for(now + 31 * SECOND), Some(30 * SECOND));
    seen.learn(Some(eni(&[])), now + 32 * SECOND);
    assert_eq!(seen.moving_for(now + 33 * SECOND), None);
}

#[test]
fn after_an_unknown_outcome_it_is_read_before_anything_else() {
    let (mut seen, now) = seen(&[]);
    seen.touch(now + SECOND);
    seen.doubtful = true;
    seen.learn(Some(eni(&[])), now);
    assert!(seen.is_in_flight(), "that listing is older than the order");
    seen.learn(Some(eni(&[])), now + 2 * SECOND);
    assert!(!seen.is_in_flight());
}

#[test]
fn what_hangs_is_read_less_and_less_often_and_at_least_once_a_minute() {
    let (mut seen, now) = seen(&[]);
    seen.touch(now);
    let pause = |seen: &Seen| seen.next_reading(SECOND) - seen.asked;
    assert_eq!(pause(&seen), SECOND);
    seen.asked = now + 80 * SECOND;
    assert_eq!(pause(&seen), 10 * SECOND);
    seen.asked = now + 7200 * SECOND;
    assert_eq!(pause(&seen), LONGEST_PAUSE);
}
