//! The addresses of every node: watches, the loops that read the cloud, and one worker per node that
//! needs something.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    PoolConfig, PoolMonitor,
    act::Actor,
    desk::Desk,
    duties::Duties,
    fence::{Fence, Fenced},
    inventory::{AGREEING, Inventory},
    schedule::{End, Turn},
    stuck,
    takings::Takings,
};
use crate::{
    cloud::{Cloud, Pacer},
    cluster::{Cluster, Object, Scope, WatchEvent},
    env::Environment,
    leadership::Leadership,
    model::Claim,
    policy::LISTING_LAG,
};

/// Claims that are written at the same time.
const CLAIM_WRITES: usize = 64;
/// Objects of static addresses that are written at the same time: nobody waits for them.
const RECORD_WRITES: usize = 16;
/// How often the claims that wait for something are looked at, whatever happens; that costs no call.
const LOOK: Duration = Duration::from_secs(1);
/// Batches of ENIs with orders under way that are read per polling interval.
const POLLS: u32 = 5;

/// What a [`PoolController`] works with.
pub struct Backends {
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// Clocks and randomness.
    pub environment: Arc<dyn Environment>,
    /// The right to act, newly acquired.
    pub leadership: Arc<dyn Leadership>,
}

/// Keeps `pods + min <= bound <= pods + max` on every node.
///
/// One per cluster and leadership. It reads the cluster by watches, the cloud by two shared loops, and works
/// on the neediest nodes first, on each of them one plan at a time.
///
/// Destructive calls are sent only with more leadership left than a call takes at most, and only after a
/// call of the last leader has ended and all of our ENIs were read.
pub struct PoolController {
    pub(super) actor: Arc<Actor>,
    pub(super) duties: Duties,
    pub(super) takings: Mutex<Takings>,
    fence: Arc<Fence>,
    pacer: Arc<Pacer>,
}

impl PoolController {
    /// A controller for as long as `backends.leadership` is held, which begins now.
    pub fn new(backends: Backends, config: PoolConfig) -> Self {
        let Backends {
            cloud,
            cluster,
            environment,
            leadership,
        } = backends;
        let fence = Arc::new(Fence::new(leadership, config.pace.call_timeout));
        let cloud = Arc::new(Fenced::new(cloud, fence.clone()));
        let pacer = Pacer::new(cloud, environment.clone(), config.pace.clone());
        let actor = Arc::new(Actor {
            cluster,
            inventory: Arc::new(Inventory::new(pacer.clone(), &config)),
            environment,
            desk: Arc::new(Desk::new(&config)),
            counters: Arc::default(),
            config,
        });
        Self {
            duties: Duties::new(&pacer, &actor),
            takings: Mutex::default(),
            actor,
            fence,
            pacer,
        }
    }

    /// What an operator sees of it; of use while it runs.
    pub fn monitor(&self) -> PoolMonitor {
        PoolMonitor {
            desk: self.actor.desk.clone(),
            inventory: self.actor.inventory.clone(),
            counters: self.actor.counters.clone(),
            pacer: self.pacer.clone(),
        }
    }

    /// Runs until leadership is lost, or until it is dropped; orders under way are then found again by the
    /// next leader. Nothing is ordered before the cloud was read whole once.
    pub async fn run(self) {
        let duties = async {
            self.first_audit().await;
            let listed = self.actor.inventory.listed();
            let inherited = listed.is_some_and(|(_, enis)| !enis.is_empty());
            futures::join!(self.work(), self.poll(), self.audit(inherited));
        };
        tokio::select! {
            biased;
            () = self.fence.lost() => tracing::warn!("leadership is lost; the pools are left to the next leader"),
            () = duties => {}
        }
    }

    async fn first_audit(&self) {
        let mut pause = self.actor.config.backoff;
        while let Err(error) = self.actor.inventory.audit().await {
            tracing::warn!(%error, "the cloud cannot be read whole yet");
            sleep(pause).await;
            pause = (pause * 2).min(PoolConfig::MAXIMUM_BACKOFF);
        }
        self.fence.listed();
    }

    /// Reads all of our ENIs now and then, beside everything else. Where some were `inherited` from an earlier
    /// leader, or claims may have addresses that no ENI has, as many readings as must agree come soon: what all of them lack is gone.
    async fn audit(&self, inherited: bool) {
        let interval = self.actor.config.audit_interval;
        let soon = (LISTING_LAG / (AGREEING - 1)).min(interval);
        let soon_again = inherited || self.actor.config.claims.is_some();
        let mut lacking = if soon_again { AGREEING - 1 } else { 0 };
        loop {
            sleep(if lacking > 0 { soon } else { interval }).await;
            while let Err(error) = self.actor.inventory.audit().await {
                tracing::warn!(%error, "the audit could not read all ENIs; nothing is concluded");
                sleep(PoolConfig::MAXIMUM_BACKOFF.min(interval)).await;
            }
            lacking = lacking.saturating_sub(1);
            self.actor.desk.change(|index| {
                index.book.iter_mut().for_each(|book| book.review());
                index.owners()
            });
        }
    }

