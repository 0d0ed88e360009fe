//! Withdrawing against allocating, with failed commits and a crash at every step, in every order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eni_core::{
    agent::{Add, NodeService, ServiceConfig},
    allocator::AddressRequest,
    journal::{Change, Journal, MemoryJournal},
    model::*,
    network::EniLink,
    sim::SimEnvironment,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{
    containers::pool,
    explore::{World, explore, settle},
    gates::{Fate, GatedJournal, Gates},
};

const ADDRESSES: u8 = 2;
const CONTAINERS: usize = 2;
const WITHDRAWALS: usize = 2;
/// The ADDs of a way that waits for an address which never comes end in this.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
enum Step {
    /// A container's ADD begins, for the first time or again.
    Add(usize),
    /// The agent fences one idle address.
    Withdraw,
    /// The agent tells ipamd what it has fenced.
    Offer,
    /// ipamd takes what it was offered: from now on nobody may use it.
    Take,
    /// ipamd has removed what it took.
    Remove,
    /// The agent asks to keep what it offered; ipamd has not taken it.
    Keep,
    /// A commit is carried out.
    Pass(String),
    /// A commit fails without effect.
    Fail(String),
    /// The agent dies and is started again.
    Crash,
}

#[derive(Debug, Default)]
struct Told {
    /// What the runtime was told that a container has.
    acknowledged: BTreeMap<usize, PodAddresses>,
    withdrawn: usize,
}

struct Agent {
    journal: MemoryJournal,
    service: Arc<NodeService>,
    gates: Gates,
    tasks: JoinSet<()>,
    told: Arc<Mutex<Told>>,
    /// The shared object: what is published and what is offered.
    published: Published,
    offered: Vec<PoolAddress>,
    begun: BTreeMap<usize, bool>,
    withdrawals: usize,
    /// How often the agent may still die.
    crashes: usize,
    /// How many commits may still fail.
    failures: usize,
    /// A take-back is under way.
    keeping: Arc<Mutex<bool>>,
}

fn key(container: usize) -> SandboxKey {
    SandboxKey::new("net", format!("c{container}"), "eth0")
}

/// The pool that ipamd has published last, and the bell that tells of it.
#[derive(Clone, Debug, Default)]
struct Published {
    pool: Arc<Mutex<NodePool>>,
    bell: Arc<Notify>,
}

async fn open(
    journal: &MemoryJournal,
    gates: &Gates,
    published: &Published,
    tasks: &mut JoinSet<()>,
) -> Arc<NodeService> {
    let gated = GatedJournal {
        journal: journal.clone(),
        gates: gates.clone(),
    };
    let environment = Arc::new(SimEnvironment::new(1));
    let service = NodeService::open(Arc::new(gated), environment, ServiceConfig::default());
    // What an opening tidies up in the journal is of no consequence.
    gates.set_ajar(true);
    let service = service.await.unwrap();
    gates.set_ajar(false);
    let (waiters, supplied, published) = (service.clone(), service.clone(), published.clone());
    tasks.spawn(async move { waiters.run().await });
    tasks.spawn(async move { follow(&supplied, &published).await });
    settle().await;
    service
}

/// Accepts what is published, as the dialogue does: one after the other, the latest, until it works.
async fn follow(service: &NodeService, published: &Published) {
    let links = BTreeMap::from([(
        "eni-a".into(),
        EniLink {
            index: 7,
            table: 4007,
        },
    )]);
    loop {
        let pool = published.pool.lock().clone();
        let accepted = service.accept(pool.clone(), &links).await.is_ok();
        if accepted && *published.pool.lock() == pool {
            published.bell.notified().await;
        }
    }
}

impl Agent {
    async fn new(crashes: usize, failures: usize) -> Self {
        let (journal, gates) = (MemoryJournal::new(), Gates::default());
        journal.commit(vec![Change::Pool(pool(ADDRESSES))]).await.unwrap();
        let mut tasks = JoinSet::new();
        let published = Published::default();
        *published.pool.lock() = pool(ADDRESSES);
        let service = open(&journal, &gates, &published, &mut tasks).await;
        Self {
            journal,
            service,
            gates,
            tasks,
            told: Arc::default(),
            published,
            offered: Vec::new(),
            begun: BTreeMap::new(),
            withdrawals: 0,
            crashes,
            failures,
            keeping: Arc::default(),
        }
    }

