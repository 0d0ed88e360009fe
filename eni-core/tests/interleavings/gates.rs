//! Gates before backend calls: a call waits there until the explorer lets it pass or fail.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use eni_core::{
    journal::{Change, Journal, JournalError, Memory, MemoryJournal},
    model::Mac,
    network::{
        Discrepancy, EniLink, EniSetup, Leftover, NetworkResult, NodeNetwork, PodInterface, PodRoutes,
        PodWiring, Survey, Wired,
    },
    sandbox::{Sandbox, SandboxError, Sandboxes},
    sim::{MemoryNetwork, MemorySandboxes},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Done,
    /// It is not, and says so.
    Failed,
}

/// The calls of one process that wait, by what they are. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<String, oneshot::Sender<Fate>>,
    dead: bool,
    ajar: bool,
}

impl Gates {
    /// What waits, in order.
    pub fn waiting(&self) -> Vec<String> {
        self.state.lock().waiting.keys().cloned().collect()
    }

    /// Lets one call go on.
    pub fn open(&self, call: &str, fate: Fate) {
        let waiter = self.state.lock().waiting.remove(call).expect("the call waits");
        waiter.send(fate).expect("whoever calls still waits");
    }

    /// While ajar, every call passes at once.
    pub fn set_ajar(&self, ajar: bool) {
        self.state.lock().ajar = ajar;
    }

    /// The process dies: none of its calls reaches a backend any more.
    pub fn cut(&self) {
        let mut state = self.state.lock();
        state.dead = true;
        // Dropped, they would wake the callers.
        std::mem::take(&mut state.waiting)
            .into_values()
            .for_each(std::mem::forget);
    }

    async fn pass(&self, call: String) -> Fate {
        let opened = {
            let mut state = self.state.lock();
            if state.ajar {
                return Fate::Done;
            }
            let (open, opened) = oneshot::channel();
            if state.dead {
                std::mem::forget(open);
            } else {
                let twin = state.waiting.insert(call.clone(), open);
                assert!(twin.is_none(), "two calls at once are {call}");
            }
            opened
        };
        opened.await.expect("a gate is opened or forgotten")
    }
}

/// A journal behind gates.
pub struct GatedJournal {
    pub journal: MemoryJournal,
    pub gates: Gates,
}

#[async_trait]
impl Journal for GatedJournal {
    async fn load(&self) -> Result<Memory, JournalError> {
        self.journal.load().await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        if changes.is_empty() {
            return Ok(());
        }
        match self.gates.pass(format!("commit {}", title(&changes))).await {
            Fate::Done => self.journal.commit(changes).await,
            Fate::Failed => Err(JournalError {
                journal: "behind a gate".to_owned(),
                message: "the disk is full".to_owned(),
            }),
        }
    }
}

/// What tells one commit from another that may wait at the same time.
fn title(changes: &[Change]) -> String {
    let titles = changes.iter().map(|change| match change {
        Change::Own(key, _) => format!("own {}", key.container),
        Change::Disown(key) => format!("disown {}", key.container),
        Change::Hold(entry, _) => format!("hold {}", entry.ip),
        Change::Unhold(entry) => format!("unhold {}", entry.ip),
        _ => "pool".to_owned(),
    });
    titles.collect::<Vec<_>>().join(", ")
}

/// A node's network behind gates, where a call changes or reads pods.
pub struct GatedNetwork {
    pub network: Arc<MemoryNetwork>,
    pub gates: Gates,
    /// Who calls: the plugin of which call, or the agent.
    pub caller: String,
}

impl GatedNetwork {
    async fn pass(&self, call: &str, subject: &str) {
        self.gates.pass(format!("{} {call} {subject}", self.caller)).await;
    }
}

#[async_trait]
impl NodeNetwork for GatedNetwork {
    async fn ensure_eni(&self, eni: &EniSetup) -> NetworkResult<EniLink> {
        self.network.ensure_eni(eni).await
    }

    async fn remove_eni(&self, mac: Mac) -> NetworkResult<()> {
        self.network.remove_eni(mac).await
    }

    async fn wire(&self, wiring: &PodWiring) -> NetworkResult<Wired> {
        self.pass("wire", &wiring.interface.key.container).await;
        self.network.wire(wiring).await
    }

    async fn unwire(&self, interface: &PodInterface) -> NetworkResult<()> {
        self.pass("unwire", &interface.key.container).await;
        self.network.unwire(interface).await
    }

    async fn verify(&self, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>> {
        self.network.verify(wiring).await
    }

    async fn maintain(&self) -> NetworkResult<()> {
        self.network.maintain().await
    }

    async fn survey(&self) -> NetworkResult<Survey> {
        self.pass("survey", "").await;
        self.network.survey().await
    }

    async fn repair(&self, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>> {
        self.network.repair(pods).await
    }

    async fn clear(&self, leftover: Leftover) -> NetworkResult<()> {
        self.pass("clear", &format!("{leftover:?}")).await;
        self.network.clear(leftover).await
    }

    async fn list(&self) -> NetworkResult<Vec<String>> {
        self.network.list().await
    }
}

/// A runtime behind a gate.
pub struct GatedSandboxes {
    pub sandboxes: Arc<MemorySandboxes>,
    pub gates: Gates,
}

#[async_trait]
impl Sandboxes for GatedSandboxes {
    async fn list(&self) -> Result<Vec<Sandbox>, SandboxError> {
        self.gates.pass("list sandboxes".to_owned()).await;
        self.sandboxes.list().await
    }
}