    /// Reads what has an order under way, beside everything else.
    async fn poll(&self) {
        let period = self.actor.config.poll_interval / POLLS;
        let mut poll = interval(period.max(Duration::from_millis(1)));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            poll.tick().await;
            match self.actor.inventory.poll(stuck::PATIENCE).await {
                Ok(news) if news.is_empty() => {}
                Ok(news) => self.actor.desk.change(|index| {
                    index.stir();
                    let owners = news.iter().map(|(id, name)| index.owner(id, name.as_deref()));
                    owners.flatten().collect::<BTreeSet<_>>()
                }),
                Err(error) => tracing::warn!(%error, "orders under way could not be read"),
            }
        }
    }

    fn learn_claims(&self, event: WatchEvent<Claim>) {
        self.change_book(|book| book.apply_claim(event));
    }

    /// Looks at the claims that wait, and at those whose time may be over.
    fn look_at_claims(&self) {
        if let Some(book) = &mut self.actor.desk.index().book {
            book.stir();
            book.expire(self.actor.environment.now());
        }
    }

    /// Follows the watches, and works on the nodes that are due.
    async fn work(&self) {
        let (cluster, desk) = (&self.actor.cluster, &self.actor.desk);
        let mut nodes = cluster.nodes().watch(Scope::All);
        let mut pods = cluster.pods().watch(Scope::All);
        let mut configs = cluster.node_configs().watch(Scope::All);
        let mut records = cluster.eni_records().watch(Scope::All);
        // Without claims nothing is read of them, and nothing is waited for.
        let (mut claims, mut defaults, mut addresses) = match self.actor.config.claims {
            Some(_) => (
                cluster.claims().watch(Scope::All),
                cluster.claim_defaults().watch(Scope::All),
                cluster.address_records().watch(Scope::All),
            ),
            None => (nothing(), nothing(), nothing()),
        };
        let mut writes: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut copies: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work: FuturesUnordered<BoxFuture<'_, (Turn, End)>> = FuturesUnordered::new();
        let mut duties = pin!(self.duties.run());
        // Until every watch has told its whole state once, a plan would see too little.
        let mut told = BTreeSet::new();
        loop {
            let ready = told.len() == 6;
            // Where somebody waits, no other node's work is waited for.
            let urgent = work.len() >= self.actor.config.concurrency;
            tokio::select! {
                biased;
                // What the watches have is known before work begins: a burst of pods is one order.
                Some(event) = nodes.next() => { told.insert(0); desk.change(|index| index.apply_node(event)); }
                Some(event) = records.next() => { told.insert(1); desk.change(|index| index.apply_record(event)); }
                Some(event) = configs.next() => { told.insert(2); desk.change(|index| index.apply_config(event)); }
                Some(event) = pods.next() => { told.insert(3); desk.change(|index| index.apply_pod(event)); }
                Some(event) = claims.next() => { told.insert(4); self.learn_claims(event); }
                Some(event) = defaults.next() => {
                    told.insert(5);
                    if let Some(book) = &mut desk.index().book {
                        book.apply_defaults(event);
                    }
                }
                Some(event) = addresses.next() => {
                    if let Some(book) = &mut desk.index().book {
                        book.records.apply(event);
                    }
                }
                Some((turn, end)) = work.next() => desk.finish(turn, end),
                Some(()) = writes.next() => {}
                Some(()) = copies.next() => {}
                Some(job) = async { self.next_claim() }, if ready && writes.len() < CLAIM_WRITES => {
                    writes.push(self.carry_claim(job).boxed());
                }
                Some(job) = async { self.next_record() }, if ready && copies.len() < RECORD_WRITES => {
                    copies.push(self.carry_record(job).boxed());
                }
                _ = look.tick(), if self.actor.config.claims.is_some() => self.look_at_claims(),
                // Begun once there is something to judge from; it never ends.
                () = &mut duties, if ready => {}
                Some(turn) = async { desk.next(urgent) }, if ready => work.push(self.reconcile(turn).boxed()),
                () = desk.stirred() => {}
            }
        }
    }
}

/// A watch of a kind that there are none of.
fn nothing<T: Object>() -> BoxStream<'static, WatchEvent<T>> {
    let none = stream::once(async { WatchEvent::Reset(Vec::new()) });
    none.chain(stream::pending()).boxed()
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for PoolController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolController")
            .field("config", &self.actor.config)
            .finish_non_exhaustive()
    }
}