    fn add(&mut self, container: usize) {
        self.begun.insert(container, true);
        let request = AddressRequest {
            key: key(container),
            pod: None,
            pod_uid: None,
            families: Families::V4,
            origin: None,
        };
        let (service, told) = (self.service.clone(), self.told.clone());
        self.tasks.spawn(async move {
            let add = Add {
                request,
                deadline: Instant::now() + PATIENCE,
                started: Duration::from_secs(1),
            };
            if let Ok((grant, _)) = service.add(add).await {
                told.lock()
                    .acknowledged
                    .insert(container, grant.allocation.addresses);
            }
        });
    }

    fn withdraw(&mut self) {
        self.withdrawals += 1;
        let (service, told) = (self.service.clone(), self.told.clone());
        self.tasks.spawn(async move {
            if let Ok(chosen) = service.withdraw(1).await {
                told.lock().withdrawn += chosen.len();
            }
        });
    }

    /// A new pool is published, and reaches the agent.
    fn publish(&mut self, change: impl FnOnce(&mut PoolEni)) {
        change(&mut self.published.pool.lock().enis[0]);
        self.published.bell.notify_one();
    }

    fn published(&self) -> PoolEni {
        self.published.pool.lock().enis[0].clone()
    }

    async fn crash(&mut self) {
        self.crashes -= 1;
        *self.keeping.lock() = false;
        self.gates.cut();
        self.tasks.shutdown().await;
        self.gates = Gates::default();
        self.begun.values_mut().for_each(|under_way| *under_way = false);
        self.service = open(&self.journal, &self.gates, &self.published, &mut self.tasks).await;
    }

    fn attached(&self, entry: &PoolAddress) -> bool {
        self.published().attached.contains(entry)
    }
}

impl World for Agent {
    type Step = Step;

