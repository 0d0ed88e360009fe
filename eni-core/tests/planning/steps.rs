//! What a node gets and gives back, and the steps of one ENI.

use super::*;

#[test]
fn a_new_node_gets_its_object_first() {
    let mut view = view();
    let spec = view.config.take().unwrap().spec;
    let pool = NodePool {
        enis: vec![],
        maximum: 2,
        capacity: 27,
        granted: 0,
        by_claim: false,
    };
    assert_eq!(actions(&view), [Action::Configure(spec, pool)]);
}

#[test]
fn the_warm_range_is_met_in_the_subnet_with_most_room() {
    assert_eq!(
        actions(&view()),
        [Action::Plan {
            subnet: "subnet-a".into(),
            secondary: 2
        }]
    );
}

#[test]
fn a_burst_is_one_plan_of_several_enis_within_the_limits() {
    let mut view = view();
    view.demand = 100;
    let planned: Vec<_> = actions(&view)
        .into_iter()
        .filter_map(|action| match action {
            Action::Plan { secondary, .. } => Some(secondary),
            _ => None,
        })
        .collect();
    assert_eq!(
        planned,
        [9, 9, 9],
        "three secondary ENIs of nine addresses, whatever the demand"
    );
}

#[test]
fn planned_enis_count_before_they_exist() {
    let mut view = view();
    view.demand = 5;
    let planned = EniRecord {
        id: None,
        ..record("a", 7)
    };
    view.enis = vec![(planned.clone(), EniView::Absent)];
    let mut expected = vec![Action::Create(planned)];
    expected.push(Action::Publish(NodePool {
        enis: vec![],
        maximum: 7,
        capacity: 27,
        granted: 0,
        by_claim: false,
    }));
    assert_eq!(actions(&view), expected);
}

#[test]
fn an_unanswered_creation_is_adopted_not_repeated() {
    let mut view = view();
    let (mut record, eni) = attached("a", 10, 2);
    record.id = None;
    view.enis = vec![(record.clone(), eni)];
    let planned = actions(&view);
    assert!(
        planned.contains(&Action::Adopt(record, "eni-a".into())),
        "{planned:?}"
    );
    assert!(
        !planned.iter().any(|action| matches!(action, Action::Create(_))),
        "{planned:?}"
    );
}

#[test]
fn an_available_eni_is_attached() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    let eni = known(&mut view, 0);
    (eni.eni.state, eni.eni.instance) = (EniState::Available, None);
    assert_eq!(actions(&view), [Action::Attach("eni-a".into())]);
}

#[test]
fn the_fullest_eni_with_room_grows_first() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 1), attached("b", 20, 4)];
    settle(&mut view);
    view.demand = 5;
    view.config.as_mut().unwrap().pool.maximum = 7;
    let assign = Action::Assign {
        eni: "eni-b".into(),
        subnet: "subnet-a".into(),
        count: 2,
    };
    assert_eq!(actions(&view), [assign]);
}

#[test]
fn a_busy_eni_gets_no_second_order_and_its_room_is_not_bought_elsewhere() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    settle(&mut view);
    known(&mut view, 0).settled = false;
    view.demand = 3;
    view.config.as_mut().unwrap().pool.maximum = 5;
    assert_eq!(actions(&view), []);
}

#[test]
fn one_order_at_a_time_on_one_eni() {
    let mut view = view();
    view.demand = 3;
    view.enis = vec![attached("a", 10, 2)];
    let eni = known(&mut view, 0);
    (eni.eni.state, eni.eni.instance) = (EniState::Available, None);
    let orders: Vec<_> = actions(&view)
        .into_iter()
        .filter(|action| action.eni().is_some())
        .collect();
    assert_eq!(orders, [Action::Attach("eni-a".into())]);
}

#[test]
fn pods_that_come_while_an_eni_is_created_wait_for_its_room() {
    let mut view = view();
    view.demand = 6;
    view.enis = vec![(
        EniRecord {
            id: None,
            ..record("a", 2)
        },
        EniView::Unknown,
    )];
    let planned = actions(&view);
    assert!(
        !planned.iter().any(|action| matches!(action, Action::Plan { .. })),
        "{planned:?}"
    );
}

