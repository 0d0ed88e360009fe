//! Addresses by claim: what is published for whom, what is let go of, and where addresses come from.

use eni_core::controller::{ClaimNeed, ClaimView};

use super::*;

/// A view with claims on addresses: the last byte, the phase, the node, and whether the pod lives.
fn claimed(enis: Vec<(EniRecord, EniView)>, claims: &[(u8, ClaimPhase, &str, bool)]) -> NodeView {
    let mut view = view();
    view.enis = enis;
    view.warm = WarmRange { min: 0, max: 0 };
    hold(&mut view, claims);
    view
}

fn hold(view: &mut NodeView, claims: &[(u8, ClaimPhase, &str, bool)]) {
    let holder = |(last, phase, node, lives): &(u8, ClaimPhase, &str, bool)| {
        let claim = Claim {
            addresses: ip(*last).into(),
            subnet: Some("subnet-a".into()),
            node: Some((*node).into()),
            phase: *phase,
            ..Claim::new(
                PodKey::new("shop", format!("web-{last}")),
                format!("uid-{last}").into(),
                ClaimRequest::default(),
            )
        };
        (ip(*last), (claim, *lives))
    };
    let claims = ClaimView {
        holders: claims.iter().map(holder).collect(),
        migrates: true,
        ..ClaimView::default()
    };
    view.claims = Some(claims);
}

fn need(view: &mut NodeView, need: ClaimNeed) {
    view.claims.as_mut().unwrap().needs.push(need);
}

fn pool(view: &NodeView) -> &NodePool {
    &view.config.as_ref().unwrap().pool
}

fn ips(entries: &[PoolAddress]) -> Vec<IpAddr> {
    entries.iter().map(|entry| entry.ip).collect()
}

fn withdraw(view: &mut NodeView, last: u8) {
    let config = view.config.as_mut().unwrap();
    let enis = config.pool.enis.iter();
    let attached = enis.flat_map(|eni| &eni.attached);
    let entry = *attached.into_iter().find(|entry| entry.ip == ip(last)).unwrap();
    config.agent.withdrawn.push(entry);
}

#[test]
fn only_an_assigned_address_is_published_and_for_its_pod_alone() {
    use ClaimPhase::{Assigned, Retained};
    let claims = [(11, Assigned, "node-1", true), (12, Retained, "node-1", false)];
    let mut view = claimed(vec![attached("a", 10, 3)], &claims);
    settle(&mut view);
    let pool = pool(&view);
    assert!(pool.by_claim);
    let [eni] = &pool.enis[..] else { panic!("{pool:?}") };
    assert_eq!(ips(&eni.attached), [ip(11)]);
    assert_eq!(eni.reserved, [(ip(11), "uid-11".into())].into());
    assert_eq!(eni.evicting, [ip(13)], "nobody has it, and nobody wants one");
    let evict = Action::Evict {
        eni: "eni-a".into(),
        addresses: vec![ip(13)],
    };
    assert_eq!(actions(&view), [evict]);
}

#[test]
fn what_nobody_has_stays_for_who_wants_one() {
    let mut view = claimed(vec![attached("a", 10, 1)], &[]);
    need(&mut view, ClaimNeed::Any(SubnetChoice::any()));
    settle(&mut view);
    assert_eq!(pool(&view).enis[0].evicting, [] as [IpAddr; 0]);
    assert_eq!(actions(&view), [], "it is there already");
    need(&mut view, ClaimNeed::Any(SubnetChoice::any()));
    let assign = Action::Assign {
        eni: "eni-a".into(),
        subnet: "subnet-a".into(),
        count: 1,
    };
    assert_eq!(actions(&view), [assign]);
}

#[test]
fn an_address_is_let_go_of_only_after_its_agent_did_and_its_pod_is_gone() {
    use ClaimPhase::{Assigned, Releasing, Retained};
    let mut view = claimed(vec![attached("a", 10, 1)], &[(11, Assigned, "node-1", true)]);
    settle(&mut view);
    withdraw(&mut view, 11);
    assert_eq!(actions(&view), [], "the pod's next sandbox takes it back");

    hold(&mut view, &[(11, Assigned, "node-1", false)]);
    settle(&mut view);
    let eni = &pool(&view).enis[0];
    assert_eq!((ips(&eni.attached), ips(&eni.releasing)), (vec![], vec![ip(11)]));
    assert_eq!(actions(&view), [], "what becomes of it is the claim's to say");

    let mut kept = view.clone();
    hold(&mut kept, &[(11, Retained, "node-1", false)]);
    settle(&mut kept);
    let eni = &pool(&kept).enis[0];
    assert_eq!(
        (eni.names(ip(11)), actions(&kept)),
        (false, vec![]),
        "it stays where it is"
    );

    hold(&mut view, &[(11, Releasing, "node-1", false)]);
    let unassign = Action::Unassign {
        eni: "eni-a".into(),
        addresses: vec![ip(11)],
    };
    assert_eq!(actions(&view), [unassign]);
}

