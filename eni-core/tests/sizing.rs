//! The size of a node's pool: never more than it can use, never a step that the other side undoes.

use eni_core::{
    agent::Release,
    allocator::PoolCounts,
    model::{Limits, NodePool, WarmRange},
    policy::{InvalidWarmRange, Sizing, ceiling, offer, spread, warm_range},
};
use proptest::prelude::*;

const NONE: WarmRange = WarmRange { min: 0, max: 0 };

fn sizing() -> impl Strategy<Value = Sizing> {
    let figures = (0..200u32, 0..60u32, 0..30u32, 0..30u32, 0..250u32);
    (figures, prop::option::of(0..250u32)).prop_map(|((demand, held, min, more, ceiling), granted)| Sizing {
        demand,
        held,
        warm: WarmRange { min, max: min + more },
        ceiling,
        granted,
    })
}

/// What the agent of a node would take away, with every pod served and everything else idle.
fn surplus(sizing: &Sizing, bound: u32) -> u32 {
    let allocated = sizing.demand.min(bound.saturating_sub(sizing.held));
    let cooling = sizing.held.min(bound);
    let counts = PoolCounts {
        free: (bound - cooling - allocated) as usize,
        allocated: allocated as usize,
        cooling: cooling as usize,
        ..PoolCounts::default()
    };
    let pool = NodePool {
        enis: vec![],
        maximum: sizing.maximum(),
        capacity: sizing.ceiling,
        granted: 0,
        by_claim: false,
    };
    offer(counts, 0, &pool, Release::Quick) as u32
}

/// One round: ipamd adds what is missing, then the agent takes away what is too much. The new size, and the
/// calls that it took.
fn round(sizing: &Sizing, bound: u32) -> (u32, u32) {
    let grown = bound.max(sizing.target());
    let shrunk = grown - surplus(sizing, grown);
    (shrunk, u32::from(grown != bound) + u32::from(shrunk != grown))
}

proptest! {
    #[test]
    fn planning_twice_changes_nothing(sizing in sizing(), bound in 0..300u32) {
        let (once, _) = round(&sizing, bound);
        prop_assert_eq!(round(&sizing, once), (once, 0));
    }

    #[test]
    fn what_one_side_has_just_done_never_makes_the_other_act(sizing in sizing(), bound in 0..300u32) {
        let grown = bound.max(sizing.target());
        if grown > bound {
            prop_assert_eq!(surplus(&sizing, grown), 0, "growth is offered back at once");
        }
        prop_assert!(grown - surplus(&sizing, grown) >= sizing.target(), "what was offered back is missing at once");
        prop_assert!(sizing.maximum() >= sizing.target().saturating_sub(sizing.held));
    }

    #[test]
    fn more_pods_never_make_a_smaller_pool(sizing in sizing(), more in 0..50u32) {
        let busier = Sizing { demand: sizing.demand + more, ..sizing };
        prop_assert!(busier.target() >= sizing.target());
        prop_assert!(busier.maximum() >= sizing.maximum());
    }

    #[test]
    fn the_target_stays_within_what_the_node_can_use(sizing in sizing()) {
        prop_assert!(sizing.target() <= sizing.ceiling);
        let all = sizing.demand + sizing.held;
        prop_assert!(sizing.target() >= sizing.ceiling.min(all), "pods and held addresses are never cut");
    }

    #[test]
    fn a_square_wave_costs_at_most_two_calls(sizing in sizing(), height in 0..10u32) {
        let high = Sizing { demand: sizing.demand + height, ..sizing };
        let (mut bound, _) = round(&sizing, 0);
        for _ in 0..5 {
            let (up, growing) = round(&high, bound);
            let (down, shrinking) = round(&sizing, up);
            prop_assert!(growing + shrinking <= 2, "{growing} up, {shrinking} down");
            bound = down;
        }
    }

    #[test]
    fn new_enis_stay_within_slots_and_subnets(
        missing in 0..100u32, slots in 0..5u32, per_eni in 0..30u32, free in prop::collection::vec(0..60u32, 0..4),
    ) {
        let subnets: Vec<_> = free.iter().enumerate().map(|(n, free)| subnet(n, *free)).collect();
        let spread = spread(missing, slots, per_eni, &subnets);
        prop_assert!(spread.enis.len() <= slots as usize);
        for subnet in &subnets {
            let of = spread.enis.iter().filter(|(id, _)| *id == subnet.id);
            prop_assert!(of.map(|(_, count)| count + 1).sum::<u32>() <= subnet.free);
        }
        prop_assert!(spread.enis.iter().all(|(_, count)| (1..=per_eni).contains(count)));
        let made: u32 = spread.enis.iter().map(|(_, count)| count).sum();
        let full = spread.enis.len() == slots as usize || per_eni == 0;
        prop_assert!(made == missing || full || spread.starved, "{spread:?}");
    }
}

fn subnet(n: usize, free: u32) -> eni_core::model::Subnet {
    eni_core::model::Subnet {
        id: format!("subnet-{n}").into(),
        vpc: "vpc-1".into(),
        zone: "zone-1".into(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: "10.0.0.1".parse().unwrap(),
        free,
    }
}

#[test]
fn capacity_is_what_the_cloud_allows_exactly_and_no_slot_is_kept_back() {
    let limits = |enis, addresses_per_eni| Limits {
        enis,
        addresses_per_eni,
    };
    assert_eq!(ceiling(limits(4, 10), None), 27);
    assert_eq!(ceiling(limits(2, 6), None), 5);
    assert_eq!(
        ceiling(limits(1, 10), None),
        0,
        "the instance's own ENI carries no pods"
    );
}

#[test]
fn no_more_addresses_are_bound_than_the_kubelet_takes_pods() {
    let limits = Limits {
        enis: 8,
        addresses_per_eni: 30,
    };
    assert_eq!(ceiling(limits, Some(110)), 110);
    let warm = WarmRange { min: 30, max: 30 };
    let full = Sizing {
        demand: 100,
        held: 20,
        warm,
        ceiling: 110,
        granted: None,
    };
    assert_eq!(full.target(), 110);
}

#[test]
fn a_share_limits_what_is_idle_and_never_what_pods_need() {
    let warm = WarmRange { min: 5, max: 9 };
    let scarce = |granted| Sizing {
        demand: 10,
        held: 2,
        warm,
        ceiling: 27,
        granted: Some(granted),
    };
    assert_eq!((scarce(12).target(), scarce(12).maximum()), (14, 12));
    assert_eq!((scarce(3).target(), scarce(3).maximum()), (12, 10));
    assert_eq!((scarce(27).target(), scarce(27).maximum()), (17, 19));
}

#[test]
fn a_pool_without_warm_addresses_follows_the_pods_alone() {
    let sizing = Sizing {
        demand: 0,
        held: 0,
        warm: NONE,
        ceiling: 27,
        granted: None,
    };
    assert_eq!((sizing.target(), sizing.maximum()), (0, 0));
}

#[test]
fn a_nodes_own_range_comes_before_the_clusters_unless_it_is_senseless() {
    let (cluster, own) = (WarmRange { min: 5, max: 5 }, WarmRange { min: 1, max: 3 });
    assert_eq!(warm_range(None, cluster), Ok(cluster));
    assert_eq!(warm_range(Some(own), cluster), Ok(own));
    assert_eq!(warm_range(Some(NONE), cluster), Ok(NONE));
    let senseless = WarmRange { min: 4, max: 3 };
    assert_eq!(
        warm_range(Some(senseless), cluster),
        Err(InvalidWarmRange(senseless))
    );
}
