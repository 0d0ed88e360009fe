//! Large clusters in virtual time: growth is bounded by the budget of calls alone, and rest costs none. The
//! full size runs by `cargo play -- scale`.

use std::{sync::Arc, time::Duration};

use eni_core::sim::scale::{Scale, Unobserved, scale};

#[test]
fn growth_is_bounded_by_the_budget_alone_rest_costs_the_audits_and_churn_two_calls_a_pod_at_most() {
    let wanted = Scale {
        nodes: 400,
        pods: 8_000,
        // It takes longer than until agents give back what they have too much of.
        calls_per_second: 10,
        ..Scale::default()
    };
    let report = scale(&wanted, Arc::new(Unobserved));
    assert!(report.broken.is_empty(), "{report}");
    assert_eq!(report.growth.calls.by_action["create_eni"], 800);
    assert_eq!(
        (report.growth.idle, report.churn.replaced),
        (2_000, 800),
        "{report}"
    );
}

#[test]
fn two_hundred_and_fifty_idle_nodes_keep_no_more_idle_than_the_warm_range_and_the_kubelets_allow() {
    let wanted = Scale {
        nodes: 250,
        pods: 2_500,
        max_pods: Some(12),
        steady: Duration::from_secs(600),
        churn_minutes: 0,
        ..Scale::default()
    };
    let report = scale(&wanted, Arc::new(Unobserved));
    assert!(report.broken.is_empty(), "{report}");
    // 10 pods each: 2 more are all that a kubelet could start.
    assert_eq!((report.growth.fullest, report.growth.idle), (12, 500), "{report}");
    let wanted = Scale {
        pods: 0,
        max_pods: None,
        ..wanted
    };
    let report = scale(&wanted, Arc::new(Unobserved));
    assert!(report.broken.is_empty(), "{report}");
    assert_eq!(
        (report.growth.fullest, report.growth.idle),
        (5, 1_250),
        "{report}"
    );
}
