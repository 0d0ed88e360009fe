//! The simulation of whole clusters: a few seeds hold, a seed decides everything, and mistakes are found.

use eni_core::sim::world::{Bug, FAULTS, Outcome, Scenario, simulate};

/// Seeds in which every invariant must hold; `cargo play -- simulate` runs thousands.
const SEEDS: u64 = 30;

fn scenario() -> Scenario {
    Scenario::default()
}

#[test]
fn every_invariant_holds() {
    let broken: Vec<_> = (0..SEEDS)
        .map(|seed| simulate(seed, &scenario()))
        .filter(|outcome| outcome.violation.is_some())
        .collect();
    let shown: Vec<_> = broken.iter().map(Outcome::to_string).collect();
    assert!(broken.is_empty(), "{}", shown.join("\n\n"));
}

#[test]
fn every_invariant_holds_where_nothing_goes_wrong() {
    let calm = Scenario {
        faults: false,
        ..scenario()
    };
    for seed in 0..10 {
        let outcome = simulate(seed, &calm);
        assert!(outcome.violation.is_none(), "{outcome}");
    }
}

#[test]
fn a_seed_decides_every_step() {
    let hashes = |seed| {
        let outcome = simulate(seed, &scenario());
        assert!(outcome.steps > 100, "{outcome}");
        (outcome.hash, outcome.steps)
    };
    for seed in 0..5 {
        assert_eq!(hashes(seed), hashes(seed), "seed {seed}");
    }
    assert_ne!(hashes(0), hashes(1));
}

#[test]
fn what_is_left_out_is_the_name_of_a_fault() {
    let unknown = Scenario::default().without.into_iter();
    let unknown: Vec<_> = unknown.filter(|name| !FAULTS.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Which seed finds a mistake, and which invariant it breaks; at most so many are tried.
fn found(bug: Bug, within: u64, invariants: &[&str]) {
    let mut scenario = Scenario {
        bug: Some(bug),
        ..scenario()
    };
    if bug == Bug::DeafLeader {
        scenario.without.retain(|fault| fault != "leader-change");
    }
    let mut broken = (0..within).filter_map(|seed| simulate(seed, &scenario).violation);
    let found = broken.any(|violation| {
        let (number, _) = violation.invariant.split_once(':').unwrap();
        invariants.contains(&number)
    });
    assert!(found, "{bug:?} is not found by {within} seeds");
}

macro_rules! found {
    ($($test:ident: $bug:ident within $seeds:literal by $invariants:expr;)*) => {$(
        #[test]
        fn $test() {
            found(Bug::$bug, $seeds, &$invariants);
        }
    )*};
}

found! {
    an_agent_that_forgets_what_rests_is_found: ForgetCooling within 40 by ["1"];
    an_add_that_skips_the_journal_is_found: SkipJournal within 5 by ["4"];
    an_ipamd_that_takes_off_before_it_writes_is_found: UnassignAtOnce within 20 by ["2"];
    a_creation_with_a_new_token_for_each_try_is_found: NewTokenForEachTry within 40 by ["9"];
    an_ipamd_that_ignores_generations_is_found: IgnoreGeneration within 200 by ["1", "2"];
    an_ipamd_that_takes_failure_for_absence_is_found: FailedListingIsEmpty within 200 by ["1", "2", "5", "8", "9"];
    a_del_by_the_pods_name_is_found: DelByPodName within 20 by ["4", "5"];
    a_leader_that_is_deaf_to_its_replacement_is_found: DeafLeader within 40 by ["10"];
    a_plugin_that_wires_what_another_pod_owns_is_found: WireAnothers within 20 by ["1"];
}
