//! Thousands of random lives of a node under listings that lag and lie: what a pod uses stays.

use super::*;
use crate::{
    controller::{Action, EniView, NodeView, plan},
    model::*,
};

/// Peers lost ENIs of live pods to one stale reading; here a thousand random lives may lose none.
const LIVES: u64 = 1000;
const STEPS: u32 = 60;
const LIMITS: Limits = Limits {
    enis: 3,
    addresses_per_eni: 6,
};

/// One node with its cloud, in which nothing happens that we did not order.
struct Life {
    rng: fastrand::Rng,
    now: Instant,
    /// The ENIs as they are, and as they were at each change.
    truth: BTreeMap<EniId, Eni>,
    history: Vec<(Instant, BTreeMap<EniId, Eni>)>,
    /// When the wrong listings of the present bout began; the first listing a lag later is right.
    bout: Option<Instant>,
    seen: BTreeMap<EniId, Seen>,
    view: NodeView,
    /// What pods use.
    owned: BTreeSet<PoolAddress>,
    addresses: u8,
    generations: u64,
    removals: u32,
}

impl Life {
    /// A node with two ENIs of five addresses each, all of them published.
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut life = Self {
            rng: fastrand::Rng::with_seed(seed),
            now,
            truth: BTreeMap::new(),
            history: Vec::new(),
            bout: None,
            seen: BTreeMap::new(),
            view: view(),
            owned: BTreeSet::new(),
            addresses: 100,
            generations: 0,
            removals: 0,
        };
        for (n, first) in [(0u8, 10), (1, 20)] {
            let pods: Vec<u8> = (first..first + 5).collect();
            let mut eni = eni(&pods);
            (eni.id, eni.name) = (format!("eni-{n}").into(), format!("{n}"));
            eni.addresses[0].ip = ip(1 + n);
            let record = EniRecord {
                name: eni.name.clone(),
                token: String::new(),
                node: "node-1".into(),
                instance: "ins-1".into(),
                subnet: "subnet-a".into(),
                secondary: 5,
                intent: Intent::Attached,
                id: Some(eni.id.clone()),
            };
            life.view.enis.push((record, EniView::Unknown));
            life.seen.insert(eni.id.clone(), Seen::unknown(now));
            life.truth.insert(eni.id.clone(), eni);
        }
        life.history.push((now, life.truth.clone()));
        life
    }

    /// What a listing that begins now shows: what was a while ago, or, for a while, something wrong.
    fn list(&mut self) -> BTreeMap<EniId, Eni> {
        if self.bout.is_some_and(|begun| self.now - begun >= LAG) {
            self.bout = None;
            return self.truth.clone();
        }
        let lag = Duration::from_millis(self.rng.u64(0..25_000));
        let then = self.now.checked_sub(lag).unwrap_or(self.now);
        let known = self.history.iter().rev().find(|(at, _)| *at <= then);
        let mut listed = known.unwrap_or(&self.history[0]).1.clone();
        if self.rng.u8(0..4) == 0 {
            self.bout.get_or_insert(self.now);
            self.spoil(&mut listed);
        }
        listed
    }

    fn spoil(&mut self, listed: &mut BTreeMap<EniId, Eni>) {
        match self.rng.u8(0..4) {
            0 => listed.clear(),
            1 => drop(listed.pop_last()),
            2 => listed.values_mut().for_each(|eni| {
                (eni.state, eni.instance) = (EniState::Available, None);
            }),
            // As many as before, and one of them another.
            _ => listed.values_mut().for_each(|eni| {
                if let Some(last) = eni.addresses.last_mut().filter(|last| !last.primary) {
                    last.ip = ip(250);
                    last.ready = false;
                }
            }),
        }
    }

    fn read(&mut self) {
        let mut listed = self.list();
        for (id, seen) in &mut self.seen {
            seen.learn(listed.remove(id), self.now);
        }
        let published = self
            .view
            .config
            .as_ref()
            .map_or(&[][..], |config| &config.pool.enis);
        for (record, view) in &mut self.view.enis {
            let seen = &self.seen[record.id.as_ref().unwrap()];
            *view = seen.view(published);
        }
    }

    /// Pods come and go, and the agent offers back what is idle.
    fn agent(&mut self) {
        let config = self.view.config.as_mut().unwrap();
        let attached: Vec<_> = config.pool.enis.iter().flat_map(|eni| &eni.attached).collect();
        config.agent.withdrawn.retain(|entry| attached.contains(&entry));
        for entry in attached {
            let fenced = config.agent.withdrawn.contains(entry);
            match self.rng.u8(0..20) {
                0 | 1 if !fenced => drop(self.owned.insert(*entry)),
                2 => drop(self.owned.remove(entry)),
                3 | 4 if !fenced && !self.owned.contains(entry) => config.agent.withdrawn.push(*entry),
                _ => {}
            }
        }
        let spare = self.rng.u32(0..3);
        self.view.demand = u32::try_from(self.owned.len()).unwrap() + spare;
    }

    /// Plans, checks the plan against what pods use, and carries it out.
    fn act(&mut self) {
        let mut generations = self.generations;
        let planned = plan(&self.view, &mut || {
            generations += 1;
            generations
        });
        self.generations = generations;
        for action in planned.actions {
            self.check(&action);
            self.execute(action);
        }
        self.history.push((self.now, self.truth.clone()));
    }

    fn check(&self, action: &Action) {
        let owned = |ip: &IpAddr| self.owned.iter().any(|entry| entry.ip == *ip);
        match action {
            Action::Detach(eni) | Action::Delete(eni) => {
                let on_it = &self.truth[eni].addresses;
                assert!(!on_it.iter().any(|address| owned(&address.ip)), "{action:?}");
            }
            Action::Unassign { addresses, .. } => assert!(!addresses.iter().any(owned), "{action:?}"),
            Action::Forget(record) => panic!("{record:?} is forgotten, and its ENI is there"),
            Action::Publish(pool) => {
                let attached: BTreeSet<_> = pool.enis.iter().flat_map(|eni| &eni.attached).collect();
                let lost: Vec<_> = self
                    .owned
                    .iter()
                    .filter(|entry| !attached.contains(entry))
                    .collect();
                assert!(lost.is_empty(), "{lost:?} is published no more");
            }
            _ => {}
        }
    }

    fn execute(&mut self, action: Action) {
        if let Some(id) = action.eni() {
            self.seen.get_mut(id).unwrap().touch(self.now);
        }
        match action {
            Action::Publish(pool) => self.view.config.as_mut().unwrap().pool = pool,
            Action::Retire(retired) => {
                let mut records = self.view.enis.iter_mut().map(|(record, _)| record);
                let record = records.find(|record| record.name == retired.name).unwrap();
                record.intent = Intent::Deleted;
            }
            Action::Attach(id) => self.order(&id, EniState::Attaching, EniState::InUse),
            Action::Detach(id) => {
                self.removals += 1;
                self.order(&id, EniState::Detaching, EniState::Available);
            }
            Action::Unassign { eni, addresses } => {
                self.removals += 1;
                let on_it = &mut self.truth.get_mut(&eni).unwrap().addresses;
                on_it.retain(|address| !addresses.contains(&address.ip));
                self.seen.get_mut(&eni).unwrap().unassigned(&addresses, self.now);
            }
            Action::Assign { eni, count, .. } => {
                let ips: Vec<_> = (0..count).map(|n| ip(self.addresses + n as u8)).collect();
                self.addresses = (self.addresses + count as u8) % 100 + 100;
                let on_it = &mut self.truth.get_mut(&eni).unwrap().addresses;
                on_it.extend(ips.iter().map(|ip| EniAddress {
                    ready: true,
                    ..unready(*ip)
                }));
                self.seen.get_mut(&eni).unwrap().assigned(&ips, self.now);
            }
            // The ENI stays for the next steps; what would come of its place is no matter here.
            _ => {}
        }
    }

    fn order(&mut self, id: &EniId, seen: EniState, then: EniState) {
        let eni = self.truth.get_mut(id).unwrap();
        eni.state = then;
        eni.instance = (then == EniState::InUse).then(|| "ins-1".into());
        self.seen.get_mut(id).unwrap().ordered(seen);
    }
}

