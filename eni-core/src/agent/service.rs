//! The service behind ADD, DEL and CHECK.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{
    Add, AddError, Del, DelError, Grant, ServiceConfig,
    keyed::{KeyedGuard, KeyedLocks},
    queue::Queue,
};
use crate::{
    allocator::{AddressRequest, Allocator, PoolAllocator, Shortage},
    env::Environment,
    journal::{Change, Hold, Journal, JournalError},
    model::{Allocation, EniId, Families, NodePool, PoolEni, SandboxKey},
    network::EniLink,
};

/// How long a DEL is remembered, to refuse an ADD that started before it: longer than any runtime
/// keeps a plugin running.
const TOMBSTONE: Duration = Duration::from_secs(600);

/// The shortest pause between two looks at the queue that nothing else woke.
const SERVE_PAUSE: Duration = Duration::from_millis(100);

/// Keeps DEL and a second ADD of the same interface waiting while its ADD is still wiring the pod.
/// To be dropped when the plugin hangs up.
#[derive(Debug)]
pub struct WiringGuard {
    _guard: KeyedGuard<SandboxKey>,
}

/// Gives a node's addresses to its sandboxes, in the order in which they asked.
///
/// An answer is given only after the journal has it. No lock is held across an await but the one of
/// the interface itself.
pub struct NodeService {
    pub(super) journal: Arc<dyn Journal>,
    environment: Arc<dyn Environment>,
    config: ServiceConfig,
    interfaces: KeyedLocks<SandboxKey>,
    pub(super) state: Mutex<State>,
    waiting: watch::Sender<usize>,
    wake: Notify,
}

pub(super) struct State {
    pub(super) pool: PoolAllocator,
    pub(super) published: NodePool,
    /// The ENIs in service.
    pub(super) enis: BTreeMap<EniId, (PoolEni, EniLink)>,
    queue: Queue,
    /// When the latest DEL of an interface started by the boot clock, and when we learned of it.
    tombstones: HashMap<SandboxKey, (Duration, Instant)>,
}

impl State {
    /// An address of an ENI in service; also for one who owns it already.
    fn allocate(&mut self, request: &AddressRequest, now: Instant) -> Result<Allocation, Shortage> {
        let allocation = self.pool.allocate(request, now)?;
        if self.enis.contains_key(&allocation.eni) {
            Ok(allocation)
        } else {
            Err(Shortage::NoEni)
        }
    }
}

/// A place in the queue. Dropping it gives up the place, and an address that nobody learned of.
struct Place<'a> {
    service: &'a NodeService,
    key: &'a SandboxKey,
    kept: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.service.state.lock();
            if !state.queue.leave(self.key) && !self.kept {
                state.pool.undo(self.key);
            }
        }
        self.service.publish_waiting();
        // The address that it gave up may be the next one's.
        self.service.wake.notify_one();
    }
}

fn abandoned(error: tokio::task::JoinError) -> JournalError {
    JournalError {
        journal: "node journal".to_owned(),
        message: format!("the commit was abandoned ({error}); restart the agent"),
    }
}

impl NodeService {
    /// Opens the service on what the journal remembers.
    ///
    /// Until [`accept`](Self::accept) puts ENIs into service, owners are known but nothing is given
    /// out.
    pub async fn open(
        journal: Arc<dyn Journal>,
        environment: Arc<dyn Environment>,
        config: ServiceConfig,
    ) -> Result<Arc<Self>, JournalError> {
        let memory = journal.load().await?;
        let mut pool = PoolAllocator::default();
        // The pool without its ENIs' devices: enough to know what the owners' addresses are.
        let published = memory.pool.unwrap_or_default();
        pool.accept(&published);
        for (key, allocation) in memory.owned {
            pool.restore_owner(key, allocation);
        }
        let (now, wall, boot) = (Instant::now(), environment.now(), environment.uptime());
        for (entry, hold) in memory.held {
            match hold {
                Hold::Withdrawn => pool.restore_withdrawn(entry),
                Hold::Cooling { until, uptime } => {
                    // Of another boot only the wall clock tells. One that jumped back must not make an address
                    // rest for ever.
                    let by_wall = || Duration::try_from(until.duration_since(wall)).unwrap_or(Duration::ZERO);
                    let rest = uptime
                        .filter(|end| end.boot == boot.boot)
                        .map_or_else(by_wall, |end| end.since.saturating_sub(boot.since));
                    pool.restore_cooling(entry, now, now + rest.min(config.cooldown));
                }
            }
        }
        let counts = pool.counts();
        tracing::info!(?counts, "journal read");
        let state = State {
            pool,
            published,
            enis: BTreeMap::new(),
            queue: Queue::default(),
            tombstones: HashMap::new(),
        };
        Ok(Arc::new(Self {
            journal,
            environment,
            config,
            interfaces: KeyedLocks::new(),
            state: Mutex::new(state),
            waiting: watch::Sender::new(0),
            wake: Notify::new(),
        }))
    }

