//! Grants: shares of subnets that can all be attained at once, that move only when somebody needs it, and only
//! after nobody counts on them any more.

use std::{collections::BTreeMap, time::Duration};

use eni_core::{
    model::{NodeName, SubnetId, Zone},
    policy::{Claimant, Deal, GrantPolicy, Ledger, Stock, deal},
};
use proptest::prelude::*;
use tokio::time::Instant;

const PER_ENI: u32 = 9;
const SLOTS: usize = 3;
const SECOND: Duration = Duration::from_secs(1);

/// Nodes that follow their grants when told to, a scheduler that lags, and subnets that others use too.
struct World {
    policy: GrantPolicy,
    free: BTreeMap<SubnetId, (Zone, u32)>,
    nodes: BTreeMap<NodeName, Node>,
    ledger: Ledger,
    now: Instant,
}

#[derive(Debug)]
struct Node {
    zone: Zone,
    enis: Vec<(SubnetId, u32)>,
    ceiling: u32,
    scheduled: u32,
    granted: u32,
    advertised: u32,
    /// What a lagging scheduler still believes, and until when.
    believed: (u32, Instant),
}

#[derive(Clone, Debug)]
enum Step {
    Deal,
    Follow(usize),
    Schedule(usize, u32),
    Finish(usize, u32),
    Bind(usize, u32),
    Unbind(usize, u32),
    OthersTake(usize, u32),
    OthersGive(usize, u32),
    Wait(u64),
}

impl World {
    fn new(subnets: &[(&str, u32)], nodes: usize, ceiling: u32) -> Self {
        let now = Instant::now();
        let free = subnets
            .iter()
            .enumerate()
            .map(|(n, (zone, free))| (format!("subnet-{n}").into(), ((*zone).into(), *free)))
            .collect::<BTreeMap<SubnetId, (Zone, u32)>>();
        let zones: Vec<_> = free.values().map(|(zone, _)| zone.clone()).collect();
        let node = |n: usize| Node {
            zone: zones[n % zones.len()].clone(),
            enis: Vec::new(),
            ceiling,
            scheduled: 0,
            granted: 0,
            advertised: 0,
            believed: (0, now),
        };
        let policy = GrantPolicy::default();
        Self {
            ledger: Ledger::new(now, policy.pause),
            policy,
            free,
            nodes: (0..nodes)
                .map(|n| (format!("node-{n:04}").into(), node(n)))
                .collect(),
            now: now + policy.pause,
        }
    }

    fn node(&mut self, n: usize) -> &mut Node {
        let n = n % self.nodes.len();
        self.nodes.values_mut().nth(n).unwrap()
    }

    fn claimants(&mut self) -> BTreeMap<NodeName, Claimant> {
        let claimant = |(name, node): (&NodeName, &Node)| {
            let used = node.granted.max(node.advertised).max(node.scheduled);
            let claimant = Claimant {
                zone: node.zone.clone(),
                enis: node.enis.clone(),
                slots: (SLOTS - node.enis.len()) as u32,
                per_eni: PER_ENI,
                ceiling: node.ceiling,
                scheduled: node.scheduled,
                granted: node.granted,
                committed: self.ledger.enter(self.now, name, used),
                frozen: false,
            };
            (name.clone(), claimant)
        };
        self.nodes.iter().map(claimant).collect()
    }

    fn stock(&self) -> Stock {
        Stock {
            subnets: self.free.clone(),
            enis: None,
        }
    }

    /// Deals and publishes; how many grants changed.
    fn deal(&mut self) -> (usize, Deal) {
        let nodes = self.claimants();
        let deal = deal(&self.stock(), &nodes, &self.policy, self.ledger.is_calm(self.now));
        let mut changed = 0;
        for (name, share) in &deal.shares {
            let node = self.nodes.get_mut(name).unwrap();
            changed += usize::from(node.granted != share.granted);
            node.granted = share.granted;
        }
        (changed, deal)
    }