fn view() -> NodeView {
    let spec = NodeSpec {
        instance: "ins-1".into(),
        node_uid: "uid-1".into(),
        zone: "zone-1".into(),
        warm: None,
        limits: None,
    };
    NodeView {
        node: Node {
            name: "node-1".into(),
            uid: "uid-1".into(),
            instance: Some("ins-1".into()),
            zone: Some("zone-1".into()),
            max_pods: None,
            silent: None,
        },
        config: Some(NodeConfig {
            name: "node-1".into(),
            spec,
            pool: NodePool::default(),
            agent: AgentReport::default(),
        }),
        demand: 0,
        enis: vec![],
        limits: LIMITS,
        subnets: vec![Subnet {
            id: "subnet-a".into(),
            vpc: "vpc-1".into(),
            zone: "zone-1".into(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: ip(254),
            free: 100,
        }],
        warm: WarmRange { min: 0, max: 2 },
        gone: BTreeSet::new(),
        granted: None,
        claims: None,
    }
}

#[test]
fn no_listing_costs_a_pod_its_address_or_its_eni_in_a_thousand_lives() {
    let (mut owners, mut removals) = (0, 0);
    for seed in 0..LIVES {
        let mut life = Life::new(seed);
        for _ in 0..STEPS {
            life.now += Duration::from_millis(life.rng.u64(500..15_000));
            life.read();
            life.act();
            life.agent();
        }
        owners += life.owned.len();
        removals += life.removals;
    }
    assert!(
        owners > 1000 && removals > 1000,
        "{owners} owners, {removals} removals"
    );
}
