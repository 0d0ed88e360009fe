//! Three containers, two addresses: ADD, DEL and DEL of each, and the collector, in every order and
//! overlap. A call begins at any time after the one before it began. CHECK, which only reads, is asked in
//! every state.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use eni_core::{
    agent::{Add, Del, NodePods, NodeService, ServiceConfig},
    allocator::AddressRequest,
    cluster::{Version, Versioned, WatchEvent},
    gc::{Collector, NodeCollector},
    journal::{Journal, MemoryJournal},
    model::*,
    network::{NodeNetwork, PodInterface, PodWiring},
    sim::{MemoryNetwork, MemorySandboxes, SimEnvironment},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    explore::{World, explore, settle},
    gates::{Fate, GatedJournal, GatedNetwork, GatedSandboxes, Gates},
};

const CONTAINERS: usize = 3;
const ADDRESSES: u8 = 2;
/// Longer than the cooldown, and than the age at which the collector judges.
const WAIT: Duration = Duration::from_secs(150);
/// So often it may pass.
const WAITS: usize = 1;
const ROUNDS: usize = 1;
/// No ADD gives up before both waits are over.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a container's runtime calls, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Add,
    Del,
    /// The runtime loses the sandbox and never sends a DEL.
    Vanish,
}

const ORDERLY: &[Call] = &[Call::Add, Call::Del, Call::Del];
const LOST: &[Call] = &[Call::Add, Call::Vanish];

#[derive(Clone, Debug)]
enum Step {
    /// The next call of a container begins.
    Begin(usize),
    /// A backend call is carried out.
    Pass(String),
    /// The collector begins a round.
    Collect,
    /// Time passes.
    Wait,
}

/// What became of a container's calls.
#[derive(Clone, Debug, Default)]
struct Story {
    begun: usize,
    ended: Vec<&'static str>,
    /// What its runtime was told that it has.
    acknowledged: Option<PodAddresses>,
    /// Its runtime wants it no more.
    stopped: bool,
    /// How many ADDs of others had begun when its own did.
    place: usize,
    /// When a round of the collector saw that it owns something, in waits.
    seen: Option<usize>,
}