#[test]
fn the_next_pod_on_the_node_has_the_address_in_a_stay_of_its_own() {
    use ClaimPhase::Assigned;
    let mut view = claimed(vec![attached("a", 10, 1)], &[(11, Assigned, "node-1", true)]);
    settle(&mut view);
    let first = pool(&view).enis[0].attached[0];
    withdraw(&mut view, 11);
    hold(&mut view, &[(11, Assigned, "node-1", false)]);
    settle(&mut view);
    hold(&mut view, &[(11, Assigned, "node-1", true)]);
    let mut bits = 100;
    let planned = plan(&view, &mut || {
        bits += 1;
        bits
    });
    let [Action::Publish(pool)] = &planned.actions[..] else {
        panic!("{planned:?}");
    };
    let [again] = pool.enis[0].attached[..] else {
        panic!("{pool:?}")
    };
    assert_eq!(again.ip, first.ip);
    assert_ne!(again.generation, first.generation);
    assert_eq!(pool.enis[0].releasing, []);
}

#[test]
fn an_address_comes_by_name_or_from_where_it_is_to_an_eni_of_its_subnet() {
    let mut view = claimed(vec![attached("a", 10, 0)], &[]);
    settle(&mut view);
    need(&mut view, ClaimNeed::This(ip(50), Some("subnet-a".into())));
    let exactly = Action::AssignExactly {
        eni: "eni-a".into(),
        subnet: "subnet-a".into(),
        addresses: vec![ip(50)],
    };
    assert_eq!(actions(&view), [exactly]);

    let claims = view.claims.as_mut().unwrap();
    claims.needs = vec![ClaimNeed::From("eni-z".into(), ip(51))];
    let migrate = Action::Migrate {
        from: "eni-z".into(),
        to: "eni-a".into(),
        address: ip(51),
    };
    assert_eq!(actions(&view), [migrate]);

    let claims = view.claims.as_mut().unwrap();
    claims.needs = vec![ClaimNeed::This(ip(52), Some("subnet-b".into()))];
    let another = Action::Plan {
        subnet: "subnet-b".into(),
        secondary: 0,
    };
    assert_eq!(actions(&view), [another]);
}

#[test]
fn a_living_pod_goes_before_what_is_kept_for_none() {
    use ClaimPhase::{Assigned, Retained};
    let claims = [(11, Assigned, "node-1", true), (12, Retained, "node-1", false)];
    let mut view = claimed(vec![attached("a", 10, 2)], &claims);
    view.limits = Limits {
        enis: 2,
        addresses_per_eni: 3,
    };
    settle(&mut view);
    need(&mut view, ClaimNeed::Any(SubnetChoice::any()));
    settle(&mut view);
    assert_eq!(pool(&view).enis[0].evicting, [ip(12)]);
    let claims = view.claims.as_mut().unwrap();
    claims.needs.clear();
    settle(&mut view);
    assert_eq!(
        pool(&view).enis[0].evicting,
        [ip(12)],
        "what was begun is not given out again"
    );
}

#[test]
fn an_eni_of_a_gone_instance_is_kept_detached_for_the_addresses_on_it() {
    let mut view = claimed(vec![attached("a", 10, 1)], &[]);
    settle(&mut view);
    view.enis[0].0.intent = Intent::Deleted;
    known(&mut view, 0).eni.state = EniState::Available;
    let remains = |claims: &[(u8, ClaimPhase, &str, bool)]| {
        let mut view = view.clone();
        hold(&mut view, claims);
        Remains {
            node: view.node.name.clone(),
            config: None,
            enis: view.enis,
            gone: [ME.into()].into(),
            claims: view.claims,
        }
    };
    assert_eq!(
        depart(&remains(&[(11, ClaimPhase::Retained, "node-1", false)])).actions,
        []
    );
    let delete = Action::Delete("eni-a".into());
    assert_eq!(depart(&remains(&[])).actions, [delete]);
}
