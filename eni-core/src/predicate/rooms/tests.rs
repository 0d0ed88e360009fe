//! Room is counted once, whatever is heard in whatever order.

use proptest::prelude::*;

use super::*;
use crate::model::{PodKey, PodPhase};

fn room(granted: u32, capacity: u32, attached: u32) -> Room {
    Room {
        granted,
        capacity,
        attached,
        subnets: vec!["subnet-a".into()],
        zone: None,
    }
}

fn rooms(nodes: &[(&str, Room)]) -> Rooms {
    let mut rooms = Rooms::default();
    rooms.set_nodes(
        nodes
            .iter()
            .map(|(name, room)| ((*name).into(), room.clone()))
            .collect(),
    );
    rooms
}

fn pod(uid: &str, node: Option<&str>) -> Pod {
    Pod {
        key: PodKey::new("default", uid),
        uid: uid.into(),
        node: node.map(NodeName::from),
        host_network: false,
        phase: PodPhase::Running,
        claim: Ok(Default::default()),
        workload: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_full_when_its_grant_is_taken_and_says_of_which_subnet() {
    let mut rooms = rooms(&[("a", room(2, 9, 2))]);
    let node = NodeName::from("a");
    rooms.set_pod(&pod("one", Some("a")));
    rooms.filter(&pod("two", None), &node).unwrap();
    rooms.begin(&"two".into(), &node, Instant::now()).unwrap();
    let misfit = rooms.filter(&pod("three", None), &node).unwrap_err();
    assert_eq!((misfit.reason, misfit.preemption_helps), (INSUFFICIENT, true));
    assert_eq!(misfit.detail, "subnet-a");
    rooms.fits_after(&"three".into(), &node, 1).unwrap();
    // Asked about itself a pod does not stand in its own way.
    rooms.filter(&pod("two", None), &node).unwrap();
    rooms.remove_pod(&pod("one", None));
    rooms.filter(&pod("three", None), &node).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_and_a_node_that_nobody_knows_are_told_apart() {
    let mut rooms = rooms(&[("a", room(5, 1, 0))]);
    rooms.set_pod(&pod("one", Some("a")));
    assert_eq!(
        rooms.filter(&pod("two", None), &"a".into()).unwrap_err().reason,
        LIMIT
    );
    let unknown = rooms.filter(&pod("two", None), &"b".into()).unwrap_err();
    assert!(
        !unknown.preemption_helps && unknown.detail.contains("NodeENIConfig"),
        "{unknown:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_binding_to_another_node_frees_the_first_and_one_that_failed_frees_its_own() {
    let mut rooms = rooms(&[("a", room(1, 9, 0)), ("b", room(1, 9, 0))]);
    let (a, b, now) = (NodeName::from("a"), NodeName::from("b"), Instant::now());
    rooms.begin(&"one".into(), &a, now).unwrap();
    rooms.begin(&"one".into(), &b, now).unwrap();
    rooms.begin(&"two".into(), &a, now).unwrap();
    assert!(rooms.begin(&"three".into(), &b, now).is_err());
    // A late answer of the first binding is not about the second.
    rooms.fail(&"one".into(), &a);
    assert!(rooms.begin(&"three".into(), &b, now).is_err());
    rooms.fail(&"one".into(), &b);
    rooms.begin(&"three".into(), &b, now).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_nothing_is_heard_of_expires_and_one_that_shows_does_not() {
    let mut rooms = rooms(&[("a", room(2, 9, 0))]);
    let (a, now) = (NodeName::from("a"), Instant::now());
    rooms.begin(&"lost".into(), &a, now).unwrap();
    rooms.begin(&"shown".into(), &a, now).unwrap();
    rooms.set_pod(&pod("shown", None));
    rooms.set_pod(&pod("shown", Some("a")));
    rooms.expire(now + UNKNOWN);
    assert_eq!(rooms.counts(), [1, 1, 0]);
    rooms.fail(&"shown".into(), &a);
    assert_eq!(rooms.counts(), [1, 1, 0], "what shows is no binding any more");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_older_than_a_binding_does_not_end_it() {
    let mut rooms = rooms(&[("a", room(3, 9, 0))]);
    let (a, now) = (NodeName::from("a"), Instant::now());
    rooms.set_pod(&pod("old", Some("a")));
    rooms.begin(&"new".into(), &a, now).unwrap();
    rooms.begin(&"shown".into(), &a, now).unwrap();
    rooms.set_pod(&pod("shown", Some("a")));
    rooms.set_pods(std::iter::empty(), now);
    assert_eq!(rooms.counts(), [1, 2, 1]);
    rooms.set_pods(std::iter::empty(), now + UNKNOWN);
    assert_eq!(rooms.counts(), [1, 0, 0]);

    let theirs = [pod("theirs", Some("a"))];
    rooms.confirm_pods(theirs.iter(), now);
    rooms.set_pods(std::iter::empty(), now);
    assert_eq!(rooms.counts(), [1, 1, 1]);
    rooms.remove_pod(&pod("theirs", None));
    assert_eq!(rooms.counts(), [1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn nodes_with_idle_addresses_come_first() {
    let mut rooms = rooms(&[
        ("warm", room(30, 30, 4)),
        ("cold", room(30, 30, 0)),
        ("hot", room(99, 99, 50)),
    ]);
    rooms.set_pod(&pod("one", Some("warm")));
    let score = |node: &str| rooms.score(&pod("two", None), &node.into());
    assert_eq!(
        (score("warm"), score("cold"), score("hot"), score("none")),
        (3, 0, BEST, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_older_than_what_is_known_gives_nobody_more_room() {
    let mut rooms = rooms(&[("a", room(2, 9, 0))]);
    let now = Instant::now();
    rooms.set_pod(&pod("one", Some("a")));
    rooms.set_pod(&pod("gone", Some("a")));
    rooms.remove_pod(&pod("gone", None));
    let listed = [pod("one", Some("a")), pod("gone", Some("a"))];
    rooms.confirm_pods(listed.iter(), now);
    rooms.confirm_nodes([("a".into(), room(5, 9, 0))].into());
    assert!(rooms.filter(&pod("two", None), &"a".into()).is_err());
    rooms.expire(now + UNKNOWN);
    rooms.filter(&pod("two", None), &"a".into()).unwrap();
    assert_eq!(
        rooms.counts(),
        [1, 1, 0],
        "what was deleted before the list came is forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_made_anew_under_its_name_takes_the_formers_room() {
    let mut rooms = rooms(&[("a", room(1, 9, 0)), ("b", room(1, 9, 0))]);
    rooms.set_pod(&pod("one", Some("a")));
    let anew = Pod {
        uid: "another".into(),
        ..pod("one", Some("b"))
    };
    rooms.set_pod(&anew);
    rooms.filter(&pod("two", None), &"a".into()).unwrap();
    assert_eq!(rooms.counts(), [2, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_static_address_keeps_its_pod_in_the_zone_of_its_subnet() {
    let zoned = |subnet: &str, zone: &str| Room {
        subnets: vec![subnet.into()],
        zone: Some(zone.into()),
        ..room(9, 9, 9)
    };
    let other = Room {
        subnets: vec!["subnet-c".into()],
        ..zoned("subnet-a", "zone-1")
    };
    let mut rooms = rooms(&[
        ("a", zoned("subnet-a", "zone-1")),
        ("b", zoned("subnet-b", "zone-2")),
        ("c", other),
    ]);
    let (pod, a, b, c) = (pod("one", None), "a".into(), "b".into(), "c".into());
    let claim = Claim {
        addresses: std::net::IpAddr::from([10, 0, 0, 9]).into(),
        subnet: Some("subnet-a".into()),
        ..Claim::new(pod.key.clone(), "former".into(), Default::default())
    };
    rooms.set_claim(&claim);
    rooms.filter(&pod, &a).unwrap();
    rooms.filter(&pod, &c).unwrap();
    assert_eq!((rooms.score(&pod, &a), rooms.score(&pod, &c)), (BEST, 0));
    let misfit = rooms.filter(&pod, &b).unwrap_err();
    assert!(
        !misfit.preemption_helps && misfit.detail.contains("subnet-a in zone-1"),
        "{misfit:?}"
    );
    rooms.remove_claim(&pod.key);
    rooms.filter(&pod, &b).unwrap();
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u8, u8),
    Fail(u8, u8),
    Show(u8, u8),
    Gone(u8),
    Relist(Vec<(u8, u8)>),
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (pod, node) = (0_u8..12, 0_u8..3);
    let step = prop_oneof![
        (pod.clone(), node.clone()).prop_map(|(pod, node)| Step::Begin(pod, node)),
        (pod.clone(), node.clone()).prop_map(|(pod, node)| Step::Fail(pod, node)),
        (pod.clone(), node.clone()).prop_map(|(pod, node)| Step::Show(pod, node)),
        pod.clone().prop_map(Step::Gone),
        prop::collection::vec((pod, node), 0..4).prop_map(Step::Relist),
        Just(Step::Expire),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Whatever happens in whatever order, the counts are those of the pods, and no promise exceeds a grant.
    #[test]
    fn no_address_is_promised_twice(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let now = runtime.block_on(async { Instant::now() });
        let mut rooms = rooms(&[("0", room(3, 9, 0)), ("1", room(2, 9, 0)), ("2", room(9, 1, 0))]);
        let (uid, name) = (|pod: u8| Uid::from(pod.to_string()), |node: u8| NodeName::from(node.to_string()));
        for step in steps {
            match step {
                Step::Begin(pod, node) => {
                    let taken = |rooms: &Rooms| {
                        rooms.pods.iter().filter(|(held, taking)| taking.node == name(node) && **held != uid(pod)).count()
                    };
                    let before = taken(&rooms);
                    if rooms.begin(&uid(pod), &name(node), now).is_ok() {
                        prop_assert!(before < [3, 2, 1][usize::from(node)]);
                    }
                }
                Step::Fail(pod, node) => rooms.fail(&uid(pod), &name(node)),
                Step::Show(number, node) => rooms.set_pod(&pod(&number.to_string(), Some(&node.to_string()))),
                Step::Gone(number) => rooms.remove_pod(&pod(&number.to_string(), None)),
                Step::Relist(list) => {
                    let list: Vec<Pod> = list.iter().map(|(number, node)| pod(&number.to_string(), Some(&node.to_string()))).collect();
                    rooms.set_pods(list.iter(), now);
                }
                Step::Expire => rooms.expire(now + UNKNOWN),
            }
            for (node, held) in &rooms.nodes {
                let pods = rooms.pods.values().filter(|taking| taking.node == *node).count();
                prop_assert_eq!(held.used as usize, pods);
            }
        }
    }
}