struct Node {
    programs: [&'static [Call]; CONTAINERS],
    service: Arc<NodeService>,
    journal: MemoryJournal,
    network: Arc<MemoryNetwork>,
    sandboxes: Arc<MemorySandboxes>,
    pods: Arc<NodePods>,
    collector: Arc<NodeCollector>,
    gates: Gates,
    stories: Arc<Mutex<[Story; CONTAINERS]>>,
    adds: usize,
    clock: u64,
    rounds: usize,
    collecting: Arc<Mutex<bool>>,
    waits: usize,
}

fn name(container: usize) -> String {
    format!("c{container}")
}

fn key(container: usize) -> SandboxKey {
    SandboxKey::new("net", name(container), "eth0")
}

fn netns(container: usize) -> String {
    format!("/run/netns/c{container}")
}

fn pod(container: usize) -> Pod {
    Pod {
        key: PodKey::new("default", format!("pod-{container}")),
        uid: format!("uid-{container}").into(),
        node: Some("node-1".into()),
        host_network: false,
        phase: PodPhase::Running,
        claim: Ok(Default::default()),
        workload: None,
    }
}

/// A pool of `count` addresses on one ENI, which is all that the instance can carry.
pub fn pool(count: u8) -> NodePool {
    let attached = (0..count).map(|n| PoolAddress {
        ip: [10, 0, 0, 10 + n].into(),
        generation: Generation::from_random(1),
    });
    let eni = PoolEni {
        id: "eni-a".into(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        subnet: "subnet-a".into(),
        cidr: "10.0.0.0/24".parse().unwrap(),
        gateway: [10, 0, 0, 1].into(),
        primary: [10, 0, 0, 2].into(),
        attached: attached.collect(),
        releasing: Vec::new(),
        reserved: [].into(),
        evicting: Vec::new(),
    };
    NodePool {
        enis: vec![eni],
        maximum: 0,
        capacity: count.into(),
        granted: count.into(),
        by_claim: false,
    }
}

impl Node {
    async fn new(programs: [&'static [Call]; CONTAINERS]) -> Self {
        let (gates, journal) = (Gates::default(), MemoryJournal::new());
        journal
            .commit(vec![eni_core::journal::Change::Pool(pool(ADDRESSES))])
            .await
            .unwrap();
        let gated = GatedJournal {
            journal: journal.clone(),
            gates: gates.clone(),
        };
        let environment = Arc::new(SimEnvironment::new(1));
        let service = NodeService::open(Arc::new(gated), environment, ServiceConfig::default());
        let service = service.await.unwrap();
        let link = eni_core::network::EniLink {
            index: 7,
            table: 4007,
        };
        service
            .accept(pool(ADDRESSES), &BTreeMap::from([("eni-a".into(), link)]))
            .await
            .unwrap();
        let (network, sandboxes) = (Arc::new(MemoryNetwork::new()), Arc::new(MemorySandboxes::new()));
        let pods = Arc::new(NodePods::default());
        pods.learn(WatchEvent::Reset(
            (0..CONTAINERS).map(|n| versioned(pod(n))).collect(),
        ));
        (0..CONTAINERS).for_each(|n| sandboxes.put(name(n), true));
        let collector = NodeCollector::new(
            service.clone(),
            Arc::new(GatedNetwork {
                network: network.clone(),
                gates: gates.clone(),
                caller: "collector".to_owned(),
            }),
            Arc::new(GatedSandboxes {
                sandboxes: sandboxes.clone(),
                gates: gates.clone(),
            }),
            pods.clone(),
        );
        let waiters = service.clone();
        tokio::spawn(async move { waiters.run().await });
        settle().await;
        Self {
            programs,
            service,
            journal,
            network,
            sandboxes,
            pods,
            collector: Arc::new(collector),
            gates,
            stories: Arc::default(),
            adds: 0,
            clock: 0,
            rounds: 0,
            collecting: Arc::default(),
            waits: 0,
        }
    }

    fn begin(&mut self, container: usize) {
        self.clock += 1;
        let call = {
            let mut stories = self.stories.lock();
            let story = &mut stories[container];
            let call = self.programs[container][story.begun];
            story.begun += 1;
            if call == Call::Add {
                story.place = self.adds;
                self.adds += 1;
            }
            story.stopped |= matches!(call, Call::Del | Call::Vanish);
            call
        };
        match call {
            Call::Vanish => return self.vanish(container),
            // Its pod is deleted before its sandbox is.
            Call::Del => self.pods.learn(WatchEvent::Deleted(pod(container))),
            Call::Add => {}
        }
        let plugin = Plugin {
            container,
            service: self.service.clone(),
            network: self.network.clone(),
            sandboxes: self.sandboxes.clone(),
            gates: self.gates.clone(),
            stories: self.stories.clone(),
            started: Duration::from_secs(self.clock),
        };
        tokio::spawn(async move {
            let outcome = plugin.run(call).await;
            plugin.stories.lock()[container].ended.push(outcome);
        });
    }

    /// The machine's doing: the sandbox and its pod are gone, and nobody tells the agent.
    fn vanish(&self, container: usize) {
        self.pods.learn(WatchEvent::Deleted(pod(container)));
        self.network.remove_namespace(&netns(container));
        self.sandboxes.remove(&name(container));
        self.stories.lock()[container].ended.push("vanished");
    }

    fn collect(&mut self) {
        self.rounds += 1;
        *self.collecting.lock() = true;
        let (collector, collecting) = (self.collector.clone(), self.collecting.clone());
        let (service, stories, waits) = (self.service.clone(), self.stories.clone(), self.waits);
        tokio::spawn(async move {
            collector.collect().await.unwrap();
            let owners: BTreeSet<_> = service.owners().into_iter().map(|(key, _)| key).collect();
            for (container, story) in stories.lock().iter_mut().enumerate() {
                let owns = owners.contains(&key(container));
                story.seen = owns.then(|| story.seen.unwrap_or(waits));
            }
            *collecting.lock() = false;
        });
    }
}

fn versioned(pod: Pod) -> Versioned<Pod> {
    Versioned {
        object: pod,
        version: Version("1".into()),
    }
}

/// A process that the runtime starts for one call; it does what the real plugin does.
struct Plugin {
    container: usize,
    service: Arc<NodeService>,
    network: Arc<MemoryNetwork>,
    sandboxes: Arc<MemorySandboxes>,
    gates: Gates,
    stories: Arc<Mutex<[Story; CONTAINERS]>>,
    started: Duration,
}

impl Plugin {
    async fn run(&self, call: Call) -> &'static str {
        match call {
            Call::Add => self.add().await,
            Call::Del => self.del().await,
            Call::Vanish => unreachable!("no plugin is called for it"),
        }
    }

    async fn add(&self) -> &'static str {
        let (key, pod) = (key(self.container), pod(self.container));
        let request = AddressRequest {
            key: key.clone(),
            pod: Some(pod.key),
            pod_uid: Some(pod.uid),
            families: Families::V4,
            origin: None,
        };
        let deadline = Instant::now() + PATIENCE;
        let add = Add {
            request,
            deadline,
            started: self.started,
        };
        let Ok((grant, guard)) = self.service.add(add).await else {
            return "refused";
        };
        let addresses = grant.allocation.addresses;
        let wiring = PodWiring {
            interface: self.interface(Some(addresses)),
            netns: netns(self.container),
            addresses,
            table: Some(grant.link.table),
            mtu: 1500,
        };
        let network = GatedNetwork {
            network: self.network.clone(),
            gates: self.gates.clone(),
            caller: "plugin".to_owned(),
        };
        let wired = network.wire(&wiring).await.is_ok();
        let owned = self.service.grant(&key).map(|grant| grant.allocation.addresses);
        if wired && owned == Some(addresses) {
            let mut stories = self.stories.lock();
            stories[self.container].acknowledged = Some(addresses);
            drop(guard);
            return "added";
        }
        self.network.unwire(&wiring.interface).await.unwrap();
        drop(guard);
        self.release().await;
        "failed"
    }

    /// The runtime stops the sandbox when the first DEL has succeeded.
    async fn del(&self) -> &'static str {
        let owned = self.service.grant(&key(self.container));
        let interface = self.interface(owned.map(|grant| grant.allocation.addresses));
        self.network.unwire(&interface).await.unwrap();
        if let Some(released) = self.release().await {
            self.network
                .unwire(&self.interface(Some(released.addresses)))
                .await
                .unwrap();
        }
        self.network.remove_namespace(&netns(self.container));
        self.sandboxes.remove(&name(self.container));
        "deleted"
    }

