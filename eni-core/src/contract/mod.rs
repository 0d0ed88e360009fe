//! The suites that every implementor of a trait must pass: one named test for each sentence of the
//! trait's contract.
//!
//! A backend implements the suite's harness, which makes a fresh backend for each case, and writes one
//! line; its crate needs `tokio` with `macros` and `rt` among the dev-dependencies:
//!
//! ```ignore
//! mod contract {
//!     eni_core::cloud_contract!(async || super::MyHarness::start().await);
//! }
//! ```
//!
//! What a backend cannot do, by its capabilities or its harness, is skipped, and said on stderr even
//! where the test runner captures the output.

pub mod cloud;
pub mod cluster;
pub mod journal;
pub mod network;
pub mod sandboxes;

use std::io::Write;

/// One `#[tokio::test]` for each case of [`contract::cloud`](crate::contract::cloud).
///
/// The argument is called for each of them and gives a future of a
/// [`CloudHarness`](crate::contract::cloud::CloudHarness).
#[macro_export]
macro_rules! cloud_contract {
    ($build:expr) => {
        $crate::contract_cases! { cloud, $build, [
            instances_that_do_not_exist_are_left_out,
            a_subnet_is_described_whole,
            an_unknown_subnet_is_not_found,
            limits_leave_room_for_pods,
            enis_that_do_not_exist_are_left_out,
            a_created_eni_becomes_available_as_asked,
            a_creation_in_an_unknown_subnet_is_not_found,
            a_creation_in_a_full_subnet_names_the_subnet,
            a_repeated_token_answers_the_same_eni,
            a_token_of_another_request_is_invalid,
            enis_are_found_by_all_of_their_tags,
            an_attached_eni_is_in_use_and_listed_with_its_instance,
            attaching_again_succeeds,
            attaching_an_unknown_eni_is_not_found,
            attaching_to_an_unknown_instance_is_not_found,
            attaching_across_zones_is_invalid,
            a_detached_eni_is_available_again,
            detaching_what_is_not_attached_succeeds,
            a_deleted_eni_is_gone_and_deleting_it_again_succeeds,
            deleting_an_attached_eni_conflicts,
            assigned_addresses_become_ready,
            assigning_exactly_leaves_alone_what_is_there,
            assigning_beyond_the_limit_assigns_nothing,
            assigning_to_an_unknown_eni_is_not_found,
            unassigned_addresses_go_and_unassigning_them_again_succeeds,
            an_address_that_another_eni_has_is_taken,
            a_migrated_address_is_on_the_other_eni_alone,
        ] }
    };
}

/// One `#[tokio::test]` for each case of [`contract::cluster`](crate::contract::cluster).
///
/// The argument is called for each of them and gives a future of a
/// [`ClusterHarness`](crate::contract::cluster::ClusterHarness).
#[macro_export]
macro_rules! cluster_contract {
    ($build:expr) => {
        $crate::contract_cases! { cluster, $build, [
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
        ] }
    };
}

/// One `#[tokio::test]` for each case of [`contract::journal`](crate::contract::journal).
///
/// The argument is called for each of them and gives a future of a
/// [`JournalHarness`](crate::contract::journal::JournalHarness).
#[macro_export]
macro_rules! journal_contract {
    ($build:expr) => {
        $crate::contract_cases! { journal, $build, [
            a_new_journal_remembers_nothing,
            every_kind_of_change_survives_reopening,
            every_kind_of_change_can_be_taken_back,
            the_last_change_of_a_key_counts,
            changes_of_one_commit_apply_in_order,
            a_commit_of_nothing_succeeds,
            keys_are_never_confused,
            stays_of_one_address_are_told_apart,
            concurrent_commits_are_all_remembered,
            load_sees_what_was_acknowledged,
        ] }
    };
}

