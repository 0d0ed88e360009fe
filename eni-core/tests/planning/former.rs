//! Nodes and instances that changed or are gone, and what is left of them.

use super::*;

#[test]
fn a_node_that_comes_back_on_another_instance_gets_its_object_at_once() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    view.config.as_mut().unwrap().agent.held = 7;
    view.config.as_mut().unwrap().spec.warm = Some(WarmRange { min: 1, max: 1 });
    view.node.instance = Some("ins-2".into());
    view.node.uid = "uid-2".into();
    let [Action::Rewrite(config)] = &actions(&view)[..] else {
        panic!("{:?}", actions(&view));
    };
    assert_eq!(
        (config.spec.instance.as_str(), config.spec.node_uid.as_str()),
        ("ins-2", "uid-2")
    );
    assert_eq!(
        config.spec.warm,
        Some(WarmRange { min: 1, max: 1 }),
        "what an operator set stays"
    );
    assert_eq!(
        (config.pool.enis.len(), &config.agent),
        (0, &AgentReport::default())
    );
}

#[test]
fn a_node_object_that_is_made_anew_for_the_same_machine_keeps_its_pool() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    view.node.uid = "uid-2".into();
    let [Action::Rewrite(config)] = &actions(&view)[..] else {
        panic!("{:?}", actions(&view));
    };
    let before = view.config.as_ref().unwrap();
    assert_eq!((&config.pool, &config.agent), (&before.pool, &before.agent));
    view.config = Some(config.clone());
    assert_eq!(actions(&view), []);
}

/// A node on a new instance, with two full ENIs of the old one.
fn moved() -> NodeView {
    let mut view = view();
    view.enis = vec![attached("a", 10, 9), attached("b", 30, 9)];
    view.node.instance = Some("ins-2".into());
    let [Action::Rewrite(config)] = &actions(&view)[..] else {
        panic!("{:?}", actions(&view));
    };
    view.config = Some(config.clone());
    view
}

#[test]
fn enis_of_a_former_instance_are_left_alone_told_and_not_counted() {
    let mut view = moved();
    view.demand = 27;
    let planned = plan(&view, &mut || 1);
    let made = planned
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Plan { .. }));
    assert_eq!(
        made.count(),
        3,
        "all slots of the new instance are its own: {planned:?}"
    );
    assert!(
        planned.actions.iter().all(|action| action.eni().is_none()),
        "{planned:?}"
    );
    let told = planned
        .notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Stranded { .. }));
    assert_eq!(told.count(), 2);
}

#[test]
fn enis_of_a_former_instance_go_once_that_is_gone() {
    let mut view = moved();
    view.warm = WarmRange { min: 0, max: 0 };
    view.gone = BTreeSet::from([ME.into()]);
    let records: Vec<_> = view.enis.iter().map(|(record, _)| record.clone()).collect();
    let retired: Vec<_> = records.into_iter().map(Action::Retire).collect();
    assert_eq!(actions(&view)[..2], retired);
    for (record, _) in &mut view.enis {
        record.intent = Intent::Deleted;
    }
    let planned = actions(&view);
    assert!(planned.contains(&Action::Detach("eni-a".into())), "{planned:?}");
    let eni = known(&mut view, 0);
    (eni.eni.state, eni.eni.instance) = (EniState::Available, None);
    let planned = actions(&view);
    assert!(planned.contains(&Action::Delete("eni-a".into())), "{planned:?}");
    view.enis[0].1 = EniView::Gone;
    let planned = actions(&view);
    assert!(
        planned.contains(&Action::Forget(view.enis[0].0.clone())),
        "{planned:?}"
    );
}

fn remains(gone: bool) -> Remains {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    Remains {
        node: view.node.name,
        config: view.config,
        enis: view.enis,
        claims: None,
        gone: gone.then(|| ME.into()).into_iter().collect(),
    }
}

#[test]
fn a_missing_node_object_alone_removes_nothing() {
    assert_eq!(depart(&remains(false)).actions, []);
}

#[test]
fn what_is_left_of_a_node_whose_instance_is_gone_goes_in_order_and_the_object_last() {
    let mut remains = remains(true);
    assert_eq!(
        depart(&remains).actions,
        [Action::Retire(remains.enis[0].0.clone())]
    );
    remains.enis[0].0.intent = Intent::Deleted;
    assert_eq!(
        depart(&remains).actions,
        [Action::Detach("eni-a".into())],
        "published or not: no agent is left"
    );
    let set = |remains: &mut Remains, change: fn(&mut Observed)| match &mut remains.enis[0].1 {
        EniView::Known(known) => change(known),
        other => panic!("{other:?}"),
    };
    set(&mut remains, |known| known.settled = false);
    assert_eq!(depart(&remains).actions, [], "one order at a time");
    set(&mut remains, |known| {
        (known.settled, known.eni.state, known.eni.instance) = (true, EniState::Available, None);
    });
    assert_eq!(depart(&remains).actions, [Action::Delete("eni-a".into())]);
    remains.enis[0].1 = EniView::Gone;
    assert_eq!(
        depart(&remains).actions,
        [Action::Forget(remains.enis[0].0.clone())]
    );
    remains.enis.clear();
    let config = remains.config.clone().unwrap();
    assert_eq!(depart(&remains).actions, [Action::Dismiss(config)]);
    remains.config = None;
    assert_eq!(depart(&remains).actions, []);
}

#[test]
fn an_eni_that_somebody_moved_to_a_living_instance_is_not_detached_from_it() {
    let mut remains = remains(true);
    remains.enis[0].0.intent = Intent::Deleted;
    let EniView::Known(known) = &mut remains.enis[0].1 else {
        panic!()
    };
    known.eni.instance = Some("ins-7".into());
    assert_eq!(depart(&remains).actions, []);
}

#[test]
fn an_eni_in_service_whose_record_was_deleted_stays_in_service_and_gets_a_record() {
    let mut view = view();
    view.enis = vec![attached("a", 10, 3)];
    settle(&mut view);
    view.enis.clear();
    view.demand = 1;
    let planned = actions(&view);
    let restored = planned.iter().find_map(|action| match action {
        Action::Restore(record) => Some(record),
        _ => None,
    });
    let restored = restored.unwrap_or_else(|| panic!("{planned:?}"));
    assert_eq!(
        (&restored.id, &restored.instance),
        (&Some("eni-a".into()), &ME.into())
    );
    let published = planned.iter().find_map(|action| match action {
        Action::Publish(pool) => Some(pool.enis.len()),
        _ => None,
    });
    assert_eq!(published.unwrap_or(1), 1, "pods may use it: {planned:?}");
}

#[test]
fn what_an_instance_can_carry_is_not_taken_for_what_another_can() {
    let mut view = view();
    let limits = view.limits;
    view.config.as_mut().unwrap().spec.limits = Some(limits);
    assert!(
        !actions(&view)
            .iter()
            .any(|action| matches!(action, Action::Rewrite(_)))
    );
    let kept = |view: &NodeView| match &actions(view)[..] {
        [Action::Rewrite(config)] => config.spec.limits,
        other => panic!("{other:?}"),
    };
    view.node.uid = "uid-2".into();
    assert_eq!(kept(&view), Some(limits));
    view.node.instance = Some("ins-2".into());
    assert_eq!(kept(&view), None);
}