#[test]
fn an_exhausted_subnet_makes_a_new_eni_in_another() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    settle(&mut view);
    view.subnets[0].free = 0;
    view.demand = 3;
    view.config.as_mut().unwrap().pool.maximum = 5;
    assert_eq!(
        actions(&view),
        [Action::Plan {
            subnet: "subnet-b".into(),
            secondary: 3
        }]
    );
}

#[test]
fn held_addresses_are_not_counted_as_free() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    settle(&mut view);
    view.config.as_mut().unwrap().agent.held = 2;
    let assign = Action::Assign {
        eni: "eni-a".into(),
        subnet: "subnet-a".into(),
        count: 2,
    };
    assert_eq!(actions(&view), [assign]);
}

#[test]
fn only_ready_addresses_are_published_each_with_a_generation_of_its_own() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    known(&mut view, 0).eni.addresses[2].ready = false;
    settle(&mut view);
    let first = view.config.as_ref().unwrap().pool.clone();
    assert_eq!(first.attached(), 1);
    known(&mut view, 0).eni.addresses[2].ready = true;
    settle(&mut view);
    let second = &view.config.as_ref().unwrap().pool.enis[0].attached;
    assert_eq!(second.len(), 2);
    assert_eq!(
        second[0], first.enis[0].attached[0],
        "a stay keeps its generation"
    );
    assert_eq!(actions(&view), [], "and then there is nothing to do");
}

#[test]
fn a_withdrawn_address_is_published_as_releasing_before_it_is_unassigned_and_dropped_after() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    let config = view.config.as_mut().unwrap();
    let offered = config.pool.enis[0].attached[0];
    config.agent.withdrawn = vec![offered];

    let planned = actions(&view);
    assert!(
        !planned
            .iter()
            .any(|action| matches!(action, Action::Unassign { .. })),
        "{planned:?}"
    );
    settle(&mut view);
    let pool = &view.config.as_ref().unwrap().pool;
    assert_eq!(
        (pool.enis[0].attached.len(), &*pool.enis[0].releasing),
        (2, &[offered][..])
    );
    let unassign = Action::Unassign {
        eni: "eni-a".into(),
        addresses: vec![offered.ip],
    };
    assert_eq!(actions(&view), [unassign]);
    known(&mut view, 0)
        .eni
        .addresses
        .retain(|address| address.ip != offered.ip);
    assert_eq!(actions(&view), [], "one listing without it may be wrong");
    known(&mut view, 0).vanished.insert(offered.ip);
    settle(&mut view);
    assert!(view.config.as_ref().unwrap().pool.enis[0].releasing.is_empty());
    assert_eq!(actions(&view), []);
}

#[test]
fn a_withdrawal_of_another_stay_is_ignored() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    settle(&mut view);
    let config = view.config.as_mut().unwrap();
    let entry = config.pool.enis[0].attached[0];
    config.agent.withdrawn = vec![PoolAddress {
        generation: Generation::from_random(999),
        ..entry
    }];
    assert_eq!(actions(&view), []);
}

#[test]
fn an_attached_address_that_a_listing_lacks_stays_until_the_agent_lets_go() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    known(&mut view, 0).eni.addresses.pop();
    assert_eq!(actions(&view), []);
}

#[test]
fn an_empty_eni_goes_step_by_step_and_only_after_the_agent_let_go() {
    let mut view = view();
    view.warm = WarmRange { min: 0, max: 0 };
    view.enis = vec![attached("a", 10, 0)];
    settle(&mut view);
    let record = view.enis[0].0.clone();
    assert_eq!(actions(&view), [Action::Retire(record)]);

    view.enis[0].0.intent = Intent::Deleted;
    let planned = actions(&view);
    assert!(
        !planned.contains(&Action::Detach("eni-a".into())),
        "still published: {planned:?}"
    );
    settle(&mut view);
    assert_eq!(actions(&view), [Action::Detach("eni-a".into())]);

    let eni = known(&mut view, 0);
    (eni.eni.state, eni.eni.instance) = (EniState::Available, None);
    assert_eq!(actions(&view), [Action::Delete("eni-a".into())]);
    view.enis[0].1 = EniView::Gone;
    let record = view.enis[0].0.clone();
    assert_eq!(actions(&view), [Action::Forget(record)]);
}