/// One `#[tokio::test]` for each case of [`contract::network`](crate::contract::network).
///
/// The argument is called for each of them and gives a future of a
/// [`NetworkHarness`](crate::contract::network::NetworkHarness).
#[macro_export]
macro_rules! network_contract {
    ($build:expr) => {
        $crate::contract_cases! { network, $build, [
            putting_an_eni_into_service_again_changes_nothing,
            an_eni_that_is_not_on_the_node_has_no_device,
            an_eni_is_taken_out_of_service_whole_and_again,
            a_wired_pod_verifies,
            wiring_again_changes_nothing,
            a_pod_can_leave_by_the_main_table,
            pods_are_wired_side_by_side,
            wiring_a_dead_sandbox_leaves_nothing,
            unwiring_leaves_nothing_and_succeeds_again,
            unwiring_a_dead_sandbox_by_its_addresses_leaves_nothing,
            unwiring_touches_no_other_pod,
            a_late_unwiring_spares_the_new_owner,
            a_missing_pod_does_not_verify,
            a_survey_lists_wired_pods_with_their_addresses,
            what_serves_a_pod_or_an_eni_is_not_left_over,
            a_dead_sandbox_leaves_its_address_over,
            an_eni_that_went_leaves_its_table_over,
            a_table_that_a_pod_leaves_by_is_not_left_over,
            clearing_leaves_nothing_and_succeeds_again,
            clearing_spares_an_address_in_use,
            clearing_spares_a_table_in_use,
            repair_puts_back_what_others_flushed,
            repair_sets_a_device_up_again,
            repair_leads_by_the_table_that_it_is_given,
            repair_leaves_alone_what_is_well,
            repair_leaves_alone_what_has_no_device,
        ] }
    };
}

/// One `#[tokio::test]` for each case of [`contract::sandboxes`](crate::contract::sandboxes).
///
/// The argument is called for each of them and gives a future of a
/// [`SandboxesHarness`](crate::contract::sandboxes::SandboxesHarness).
#[macro_export]
macro_rules! sandboxes_contract {
    ($build:expr) => {
        $crate::contract_cases! { sandboxes, $build, [
            no_sandboxes_are_an_empty_list,
            every_running_sandbox_is_ready,
            a_sandbox_that_does_not_run_is_not_ready,
            a_sandbox_that_is_gone_is_not_ready,
            each_sandbox_is_listed_once,
            a_listing_sees_what_happened_before_it,
            what_cannot_be_read_is_an_error_and_never_a_part,
        ] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! contract_cases {
    ($suite:ident, $build:expr, [$($case:ident),* $(,)?]) => {
        $(
            #[tokio::test]
            async fn $case() {
                let harness = ($build)().await;
                $crate::contract::$suite::$case(&harness).await;
            }
        )*
    };
}

/// Says that a case was skipped. Written to stderr itself, which no test runner captures.
fn skip(case: &str, reason: &str) {
    let line = format!("SKIPPED contract case {case}: {reason}\n");
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("stderr takes a line");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The macro of each suite with its files.
    const SUITES: [(&str, &[&str]); 5] = [
        (
            "cloud",
            &[
                include_str!("cloud/addresses.rs"),
                include_str!("cloud/attaching.rs"),
                include_str!("cloud/enis.rs"),
                include_str!("cloud/places.rs"),
            ],
        ),
        ("cluster", &[include_str!("cluster.rs")]),
        ("journal", &[include_str!("journal.rs")]),
        (
            "network",
            &[
                include_str!("network/enis.rs"),
                include_str!("network/wiring.rs"),
                include_str!("network/survey.rs"),
                include_str!("network/repair.rs"),
            ],
        ),
        ("sandboxes", &[include_str!("sandboxes.rs")]),
    ];

    #[test]
    fn every_case_is_in_its_suites_list_and_every_suite_is_looked_at() {
        let lists = include_str!("mod.rs");
        for (suite, files) in SUITES {
            let begin = format!("contract_cases! {{ {suite}, $build, [");
            let list = lists.split_once(&begin).expect("each suite has a list").1;
            let list = list.split_once(']').expect("a list ends").0;
            let listed: BTreeSet<_> = list
                .split(',')
                .map(str::trim)
                .filter(|case| !case.is_empty())
                .collect();
            let cases = files
                .iter()
                .flat_map(|file| file.split("\npub async fn ").skip(1));
            let cases: BTreeSet<_> = cases.filter_map(|case| Some(case.split_once('(')?.0)).collect();
            assert_eq!(cases, listed, "{suite}");
            assert!(cases.len() > 5, "the layout of {suite} changed: {cases:?}");
        }
        // In two parts, so that this line is not counted.
        let suites = lists.matches(concat!("$crate::contract", "_cases! {")).count();
        assert_eq!(suites, SUITES.len());
    }
}