    /// Serves an ADD. Without a free address it waits in order until its deadline.
    ///
    /// Repeating it answers the same. Keep the guard until the pod is wired.
    pub async fn add(self: &Arc<Self>, add: Add) -> Result<(Grant, WiringGuard), AddError> {
        let key = add.request.key.clone();
        self.refuse_if_deleted(&add)?;
        let guard = timeout_at(add.deadline, self.interfaces.lock(key.clone()))
            .await
            .map_err(|_| AddError::Busy { key: key.clone() })?;
        self.refuse_if_deleted(&add)?;
        let allocation = self.allocate(&add).await?;
        let service = self.clone();
        // On its own task: a caller that hangs up must not leave an address half owned.
        let commit = tokio::spawn(async move {
            service
                .journal
                .commit(service.ownership(&key, &allocation))
                .await?;
            Ok::<_, JournalError>((service.grant(&key), guard))
        });
        let (grant, guard) = commit.await.map_err(abandoned)??;
        let grant = grant.ok_or(AddError::OutOfService { key: add.request.key })?;
        Ok((grant, WiringGuard { _guard: guard }))
    }

    /// Serves a DEL; `None` if the interface owned nothing. Repeating it is harmless.
    pub async fn del(self: &Arc<Self>, del: Del) -> Result<Option<Allocation>, DelError> {
        let key = del.key;
        {
            let mut state = self.state.lock();
            let now = Instant::now();
            state
                .tombstones
                .retain(|_, (_, learned)| *learned + TOMBSTONE > now);
            // A DEL that was held up on its way does not shorten the reach of a later one.
            let latest = state
                .tombstones
                .get(&key)
                .map_or(del.started, |(known, _)| del.started.max(*known));
            state.tombstones.insert(key.clone(), (latest, now));
            state.queue.cancel(&key);
        }
        self.publish_waiting();
        let guard = timeout_at(del.deadline, self.interfaces.lock(key.clone()))
            .await
            .map_err(|_| DelError::Busy { key: key.clone() })?;
        let Some(allocation) = self.state.lock().pool.owned(&key).cloned() else {
            return Ok(None);
        };
        let service = self.clone();
        let release = tokio::spawn(async move {
            let changes = service.release_changes(&key, &allocation);
            service.journal.commit(changes).await?;
            let now = Instant::now();
            let released = service
                .state
                .lock()
                .pool
                .release(&key, now, now + service.config.cooldown);
            service.wake.notify_one();
            drop(guard);
            Ok(released)
        });
        release.await.map_err(abandoned)?
    }

    /// What an interface owns, with the ENI's device; `None` also while that ENI is out of service.
    pub fn grant(&self, key: &SandboxKey) -> Option<Grant> {
        let state = self.state.lock();
        let allocation = state.pool.owned(key)?.clone();
        let (eni, link) = state.enis.get(&allocation.eni)?;
        Some(Grant {
            link: *link,
            mac: eni.mac,
            cidr: eni.cidr,
            gateway: eni.gateway,
            allocation,
        })
    }

    /// The families that a pod gets.
    pub fn families(&self) -> Families {
        self.config.families
    }

    /// Whether at least one ENI is in service.
    pub fn in_service(&self) -> bool {
        !self.state.lock().enis.is_empty()
    }