    /// Deals, lets agents follow and time pass, until nothing changes.
    fn settle(&mut self) {
        for _ in 0..30 {
            let (changed, _) = self.deal();
            self.nodes
                .values_mut()
                .for_each(|node| node.advertised = node.granted);
            self.now += self.policy.pause + SECOND;
            if changed == 0 && self.deal().0 == 0 {
                return;
            }
        }
        panic!("grants do not come to rest: {:?}", self.nodes);
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Deal => drop(self.deal()),
            Step::Wait(seconds) => self.now += Duration::from_secs(seconds),
            Step::Follow(n) => {
                let node = self.node(n);
                let still = if node.believed.1 > now { node.believed.0 } else { 0 };
                // One second short of the pause.
                node.believed = (node.advertised.max(still), now + 4 * SECOND);
                node.advertised = node.granted;
            }
            Step::Schedule(n, pods) => {
                let node = self.node(n);
                let still = if node.believed.1 > now { node.believed.0 } else { 0 };
                let most = node.advertised.max(still);
                node.scheduled = node.scheduled.max(most.min(node.scheduled + pods));
            }
            Step::Finish(n, pods) => {
                let node = self.node(n);
                node.scheduled = node.scheduled.saturating_sub(pods);
            }
            Step::Bind(n, count) => self.bind(n, count),
            Step::Unbind(n, count) => {
                let node = self.node(n);
                let idle: u32 = node
                    .enis
                    .iter()
                    .map(|(_, bound)| *bound)
                    .sum::<u32>()
                    .saturating_sub(node.scheduled);
                let Some((subnet, bound)) = node.enis.last_mut() else {
                    return;
                };
                let count = count.min(*bound).min(idle);
                *bound -= count;
                let subnet = subnet.clone();
                self.free.get_mut(&subnet).unwrap().1 += count;
            }
            Step::OthersTake(n, count) => {
                let n = n % self.free.len();
                let free = &mut self.free.values_mut().nth(n).unwrap().1;
                *free = free.saturating_sub(count);
            }
            Step::OthersGive(n, count) => {
                let n = n % self.free.len();
                self.free.values_mut().nth(n).unwrap().1 += count;
            }
        }
    }

    /// Binds as a node does: within its grant, on what it has first, then on ENIs in the roomiest subnet.
    fn bind(&mut self, n: usize, count: u32) {
        let n = n % self.nodes.len();
        let node = self.nodes.values_mut().nth(n).unwrap();
        let bound: u32 = node.enis.iter().map(|(_, bound)| *bound).sum();
        let mut wanted = count.min(
            node.granted
                .max(node.scheduled)
                .min(node.ceiling)
                .saturating_sub(bound),
        );
        for (subnet, bound) in &mut node.enis {
            let free = &mut self.free.get_mut(subnet).unwrap().1;
            let more = wanted.min(PER_ENI - *bound).min(*free);
            (*bound, *free, wanted) = (*bound + more, *free - more, wanted - more);
        }
        while wanted > 0 && node.enis.len() < SLOTS {
            let here = self
                .free
                .iter_mut()
                .filter(|(_, (zone, free))| *zone == node.zone && *free >= 2);
            let Some((subnet, (_, free))) = here.max_by_key(|(_, (_, free))| *free) else {
                return;
            };
            let more = wanted.min(PER_ENI).min(*free - 1);
            (*free, wanted) = (*free - more - 1, wanted - more);
            node.enis.push((subnet.clone(), more));
        }
    }

    /// Per zone: what nodes are counted on to use, and what there is for them.
    fn books(&mut self) -> BTreeMap<Zone, (u32, u32)> {
        let mut books: BTreeMap<Zone, (u32, u32)> = BTreeMap::new();
        for claimant in self.claimants().into_values() {
            let book = books.entry(claimant.zone).or_default();
            book.0 += claimant.committed;
            book.1 += claimant.enis.iter().map(|(_, bound)| bound).sum::<u32>();
        }
        for (zone, free) in self.free.values() {
            books.entry(zone.clone()).or_default().1 += free;
        }
        books
    }

    /// Every plan can be carried out, all at once, and backs its grant.
    fn check_plans(&self, before: &BTreeMap<NodeName, Claimant>, free: &Stock, deal: &Deal) {
        let mut drawn: BTreeMap<&SubnetId, u32> = BTreeMap::new();
        for (name, share) in &deal.shares {
            let node = &before[name];
            let mut total = 0;
            for ((subnet, bound), more) in node.enis.iter().zip(&share.more) {
                assert!(bound + more <= PER_ENI, "{name}: {share:?}");
                *drawn.entry(subnet).or_default() += more;
                total += bound + more;
            }
            for (subnet, count) in &share.new {
                assert!((1..=PER_ENI).contains(count), "{name}: {share:?}");
                assert_eq!(free.subnets[subnet].0, node.zone, "{name}: {share:?}");
                *drawn.entry(subnet).or_default() += count + 1;
                total += count;
            }
            assert!(share.new.len() <= node.slots as usize, "{name}: {share:?}");
            assert!(
                share.granted >= node.scheduled,
                "{name}: below the scheduled pods"
            );
            assert!(
                share.granted <= total.max(node.scheduled),
                "{name}: {share:?} is not backed"
            );
            assert!(
                share.granted <= node.ceiling.max(node.scheduled),
                "{name}: {share:?}"
            );
        }
        for (subnet, drawn) in drawn {
            assert!(drawn <= free.subnets[subnet].1, "{subnet}: {drawn} drawn");
        }
    }

    /// A deal with all that must hold of it.
    fn checked_deal(&mut self) -> Deal {
        let (before, stock, books) = (self.claimants(), self.stock(), self.books());
        let (_, deal) = self.deal();
        self.check_plans(&before, &stock, &deal);
        for (zone, (after, room)) in self.books() {
            let (counted, _) = books[&zone];
            assert!(
                after <= counted.max(room),
                "{zone}: {after} counted on, {room} there"
            );
        }
        deal
    }
}

