//! Room on nodes: what each was granted, and who takes it. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::{BEST, INSUFFICIENT, LIMIT, Misfit, Predicate};
use crate::model::{NodeConfig, NodeName, Pod, SubnetId, Uid};

/// How long a binding is held for true although nothing is heard of it: a watch tells sooner, and no list is older.
const UNKNOWN: Duration = Duration::from_secs(60);

/// Room on all nodes.
///
/// The grant in a node's `NodeENIConfig` is the only ledger of what may be promised: its sum over all nodes never
/// exceeds what the subnets have. A node's room is that, without the pods that are bound to it and those whose binding
/// is under way. Looking is a look-up, whatever the number of pods.
#[derive(Debug, Default)]
pub struct Rooms {
    nodes: HashMap<NodeName, Held>,
    /// Where each pod takes room.
    pods: HashMap<Uid, Taking>,
}

/// What a node may promise, as its `NodeENIConfig` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Addresses that it can attain, those attached included.
    pub granted: u32,
    /// Pods that its ENIs can carry.
    pub capacity: u32,
    /// Addresses that it has.
    pub attached: u32,
    /// The subnets of its ENIs.
    pub subnets: Vec<SubnetId>,
}

#[derive(Debug, Default)]
struct Held {
    /// None: there is no `NodeENIConfig` of it.
    room: Option<Room>,
    used: u32,
}

#[derive(Debug)]
struct Taking {
    node: NodeName,
    /// When its binding began, if that was here.
    began: Option<Instant>,
    /// The pod itself showed it.
    shown: bool,
}

impl Taking {
    fn is_recent(&self, now: Instant) -> bool {
        self.began.is_some_and(|began| now < began + UNKNOWN)
    }
}

impl From<&NodeConfig> for Room {
    fn from(config: &NodeConfig) -> Self {
        let pool = &config.pool;
        let subnets: BTreeSet<&SubnetId> = pool.enis.iter().map(|eni| &eni.subnet).collect();
        Self {
            granted: pool.granted,
            capacity: pool.capacity,
            attached: u32::try_from(pool.attached()).unwrap_or(u32::MAX),
            subnets: subnets.into_iter().cloned().collect(),
        }
    }
}

impl Rooms {
    /// A node's room is this, or it is not known any more.
    pub fn set_node(&mut self, node: &NodeName, room: Option<Room>) {
        let held = self.nodes.entry(node.clone()).or_default();
        held.room = room;
        if held.room.is_none() && held.used == 0 {
            self.nodes.remove(node);
        }
    }

    /// All nodes that are known.
    pub fn set_nodes(&mut self, rooms: BTreeMap<NodeName, Room>) {
        for held in self.nodes.values_mut() {
            held.room = None;
        }
        for (node, room) in rooms {
            self.nodes.entry(node).or_default().room = Some(room);
        }
        self.nodes.retain(|_, held| held.room.is_some() || held.used > 0);
    }

    /// A pod as the cluster shows it. A binding that is under way stays so until the pod shows it.
    pub fn set_pod(&mut self, pod: &Pod) {
        match &pod.node {
            Some(node) if pod.needs_address() => self.take(&pod.uid, node).shown = true,
            Some(_) => self.release(&pod.uid),
            None => {}
        }
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, uid: &Uid) {
        self.release(uid);
    }

