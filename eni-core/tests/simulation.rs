//! The simulation of whole clusters: a few seeds hold, a seed decides everything, and mistakes are found.

use std::ops::Range;

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
fn every_invariant_holds_with_static_addresses() {
    for (faults, seeds) in [(false, 5), (true, SEEDS / 2)] {
        let scenario = Scenario {
            claims: true,
            faults,
            ..scenario()
        };
        for seed in 0..seeds {
            let outcome = simulate(seed, &scenario);
            assert!(outcome.violation.is_none(), "{outcome}");
        }
    }
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

/// The first of these seeds that breaks anything with a mistake built in breaks what the mistake plainly
/// causes, and nothing without it.
fn found(bug: Bug, seeds: Range<u64>, often: &[&str], invariants: &[&str]) {
    assert!(often.iter().all(|fault| FAULTS.contains(fault)), "{often:?}");
    let right = Scenario {
        often: often.iter().copied().map(str::to_owned).collect(),
        ..scenario()
    };
    let wrong = Scenario {
        bug: Some(bug),
        ..right.clone()
    };
    let mut outcomes = seeds.clone().map(|seed| simulate(seed, &wrong));
    let first = outcomes.find(|outcome| outcome.violation.is_some());
    let first = first.unwrap_or_else(|| panic!("{bug:?} is not found by the seeds {seeds:?}"));
    let broken = first.violation.as_ref().map(|violation| violation.invariant);
    let (number, _) = broken.unwrap().split_once(':').unwrap();
    assert!(invariants.contains(&number), "{bug:?} is not found by {first}");
    let without = simulate(first.seed, &right);
    assert!(without.violation.is_none(), "without {bug:?}: {without}");
}

macro_rules! found {
    ($($test:ident: $bug:ident in $seeds:expr, $(often $often:expr,)? by $invariants:expr;)*) => {
        $(
            #[test]
            fn $test() {
                found(Bug::$bug, $seeds, &[&[] as &[&str], $(&$often)?].concat(), &$invariants);
            }
        )*

        #[test]
        fn every_mistake_has_its_test() {
            let tested = [$(Bug::$bug),*];
            let untested: Vec<_> = Bug::ALL.iter().filter(|bug| !tested.contains(bug)).collect();
            assert!(untested.is_empty(), "{untested:?}");
        }
    };
}

found! {
    an_agent_that_forgets_what_rests_is_found: ForgetCooling in 0..10, often ["agent-crash"], by ["1"];
    an_agent_that_forgets_what_it_offered_back_is_found: ForgetWithdrawn in 16..40,
        often ["agent-crash", "ipamd-crash", "partition", "watch-lag"], by ["1"];
    an_add_that_skips_the_journal_is_found: SkipJournal in 0..5, by ["4"];
    an_ipamd_that_takes_off_before_it_writes_is_found: UnassignAtOnce in 0..10, by ["2"];
    a_creation_with_a_new_token_for_each_try_is_found: NewTokenForEachTry in 0..10,
        often ["before", "after"], by ["9"];
    an_ipamd_that_ignores_generations_is_found: IgnoreGeneration in 0..200,
        often ["agent-crash", "by-hand"], by ["2"];
    an_ipamd_that_takes_failure_for_absence_is_found: FailedListingIsEmpty in 0..10,
        often ["outage", "before", "throttled"], by ["12"];
    a_del_by_the_pods_name_is_found: DelByPodName in 0..40, by ["4", "5"];
    a_leader_that_is_deaf_to_its_replacement_is_found: DeafLeader in 0..10, often ["leader-change"], by ["10"];
    a_plugin_that_wires_what_another_pod_owns_is_found: WireAnothers in 0..5, by ["1"];
    a_plugin_that_does_not_ask_again_is_found: AskOnce in 0..10, often ["orphan"], by ["11"];
    a_collector_that_goes_by_pods_alone_is_found: BlindToSandboxes in 0..20, often ["late-del"], by ["4", "5"];
    a_collector_that_goes_by_sandboxes_alone_is_found: BlindToPods in 0..10, often ["late-del"], by ["5"];
}