fn step(foreign: bool) -> impl Strategy<Value = Step> {
    let node = 0..8usize;
    let count = 1..12u32;
    let others = if foreign { 1 } else { 0 };
    prop_oneof![
        6 => Just(Step::Deal),
        6 => node.clone().prop_map(Step::Follow),
        4 => (node.clone(), count.clone()).prop_map(|(n, k)| Step::Schedule(n, k)),
        3 => (node.clone(), count.clone()).prop_map(|(n, k)| Step::Finish(n, k)),
        3 => (node.clone(), count.clone()).prop_map(|(n, k)| Step::Bind(n, k)),
        2 => (node.clone(), count.clone()).prop_map(|(n, k)| Step::Unbind(n, k)),
        others => (node.clone(), count.clone()).prop_map(|(n, k)| Step::OthersTake(n, k)),
        others => (node, count).prop_map(|(n, k)| Step::OthersGive(n, k)),
        4 => (1..7u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_grants_are_attainable_and_their_sum_stays_within_the_room(
        free in prop::collection::vec(0..90u32, 1..4),
        zones in 1..3usize,
        nodes in 1..8usize,
        steps in prop::collection::vec(step(true), 1..80),
    ) {
        let names = ["zone-1", "zone-2"];
        let subnets: Vec<_> = free.iter().enumerate().map(|(n, free)| (names[n % zones], *free)).collect();
        let mut world = World::new(&subnets, nodes, 27);
        for step in &steps {
            match step {
                Step::Deal => drop(world.checked_deal()),
                step => world.step(step),
            }
        }
        world.checked_deal();
    }

    #[test]
    fn no_scheduled_pod_lacks_an_address_though_the_scheduler_lags(
        free in 0..150u32,
        nodes in 1..8usize,
        steps in prop::collection::vec(step(false), 1..120),
    ) {
        let mut world = World::new(&[("zone-1", free)], nodes, 27);
        for step in &steps {
            world.step(step);
            let (nodes, stock) = (world.claimants(), world.stock());
            let backed = deal(&stock, &nodes, &world.policy, true);
            for (name, share) in &backed.shares {
                let bound: u32 = nodes[name].enis.iter().map(|(_, bound)| bound).sum();
                let planned: u32 = share.more.iter().sum::<u32>() + share.new.iter().map(|(_, count)| count).sum::<u32>();
                prop_assert!(bound + planned >= nodes[name].scheduled, "{name} after {step:?}: {:?}", world.nodes);
            }
        }
    }

    #[test]
    fn grants_come_to_rest_and_then_nothing_is_written(
        free in prop::collection::vec(0..90u32, 1..4),
        nodes in 1..8usize,
        steps in prop::collection::vec(step(true), 1..40),
    ) {
        let subnets: Vec<_> = free.iter().map(|free| ("zone-1", *free)).collect();
        let mut world = World::new(&subnets, nodes, 27);
        steps.iter().for_each(|step| world.step(step));
        world.settle();
    }
}

#[test]
fn with_room_for_all_everybody_gets_what_it_can_use() {
    let mut world = World::new(&[("zone-1", 1000)], 5, 20);
    world.checked_deal();
    assert!(
        world.nodes.values().all(|node| node.granted == 20),
        "{:?}",
        world.nodes
    );
}

#[test]
fn what_there_is_is_shared_evenly() {
    let mut world = World::new(&[("zone-1", 44)], 4, 27);
    world.checked_deal();
    assert!(
        world.nodes.values().all(|node| node.granted >= 9),
        "{:?}",
        world.nodes
    );
    let sum: u32 = world.nodes.values().map(|node| node.granted).sum();
    assert!(sum >= 36, "44 less the ENIs' own addresses: {:?}", world.nodes);
}

#[test]
fn a_new_node_gets_what_others_have_idle_and_only_after_they_let_go_and_a_pause() {
    let mut world = World::new(&[("zone-1", 58)], 2, 27);
    world.settle();
    let sum = |world: &World| world.nodes.values().map(|node| node.granted).sum::<u32>();
    assert_eq!(sum(&world), 52, "58 less six ENIs' own addresses");
    let (zone, now) = (Zone::from("zone-1"), world.now);
    let new = Node {
        zone,
        enis: vec![],
        ceiling: 27,
        scheduled: 0,
        granted: 0,
        advertised: 0,
        believed: (0, now),
    };
    world.nodes.insert("node-new".into(), new);

    let deal = world.checked_deal();
    assert!(deal.crowded);
    assert!(sum(&world) < 52, "the idle ones give: {:?}", world.nodes);
    let granted = |world: &World| world.nodes[&NodeName::from("node-new")].granted;
    assert_eq!(granted(&world), 0);
    world.now += 60 * SECOND;
    world.checked_deal();
    assert_eq!(granted(&world), 0, "the agents still advertise the old figure");
    world
        .nodes
        .values_mut()
        .for_each(|node| node.advertised = node.granted);
    world.checked_deal();
    world.now += 4 * SECOND;
    world.checked_deal();
    assert_eq!(granted(&world), 0, "the scheduler may still count on it");
    world.now += SECOND;
    world.checked_deal();
    assert!(granted(&world) >= world.policy.reserve - 1, "{:?}", world.nodes);
    world.settle();
}

#[test]
fn scheduled_pods_keep_what_they_need_whatever_others_lack() {
    let mut world = World::new(&[("zone-1", 28)], 1, 27);
    world.settle();
    let advertised = world.node(0).advertised;
    world.step(&Step::Schedule(0, advertised));
    world.step(&Step::Bind(0, advertised));
    let (zone, now) = (Zone::from("zone-1"), world.now);
    let new = Node {
        zone,
        enis: vec![],
        ceiling: 27,
        scheduled: 0,
        granted: 0,
        advertised: 0,
        believed: (0, now),
    };
    world.nodes.insert("node-new".into(), new);
    world.settle();
    assert_eq!(world.node(0).granted, advertised);
}

#[test]
fn a_grant_whose_addresses_others_took_is_lowered() {
    let mut world = World::new(&[("zone-1", 100)], 2, 27);
    world.settle();
    world.step(&Step::OthersTake(0, 90));
    world.checked_deal();
    let sum: u32 = world.nodes.values().map(|node| node.granted).sum();
    assert!(sum <= 9, "ten are left: {:?}", world.nodes);
}

#[test]
fn the_quota_of_enis_bounds_what_is_granted() {
    let mut world = World::new(&[("zone-1", 1000)], 3, 27);
    let nodes = world.claimants();
    let stock = Stock {
        enis: Some(4),
        ..world.stock()
    };
    let deal = deal(&stock, &nodes, &world.policy, false);
    let enis: usize = deal.shares.values().map(|share| share.new.len()).sum();
    assert!(enis <= 4, "{deal:?}");
    assert!(
        deal.shares.values().all(|share| share.granted >= PER_ENI),
        "{deal:?}"
    );
}

#[test]
fn a_node_of_which_too_little_is_known_keeps_what_it_has() {
    let mut world = World::new(&[("zone-1", 12)], 2, 27);
    world.settle();
    let mut nodes = world.claimants();
    let frozen = nodes.values_mut().next().unwrap();
    (frozen.frozen, frozen.slots, frozen.per_eni) = (true, 0, 0);
    let before = frozen.granted;
    let deal = deal(&Stock::default(), &nodes, &world.policy, false);
    assert_eq!(deal.shares.values().next().unwrap().granted, before);
}

#[test]
fn one_deal_writes_no_more_than_it_may() {
    let mut world = World::new(&[("zone-1", 100_000)], 1000, 27);
    assert_eq!(world.deal().0, world.policy.changes);
    world.settle();
    assert!(world.nodes.values().all(|node| node.granted == 27));
}

#[test]
fn right_after_a_start_nothing_is_granted_that_another_may_just_have_lost() {
    let mut world = World::new(&[("zone-1", 100)], 2, 27);
    world.now -= SECOND;
    world.checked_deal();
    assert!(world.nodes.values().all(|node| node.granted == 0));
    world.now += SECOND;
    world.checked_deal();
    assert!(world.nodes.values().all(|node| node.granted > 0));
}

/// A node whose ENIs are in these subnets and carry so much; it has advertised what it is granted.
fn seated(enis: &[(&str, u32)], slots: u32, scheduled: u32, granted: u32) -> Claimant {
    Claimant {
        zone: "zone-1".into(),
        enis: enis
            .iter()
            .map(|(subnet, bound)| ((*subnet).into(), *bound))
            .collect(),
        slots,
        per_eni: PER_ENI,
        ceiling: 2 * PER_ENI,
        scheduled,
        granted,
        committed: granted,
        frozen: false,
    }
}

#[test]
fn nobody_gives_up_what_those_who_lack_some_cannot_use() {
    let stock = Stock {
        subnets: [("dry", 0), ("other", 20)]
            .map(|(subnet, left)| (subnet.into(), ("zone-1".into(), left)))
            .into(),
        enis: None,
    };
    // It has no slot for an ENI in the other subnet: only addresses of the dry one help it.
    let lacking = || ("node-a".into(), seated(&[("dry", 9), ("dry", 3)], 0, 18, 18));
    let granted = |neighbour: Claimant| {
        let nodes = [lacking(), ("node-b".into(), neighbour)].into();
        let shares = deal(&stock, &nodes, &GrantPolicy::default(), false).shares;
        shares[&NodeName::from("node-b")].granted
    };
    let all_used = seated(&[("dry", 9)], 1, 9, 9);
    assert_eq!(
        granted(all_used),
        18,
        "what it gets of the other subnet harms nobody"
    );
    let idle_elsewhere = seated(&[("dry", 9), ("other", 9)], 0, 9, 18);
    assert_eq!(
        granted(idle_elsewhere),
        18,
        "what is idle may be what helps nobody"
    );
    let idle = seated(&[("dry", 9)], 0, 3, 9);
    assert_eq!(granted(idle), 3, "what is idle helps");
}