    /// All pods that existed at some time in the last minute: a list may be older than a binding.
    pub fn set_pods<'a>(&mut self, pods: impl Iterator<Item = &'a Pod> + Clone, now: Instant) {
        let known: BTreeSet<&Uid> = pods.clone().map(|pod| &pod.uid).collect();
        self.release_if(|uid, taking| !known.contains(uid) && !taking.is_recent(now));
        for pod in pods {
            self.set_pod(pod);
        }
    }

    /// All pods as they are now. Of those bound by another process a list that comes later may still be older.
    pub fn confirm_pods<'a>(&mut self, pods: impl Iterator<Item = &'a Pod> + Clone, now: Instant) {
        self.set_pods(pods.clone(), now);
        for pod in pods {
            if let Some(taking) = self.pods.get_mut(&pod.uid) {
                taking.began = Some(now);
            }
        }
    }

    /// Takes room for a pod whose binding begins. One that was begun to another node ends with this.
    ///
    /// # Errors
    ///
    /// Why the node does not fit; nothing is taken then.
    pub fn begin(&mut self, uid: &Uid, node: &NodeName, now: Instant) -> Result<(), Misfit> {
        self.fits_after(uid, node, 0)?;
        self.take(uid, node).began = Some(now);
        Ok(())
    }

    /// A binding did not come about. One whose outcome is unknown is not ended: the pod will show it.
    pub fn fail(&mut self, uid: &Uid, node: &NodeName) {
        let under_way = |taking: &Taking| !taking.shown && taking.node == *node;
        if self.pods.get(uid).is_some_and(under_way) {
            self.release(uid);
        }
    }

    /// Forgets bindings of which nothing was heard in time.
    pub fn expire(&mut self, now: Instant) {
        self.release_if(|uid, taking| {
            let late = !taking.shown && !taking.is_recent(now);
            if late {
                tracing::warn!(%uid, node = %taking.node, "nothing was heard of a binding; its room is free again");
            }
            late
        });
    }

    /// Nodes that are known, pods that take room, and how many of these are being bound.
    pub fn counts(&self) -> [usize; 3] {
        let known = self.nodes.values().filter(|held| held.room.is_some()).count();
        let under_way = self.pods.values().filter(|taking| !taking.shown).count();
        [known, self.pods.len(), under_way]
    }

    /// Whether a pod takes room on a node.
    pub fn is_on(&self, uid: &Uid, node: &NodeName) -> bool {
        self.pods.get(uid).is_some_and(|taking| taking.node == *node)
    }

    /// Whether a pod fits a node once `freed` pods have left it.
    pub fn fits_after(&self, uid: &Uid, node: &NodeName, freed: u32) -> Result<(), Misfit> {
        let held = self.nodes.get(node);
        let (Some(room), used) = (
            held.and_then(|held| held.room.as_ref()),
            held.map_or(0, |held| held.used),
        ) else {
            return Err(Misfit {
                reason: INSUFFICIENT,
                detail: "no NodeENIConfig".to_owned(),
                preemption_helps: false,
            });
        };
        let own = u32::from(self.is_on(uid, node));
        let used = used.saturating_sub(own);
        if used.saturating_sub(freed) < room.granted.min(room.capacity) {
            return Ok(());
        }
        let subnets: Vec<&str> = room.subnets.iter().map(SubnetId::as_str).collect();
        let reason = match used >= room.capacity {
            true => LIMIT,
            false => INSUFFICIENT,
        };
        Err(Misfit {
            reason,
            // Alike on all nodes of the same subnets: a scheduler counts nodes by their words.
            detail: subnets.join(","),
            preemption_helps: room.granted.min(room.capacity) > 0,
        })
    }

    fn take(&mut self, uid: &Uid, node: &NodeName) -> &mut Taking {
        if self.pods.get(uid).is_some_and(|taking| taking.node != *node) {
            self.release(uid);
        }
        self.pods.entry(uid.clone()).or_insert_with(|| {
            self.nodes.entry(node.clone()).or_default().used += 1;
            Taking {
                node: node.clone(),
                began: None,
                shown: false,
            }
        })
    }

    fn release_if(&mut self, wanted: impl Fn(&Uid, &Taking) -> bool) {
        let pods = self.pods.iter().filter(|(uid, taking)| wanted(uid, taking));
        let pods: Vec<Uid> = pods.map(|(uid, _)| uid.clone()).collect();
        for uid in pods {
            self.release(&uid);
        }
    }

    fn release(&mut self, uid: &Uid) {
        let Some(taking) = self.pods.remove(uid) else {
            return;
        };
        if let Some(held) = self.nodes.get_mut(&taking.node) {
            held.used -= 1;
            if held.room.is_none() && held.used == 0 {
                self.nodes.remove(&taking.node);
            }
        }
    }
}

impl Predicate for Rooms {
    fn filter(&self, pod: &Pod, node: &NodeName) -> Result<(), Misfit> {
        self.fits_after(&pod.uid, node, 0)
    }

    /// Idle addresses that are there, so that the pod waits for none.
    fn score(&self, _: &Pod, node: &NodeName) -> u8 {
        let held = self.nodes.get(node);
        let idle = held.and_then(|held| Some(held.room.as_ref()?.attached.saturating_sub(held.used)));
        u8::try_from(idle.unwrap_or_default()).unwrap_or(BEST).min(BEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{PodKey, PodPhase};

    fn room(granted: u32, capacity: u32, attached: u32) -> Room {
        Room {
            granted,
            capacity,
            attached,
            subnets: vec!["subnet-a".into()],
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
        rooms.remove_pod(&"one".into());
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
        assert_eq!(rooms.counts(), [1, 1, 0]);
        rooms.remove_pod(&"theirs".into());
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
                    Step::Gone(pod) => rooms.remove_pod(&uid(pod)),
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
}
