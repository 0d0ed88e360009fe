//! The node service: what it holds, how it is opened, and what it knows of an interface.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Grant, ServiceConfig,
    keyed::{KeyedGuard, KeyedLocks},
    queue::Queue,
    restore::{Clocks, Restored, restore},
    status::Tally,
};
use crate::{
    allocator::{AddressRequest, Allocator, PoolAllocator, Shortage},
    env::Environment,
    journal::{Change, Journal, JournalError, Memory},
    model::{Allocation, EniId, Families, Netns, NodePool, PoolEni, SandboxKey},
    network::EniLink,
};

/// Keeps DEL and a second ADD of the same interface waiting while its ADD is still wiring the pod.
/// To be dropped when the plugin hangs up.
#[derive(Debug)]
pub struct WiringGuard {
    pub(super) _guard: KeyedGuard<SandboxKey>,
}

/// Gives a node's addresses to its sandboxes, in the order in which they asked.
///
/// An answer is given only after the journal has it. No lock is held across an await but the one of
/// the interface itself. Nothing runs on its own but the commit of an ADD or DEL whose caller may hang
/// up; whoever embeds the service runs [`run`](Self::run), a [`Dialogue`](super::Dialogue) and a
/// collector beside it.
pub struct NodeService {
    journal: Arc<dyn Journal>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) config: ServiceConfig,
    /// The boot it runs in.
    pub(super) boot: Arc<str>,
    pub(super) interfaces: KeyedLocks<SandboxKey>,
    pub(super) state: Mutex<State>,
    pub(super) waiting: watch::Sender<usize>,
    pub(super) wake: Notify,
    /// An address of a claim was released, which ipamd waits for.
    pub(super) offered: Notify,
}

pub(super) struct State {
    pub(super) pool: PoolAllocator,
    pub(super) published: NodePool,
    /// The ENIs in service.
    pub(super) enis: BTreeMap<EniId, (PoolEni, EniLink)>,
    pub(super) queue: Queue,
    /// When the latest DEL of an interface started by the boot clock, and when we learned of it.
    pub(super) tombstones: HashMap<SandboxKey, (Duration, Instant)>,
    /// The journal was empty, and what the node knew was not gathered from elsewhere yet.
    pub(super) recovering: bool,
    /// Why the last commit failed.
    pub(super) journal: Option<JournalError>,
    pub(super) tally: Tally,
}

impl State {
    /// An address of an ENI in service; also for one who owns it already.
    pub(super) fn allocate(
        &mut self,
        request: &AddressRequest,
        now: Instant,
    ) -> Result<Allocation, Shortage> {
        if self.recovering {
            return Err(Shortage::Recovering);
        }
        let allocation = self.pool.allocate(request, now)?;
        if self.enis.contains_key(&allocation.eni) {
            Ok(allocation)
        } else {
            Err(Shortage::NoEni)
        }
    }

    /// Why there is nothing for an interface.
    pub(super) fn shortage(&self, key: &SandboxKey) -> Shortage {
        match self.pool.owned(key) {
            _ if self.recovering => Shortage::Recovering,
            Some(owned) => Shortage::OutOfService {
                eni: owned.eni.clone(),
            },
            None => self.pool.shortage(),
        }
    }
}

impl NodeService {
    /// Opens the service on what the journal remembers.
    ///
    /// Until [`accept`](Self::accept) puts ENIs into service, owners are known but nothing is given
    /// out. A journal that remembers nothing may have been lost while pods run: nothing is given out
    /// until [`recover`](Self::recover) was told who else knows of them.
    pub async fn open(
        journal: Arc<dyn Journal>,
        environment: Arc<dyn Environment>,
        config: ServiceConfig,
    ) -> Result<Arc<Self>, JournalError> {
        let memory = journal.load().await?;
        let recovering = memory == Memory::default();
        let clocks = Clocks {
            now: Instant::now(),
            wall: environment.now(),
            uptime: environment.uptime(),
        };
        let Restored {
            pool,
            published,
            stale,
        } = restore(memory, config.cooldown, &clocks);
        if !stale.is_empty() {
            journal
                .commit(stale.into_iter().map(Change::Unhold).collect())
                .await?;
        }
        let counts = pool.counts();
        tracing::info!(?counts, recovering, "journal read");
        let state = State {
            pool,
            published,
            enis: BTreeMap::new(),
            queue: Queue::default(),
            tombstones: HashMap::new(),
            recovering,
            journal: None,
            tally: Tally::default(),
        };
        Ok(Arc::new(Self {
            journal,
            environment,
            config,
            boot: clocks.uptime.boot,
            interfaces: KeyedLocks::new(),
            state: Mutex::new(state),
            waiting: watch::Sender::new(0),
            wake: Notify::new(),
            offered: Notify::new(),
        }))
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

    /// The id of the boot that the service runs in.
    pub fn boot(&self) -> &Arc<str> {
        &self.boot
    }

    /// Every owner with what it owns, in order.
    pub fn owners(&self) -> Vec<(SandboxKey, Allocation)> {
        let state = self.state.lock();
        let owners = state.pool.owners();
        owners.map(|(key, owned)| (key.clone(), owned.clone())).collect()
    }

    /// What sandboxes wait for, in no order.
    pub fn requests(&self) -> Vec<AddressRequest> {
        self.state.lock().queue.requests().cloned().collect()
    }

    /// The container of every owner with its namespace, where the plugin told it; for
    /// [`NamespaceSandboxes`](crate::sandbox::NamespaceSandboxes).
    pub fn namespaces(&self) -> Vec<(Arc<str>, Option<Netns>)> {
        let state = self.state.lock();
        let namespace = |owned: &Allocation| owned.origin.as_ref()?.netns.clone();
        let owners = state.pool.owners();
        owners
            .map(|(key, owned)| (key.container.clone(), namespace(owned)))
            .collect()
    }

    /// Whether a call for an interface is under way: an ADD, until its pod is wired, a DEL, a removal.
    pub fn is_busy(&self, key: &SandboxKey) -> bool {
        self.interfaces.is_busy(key)
    }

    /// The number of sandboxes that wait for an address, now and as it changes. Those that own one and
    /// wait for its ENI are not among them; those that wait for their claim's are.
    pub fn waiting(&self) -> watch::Receiver<usize> {
        self.waiting.subscribe()
    }

    /// Makes changes durable, and remembers whether that works.
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let result = self.journal.commit(changes).await;
        self.state.lock().journal = result.as_ref().err().cloned();
        result
    }
}

/// The task of a commit ended without an answer.
pub(super) fn abandoned(error: tokio::task::JoinError) -> JournalError {
    JournalError {
        journal: "node journal".to_owned(),
        message: format!("the commit was abandoned ({error}); restart the agent"),
    }
}

impl std::fmt::Debug for NodeService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeService")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