    /// Every owner with what it owns, in order.
    pub fn owners(&self) -> Vec<(SandboxKey, Allocation)> {
        let state = self.state.lock();
        let owners = state.pool.owners();
        let mut owners: Vec<_> = owners.map(|(key, owned)| (key.clone(), owned.clone())).collect();
        owners.sort_by(|(a, _), (b, _)| a.cmp(b));
        owners
    }

    /// The number of sandboxes that wait for an address, now and as it changes.
    pub fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// Serves waiters whenever a resting address becomes free. Runs until it is dropped.
    pub async fn run(&self) {
        loop {
            let next = self.serve();
            let rest = async {
                match next {
                    // An address that becomes free may not help whoever is first; never spin on that.
                    Some(expiry) => tokio::time::sleep_until(expiry.max(Instant::now() + SERVE_PAUSE)).await,
                    None => futures::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = rest => {}
            }
        }
    }

    async fn allocate(&self, add: &Add) -> Result<Allocation, AddError> {
        let (answer, owned) = {
            let mut state = self.state.lock();
            let owned = state.pool.owned(&add.request.key).is_some();
            if (owned || state.queue.is_empty())
                && let Ok(allocation) = state.allocate(&add.request, Instant::now())
            {
                return Ok(allocation);
            }
            (state.queue.push(add.request.clone()), owned)
        };
        let mut place = Place {
            service: self,
            key: &add.request.key,
            kept: owned,
        };
        self.publish_waiting();
        self.wake.notify_one();
        match timeout_at(add.deadline, answer).await {
            Ok(Ok(allocation)) => {
                place.kept = true;
                Ok(allocation)
            }
            Ok(Err(_)) => Err(AddError::Cancelled {
                key: add.request.key.clone(),
            }),
            Err(_) => {
                let state = self.state.lock();
                let ahead = state.queue.position(&add.request.key).unwrap_or_default();
                Err(AddError::Timeout {
                    shortage: state.pool.shortage(),
                    ahead,
                })
            }
        }
    }

    /// Gives free addresses to those who wait; returns when more may be free.
    pub(super) fn serve(&self) -> Option<Instant> {
        let next = {
            let mut state = self.state.lock();
            let now = Instant::now();
            state.pool.expire(now);
            while let Some(request) = state.queue.first().cloned() {
                let Ok(allocation) = state.allocate(&request, now) else {
                    break;
                };
                state.queue.answer(allocation);
            }
            state.pool.next_expiry().filter(|_| !state.queue.is_empty())
        };
        self.publish_waiting();
        next
    }

    fn publish_waiting(&self) {
        let waiting = self.state.lock().queue.len();
        self.waiting
            .send_if_modified(|count| std::mem::replace(count, waiting) != waiting);
    }

    fn refuse_if_deleted(&self, add: &Add) -> Result<(), AddError> {
        let key = &add.request.key;
        let mut state = self.state.lock();
        match state.tombstones.get(key) {
            Some((deleted, _)) if add.started <= *deleted => Err(AddError::Cancelled { key: key.clone() }),
            Some(_) => {
                state.tombstones.remove(key);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn ownership(&self, key: &SandboxKey, allocation: &Allocation) -> Vec<Change> {
        let state = self.state.lock();
        let rested = allocation
            .addresses
            .iter()
            .filter_map(|ip| state.pool.entry(ip))
            .map(Change::Unhold);
        rested
            .chain([Change::Own(key.clone(), allocation.clone())])
            .collect()
    }

    fn release_changes(&self, key: &SandboxKey, allocation: &Allocation) -> Vec<Change> {
        let until =
            self.environment.now() + jiff::SignedDuration::try_from(self.config.cooldown).unwrap_or_default();
        let state = self.state.lock();
        let rests = allocation.addresses.iter().filter_map(|ip| state.pool.entry(ip));
        let mut end = self.environment.uptime();
        end.since += self.config.cooldown;
        let rests = rests.map(|entry| {
            let uptime = Some(end.clone());
            Change::Hold(entry, Hold::Cooling { until, uptime })
        });
        std::iter::once(Change::Disown(key.clone()))
            .chain(rests)
            .collect()
    }
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