    async fn release(&self) -> Option<Allocation> {
        let del = Del {
            key: key(self.container),
            deadline: Instant::now() + PATIENCE,
            started: self.started,
        };
        self.service.del(del).await.unwrap()
    }

    fn interface(&self, addresses: Option<PodAddresses>) -> PodInterface {
        PodInterface {
            key: key(self.container),
            pod: Some(pod(self.container).key),
            addresses,
        }
    }
}

impl World for Node {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let stories = self.stories.lock();
        let open = |n: &usize| stories[*n].begun < self.programs[*n].len();
        let begin = (0..CONTAINERS).filter(open).map(Step::Begin);
        let pass = self.gates.waiting().into_iter().map(Step::Pass);
        let collect = (self.rounds < ROUNDS && !*self.collecting.lock()).then_some(Step::Collect);
        let wait = (self.waits < WAITS).then_some(Step::Wait);
        begin.chain(pass).chain(collect).chain(wait).collect()
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Begin(container) => self.begin(*container),
            Step::Pass(call) => self.gates.open(call, Fate::Done),
            Step::Collect => self.collect(),
            Step::Wait => {
                self.waits += 1;
                tokio::time::sleep(WAIT).await;
            }
        }
        settle().await;
    }

    /// Containers that run the same program are interchangeable, and so are the addresses.
    fn mark(&self) -> String {
        let stories = self.stories.lock();
        let (waiting, memory) = (self.gates.waiting(), self.service.owners());
        let wired: BTreeSet<_> = self
            .network
            .wired()
            .into_iter()
            .map(|w| w.interface.key)
            .collect();
        let mut marks: Vec<String> = (0..CONTAINERS)
            .map(|n| {
                let story = &stories[n];
                let calls = waiting.iter().filter(|call| call.contains(&name(n)));
                let calls: Vec<_> = calls.map(|call| call.replace(&name(n), "")).collect();
                let ahead = stories
                    .iter()
                    .filter(|other| other.begun > 0 && other.place < story.place);
                let owns = memory.iter().any(|(owner, _)| *owner == key(n));
                let program = self.programs[n].len();
                let ahead = if story.begun > 0 { ahead.count() } else { 0 };
                format!(
                    "{program} {} {:?} {calls:?} {owns} {} {} {ahead} {:?}",
                    story.begun,
                    story.ended,
                    story.acknowledged.is_some(),
                    wired.contains(&key(n)),
                    story.seen,
                )
            })
            .collect();
        marks.sort();
        let shared = waiting.iter().filter(|call| !call.contains(" c"));
        let shared: Vec<_> = shared.collect();
        let counts = self.service.counts();
        let mut mark = marks.join("\n");
        write!(
            mark,
            "\n{shared:?} {counts:?} {} {} {}",
            self.rounds,
            *self.collecting.lock(),
            self.waits
        )
        .unwrap();
        mark
    }

    async fn check(&self) -> Result<(), String> {
        let stories = self.stories.lock().clone();
        let remembered: BTreeMap<_, _> = self.journal.load().await.unwrap().owned.into_iter().collect();
        let mut holders = BTreeMap::new();
        for (container, story) in stories.iter().enumerate() {
            let Some(addresses) = story.acknowledged.filter(|_| !story.stopped) else {
                continue;
            };
            let key = key(container);
            let grant = self.service.grant(&key).map(|grant| grant.allocation.addresses);
            if grant != Some(addresses) {
                return Err(format!("{key} was given {addresses} and now owns {grant:?}"));
            }
            if remembered.get(&key).map(|owned| owned.addresses) != Some(addresses) {
                return Err(format!("the journal does not know that {key} owns {addresses}"));
            }
            if let Some(other) = holders.insert(addresses, key.clone()) {
                return Err(format!("{addresses} is {other}'s and {key}'s"));
            }
        }
        let mut wired = BTreeMap::new();
        for wiring in self.network.wired() {
            let key = wiring.interface.key;
            if let Some(other) = wired.insert(wiring.addresses, key.clone()) {
                return Err(format!("{} is wired to {other} and to {key}", wiring.addresses));
            }
        }
        let counts = self.service.counts();
        if counts.total() != usize::from(ADDRESSES) || counts.lost > 0 {
            return Err(format!(
                "{counts:?} are not the {ADDRESSES} addresses of the pool"
            ));
        }
        // Nobody is served before somebody who has waited longer.
        let owns = |n: usize| self.service.grant(&key(n)).is_some();
        for (first, story) in stories.iter().enumerate() {
            let waits = story.begun > 0 && story.ended.is_empty() && !story.stopped && !owns(first);
            let overtaken = |n: &usize| {
                let other = &stories[*n];
                other.begun > 0 && other.place > story.place && other.ended.is_empty() && owns(*n)
            };
            if waits && let Some(other) = (0..CONTAINERS).find(overtaken) {
                return Err(format!("{} was served before {}", name(other), name(first)));
            }
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            self.collect();
            settle().await;
            while let Some(call) = self.gates.waiting().pop() {
                self.take(&Step::Pass(call)).await;
            }
            tokio::time::sleep(WAIT).await;
        }
        let owners = self.service.owners();
        let remembered = self.journal.load().await.unwrap().owned;
        let left = self.network.list().await.unwrap();
        let counts = self.service.counts();
        if owners.is_empty()
            && remembered.is_empty()
            && left.is_empty()
            && counts.free == usize::from(ADDRESSES)
        {
            return Ok(());
        }
        Err(format!("left: {owners:?}, {remembered:?}, {left:?}, {counts:?}"))
    }
}

#[test]
fn adds_dels_checks_and_collections_of_three_containers_in_every_order() {
    let visited = explore(async || Node::new([ORDERLY; CONTAINERS]).await);
    println!("{visited:?}");
    assert!(visited.ends > 0, "{visited:?}");
}

#[test]
fn sandboxes_that_vanish_without_a_del_in_every_order() {
    let visited = explore(async || Node::new([LOST, LOST, ORDERLY]).await);
    println!("{visited:?}");
    assert!(visited.ends > 0, "{visited:?}");
}