    fn steps(&self) -> Vec<Step> {
        let acknowledged = &self.told.lock().acknowledged;
        let idle = |n: &usize| self.begun.get(n) != Some(&true) && !acknowledged.contains_key(n);
        let mut steps: Vec<_> = (0..CONTAINERS).filter(idle).map(Step::Add).collect();
        let waiting = self.gates.waiting();
        if self.withdrawals < WITHDRAWALS && !waiting.iter().any(|call| call.contains("commit hold")) {
            steps.push(Step::Withdraw);
        }
        let fenced: Vec<_> = self
            .service
            .withdrawn()
            .into_iter()
            .filter(|entry| self.attached(entry))
            .collect();
        // While a fence is not durable it is not told to anybody.
        let settled = !waiting.iter().any(|call| call.contains("commit hold")) && !*self.keeping.lock();
        if settled && fenced != self.offered {
            steps.push(Step::Offer);
        }
        if self.offered.iter().any(|entry| self.attached(entry)) {
            steps.extend([Step::Take, Step::Keep]);
        }
        if !self.published().releasing.is_empty() {
            steps.push(Step::Remove);
        }
        if self.failures > 0 {
            steps.extend(waiting.iter().cloned().map(Step::Fail));
        }
        steps.extend(waiting.into_iter().map(Step::Pass));
        if self.crashes > 0 {
            steps.push(Step::Crash);
        }
        steps
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Add(container) => self.add(*container),
            Step::Withdraw => self.withdraw(),
            Step::Offer => {
                let fenced = self.service.withdrawn();
                self.offered = fenced.into_iter().filter(|entry| self.attached(entry)).collect();
            }
            Step::Take => {
                let offered = std::mem::take(&mut self.offered);
                self.publish(|eni| {
                    let taken = |entry: &PoolAddress| offered.contains(entry);
                    eni.releasing
                        .extend(eni.attached.iter().filter(|entry| taken(entry)).copied());
                    eni.attached.retain(|entry| !taken(entry));
                });
            }
            Step::Remove => self.publish(|eni| eni.releasing.clear()),
            Step::Keep => {
                let kept = std::mem::take(&mut self.offered);
                let (service, keeping) = (self.service.clone(), self.keeping.clone());
                *keeping.lock() = true;
                self.tasks.spawn(async move {
                    // An address whose fence could not be lifted stays fenced; it is offered again.
                    if let Err(error) = service.take_back(&kept).await {
                        tracing::debug!(%error, "kept back");
                    }
                    *keeping.lock() = false;
                });
            }
            Step::Pass(call) => self.gates.open(call, Fate::Done),
            Step::Fail(call) => {
                self.failures -= 1;
                self.gates.open(call, Fate::Failed);
            }
            Step::Crash => self.crash().await,
        }
        settle().await;
        // An ADD that failed may be repeated.
        let acknowledged = &self.told.lock().acknowledged;
        let waiting = self.gates.waiting();
        for (container, under_way) in &mut self.begun {
            let commits = waiting
                .iter()
                .any(|call| call.contains(&format!("own c{container}")));
            let queued = *self.service.waiting().borrow() > 0;
            *under_way &= !acknowledged.contains_key(container) && (commits || queued);
        }
    }

    fn mark(&self) -> String {
        let told = self.told.lock();
        format!(
            "{told:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {} {}",
            self.service.owners(),
            self.service.withdrawn(),
            self.service.counts(),
            self.gates.waiting(),
            self.published(),
            (&self.offered, &self.begun, *self.keeping.lock()),
            self.withdrawals,
            self.crashes,
            self.failures,
        )
    }

    async fn check(&self) -> Result<(), String> {
        let memory = self.journal.load().await.unwrap();
        let owned: BTreeMap<_, _> = memory.owned.into_iter().collect();
        let mut holders = BTreeMap::new();
        let published = self.published();
        for (container, addresses) in &self.told.lock().acknowledged {
            let key = key(*container);
            if owned.get(&key).map(|owned| owned.addresses) != Some(*addresses) {
                return Err(format!("the journal has forgotten that {key} owns {addresses}"));
            }
            let mine = self.service.owners().into_iter().find(|(owner, _)| *owner == key);
            if mine.map(|(_, owned)| owned.addresses) != Some(*addresses) {
                return Err(format!("{key} lost {addresses}"));
            }
            if let Some(other) = holders.insert(*addresses, key.clone()) {
                return Err(format!("{addresses} is {other}'s and {key}'s"));
            }
            // What ipamd may take, or took, nobody uses.
            for entry in self.offered.iter().chain(&published.releasing) {
                if addresses.iter().any(|ip| ip == entry.ip) {
                    return Err(format!("{key} uses {addresses}, which was offered back"));
                }
            }
            let attached = |ip| published.attached.iter().any(|entry| entry.ip == ip);
            if !addresses.iter().all(attached) {
                return Err(format!("{key} uses {addresses}, which was removed"));
            }
        }
        let counts = self.service.counts();
        let accepted = self.service.published();
        let expected: usize = accepted
            .enis
            .iter()
            .map(|eni| eni.attached.len() + eni.releasing.len())
            .sum();
        if counts.total() != expected || counts.lost > 0 {
            return Err(format!(
                "{counts:?} are not the {expected} addresses of {published:?}"
            ));
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), String> {
        let counts = self.service.counts();
        let acknowledged = self.told.lock().acknowledged.len();
        if counts.free > 0 && acknowledged < CONTAINERS {
            return Err(format!(
                "{counts:?}, and {acknowledged} of {CONTAINERS} have an address"
            ));
        }
        Ok(())
    }
}

#[test]
fn withdrawing_against_allocating_with_a_crash_at_every_step() {
    let visited = explore(async || Agent::new(2, 0).await);
    println!("{visited:?}");
    assert!(visited.ends > 0, "{visited:?}");
}

#[test]
fn withdrawing_against_allocating_with_a_failed_commit_and_a_crash_at_every_step() {
    let visited = explore(async || Agent::new(1, 1).await);
    println!("{visited:?}");
    assert!(visited.ends > 0, "{visited:?}");
}