#[test]
fn an_eni_with_a_published_address_is_never_retired() {
    let mut view = view();
    view.warm = WarmRange { min: 0, max: 0 };
    view.enis = vec![attached("a", 10, 1)];
    settle(&mut view);
    known(&mut view, 0).eni.addresses.truncate(1);
    assert_eq!(actions(&view), []);
}

#[test]
fn an_eni_that_was_not_read_yet_changes_nothing() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2)];
    settle(&mut view);
    view.enis[0].1 = EniView::Unknown;
    assert_eq!(actions(&view), []);
}

#[test]
fn planning_is_idempotent() {
    let mut view = view();
    view.demand = 4;
    view.enis = vec![attached("a", 10, 4), attached("b", 30, 2)];
    settle(&mut view);
    assert_eq!(actions(&view), []);
}

#[test]
fn a_target_above_one_eni_is_reached_with_two() {
    let mut view = view();
    view.demand = 11;
    let plan = |subnet: &str, secondary| Action::Plan {
        subnet: subnet.into(),
        secondary,
    };
    let planned: Vec<_> = actions(&view)
        .into_iter()
        .filter(|action| matches!(action, Action::Plan { .. }))
        .collect();
    assert_eq!(
        planned,
        [plan("subnet-a", 9), plan("subnet-a", 4)],
        "thirteen, both at once"
    );
}

#[test]
fn no_more_is_bound_than_the_kubelet_takes_pods() {
    let mut view = view();
    view.node.max_pods = Some(4);
    view.demand = 20;
    let secondary: Vec<_> = actions(&view)
        .into_iter()
        .filter_map(|action| match action {
            Action::Plan { secondary, .. } => Some(secondary),
            _ => None,
        })
        .collect();
    assert_eq!(secondary, [4]);
    settle(&mut view);
    assert_eq!(view.config.unwrap().pool.capacity, 4);
}

#[test]
fn an_idle_node_is_bound_no_further_than_its_share_and_busy_ones_as_far_as_their_pods() {
    let mut view = view();
    view.granted = Some(1);
    assert!(actions(&view).contains(&Action::Plan {
        subnet: "subnet-a".into(),
        secondary: 1
    }));
    view.demand = 6;
    assert!(actions(&view).contains(&Action::Plan {
        subnet: "subnet-a".into(),
        secondary: 6
    }));
    settle(&mut view);
    let pool = view.config.unwrap().pool;
    assert_eq!(
        (pool.granted, pool.maximum),
        (1, 6),
        "what is idle goes back to those who need it"
    );
}

#[test]
fn a_senseless_range_of_a_node_is_told_and_the_clusters_applies() {
    let mut view = view();
    view.config.as_mut().unwrap().spec.warm = Some(WarmRange { min: 9, max: 3 });
    let planned = plan(&view, &mut || 1);
    assert!(planned.actions.contains(&Action::Plan {
        subnet: "subnet-a".into(),
        secondary: 2
    }));
    assert!(
        matches!(&planned.notices[..], [Notice::InvalidWarmRange(_)]),
        "{planned:?}"
    );
}

#[test]
fn an_eni_that_somebody_detached_is_not_deleted_before_the_agent_was_told() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 2), attached("b", 20, 0)];
    settle(&mut view);
    view.enis[1].0.intent = Intent::Deleted;
    let eni = known(&mut view, 1);
    (eni.eni.state, eni.eni.instance) = (EniState::Available, None);
    let told = actions(&view);
    assert!(matches!(told[..], [Action::Publish(_)]), "{told:?}");
    settle(&mut view);
    assert_eq!(actions(&view), [Action::Delete("eni-b".into())]);
}

#[test]
fn where_a_sandbox_waits_adding_goes_before_taking_off() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    let config = view.config.as_mut().unwrap();
    config.agent.withdrawn = vec![config.pool.enis[0].attached[0]];
    settle(&mut view);
    view.demand = 2;
    let orders = |view: &NodeView| -> Vec<_> {
        let actions = actions(view).into_iter();
        actions.filter(|action| action.eni().is_some()).collect()
    };
    assert!(matches!(orders(&view)[..], [Action::Unassign { .. }]));
    view.config.as_mut().unwrap().agent.short = 1;
    let assign = Action::Assign {
        eni: "eni-a".into(),
        subnet: "subnet-a".into(),
        count: 2,
    };
    assert_eq!(orders(&view), [assign]);
}
