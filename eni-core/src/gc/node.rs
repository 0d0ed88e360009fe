//! A node's collector: owners that nobody uses, and what serves nobody in the kernel.
//!
//! Reclaiming an owner is a DEL that nobody sent: under the interface's own lock, which it never waits
//! for, after another look.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Collector, NoEvidence, Sweep, View, judge, unlisted};
use crate::{
    agent::{NodePods, NodeService},
    model::{Allocation, SandboxKey},
    network::{Leftover, NodeNetwork, Survey, WiredPod},
    sandbox::Sandboxes,
};

/// The usual pause between two rounds. Garbage goes after two of them, and after
/// [`MINIMUM_AGE`](super::MINIMUM_AGE) at the earliest.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// Collects a node's garbage.
pub struct NodeCollector {
    service: Arc<NodeService>,
    network: Arc<dyn NodeNetwork>,
    sandboxes: Arc<dyn Sandboxes>,
    pods: Arc<NodePods>,
    past: Mutex<Past>,
}

/// What earlier rounds saw.
#[derive(Debug, Default)]
struct Past {
    /// Since when each owner has owned what it owns.
    since: BTreeMap<SandboxKey, (Allocation, Instant)>,
    /// Owners that the last round found dead.
    suspects: BTreeMap<SandboxKey, Allocation>,
    /// What the last round found in the kernel without use.
    strays: BTreeSet<Stray>,
}

/// Something in the kernel that serves nobody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stray {
    Pod(SandboxKey),
    Leftover(Leftover),
}

impl NodeCollector {
    /// A collector beside a service.
    pub fn new(
        service: Arc<NodeService>,
        network: Arc<dyn NodeNetwork>,
        sandboxes: Arc<dyn Sandboxes>,
        pods: Arc<NodePods>,
    ) -> Self {
        Self {
            service,
            network,
            sandboxes,
            pods,
            past: Mutex::default(),
        }
    }

    /// A round every `pause`, until it is dropped; [`INTERVAL`] is usual.
    pub async fn run(&self, pause: Duration) {
        let mut tick = interval(pause);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.collect().await {
                tracing::info!(%error, "garbage is looked for later");
            }
        }
    }

    /// CNI's GC: reclaims the owners of a network that are not among `attachments` (container and
    /// interface), which the runtime says are all. What lives by the kernel's evidence is kept, and
    /// other networks are not touched.
    pub async fn collect_network(
        &self,
        network: &str,
        attachments: &BTreeSet<(Arc<str>, Arc<str>)>,
    ) -> Result<Sweep, NoEvidence> {
        self.refuse_while_recovering()?;
        // Owners first: whoever is not in flight by then is on the wire, and is seen there.
        let mut view = self.owners();
        // Twice, as a busy kernel may leave something out.
        for _ in 0..2 {
            view.wired.extend(wired(&self.survey().await?));
        }
        let mut sweep = Sweep::default();
        for (key, death) in unlisted(&view, network, attachments) {
            let (allocation, _) = &view.owners[&key];
            let why = format!("{death}, and the runtime does not list it for network {network}");
            self.reclaim(&key, allocation, &why, &mut sweep).await;
        }
        Ok(sweep)
    }

    fn refuse_while_recovering(&self) -> Result<(), NoEvidence> {
        match self.service.recovering() {
            true => Err(NoEvidence(
                "the node's owners are still being looked for".to_owned(),
            )),
            false => Ok(()),
        }
    }

    async fn survey(&self) -> Result<Survey, NoEvidence> {
        let survey = self.network.survey().await;
        survey.map_err(|error| NoEvidence(error.to_string()))
    }

    /// The owners, with what earlier rounds know of them, and the calls under way.
    fn owners(&self) -> View {
        let now = Instant::now();
        let mut past = self.past.lock();
        let (mut owners, mut busy) = (BTreeMap::new(), BTreeSet::new());
        for (key, allocation) in self.service.owners() {
            if self.service.is_busy(&key) {
                busy.insert(key.clone());
            }
            let seen = past.since.get(&key).filter(|(seen, _)| *seen == allocation);
            let since = seen.map_or(now, |(_, since)| *since);
            owners.insert(key, (allocation, since));
        }
        past.since.clone_from(&owners);
        View {
            owners,
            busy,
            waiting: self.service.requests(),
            boot: self.service.boot().clone(),
            ..View::default()
        }
    }

    async fn reclaim(&self, key: &SandboxKey, allocation: &Allocation, why: &str, sweep: &mut Sweep) {
        let addresses = allocation.addresses;
        match self.service.reclaim(key, allocation, &*self.network).await {
            Ok(true) => {
                tracing::warn!(%key, %addresses, why, "reclaimed what no DEL released");
                sweep.reclaimed.push(format!("{addresses} of {key}: {why}"));
            }
            // Somebody else came first; the next round looks again.
            Ok(false) => sweep.suspected += 1,
            Err(error) => {
                tracing::warn!(%key, %addresses, why, %error, "garbage could not be reclaimed");
                sweep.failed.push(format!("{addresses} of {key}: {error}"));
            }
        }
    }

    /// Removes from the kernel what this round and the one before found without use.
    async fn clean(&self, survey: &Survey, view: &View, sweep: &mut Sweep) {
        let found = strays(survey, view);
        let before = std::mem::replace(&mut self.past.lock().strays, found.keys().cloned().collect());
        for (stray, pod) in found {
            if !before.contains(&stray) {
                sweep.suspected += 1;
                continue;
            }
            let removed = match (&stray, pod) {
                (Stray::Pod(_), Some(pod)) => self.service.strip(pod, &*self.network).await,
                (Stray::Leftover(leftover), _) => self.service.clear(*leftover, &*self.network).await,
                (Stray::Pod(_), None) => Ok(false),
            };
            match removed {
                Ok(true) => {
                    tracing::warn!(%stray, "removed from the kernel, where it served nobody");
                    sweep.reclaimed.push(format!("{stray}: it served nobody"));
                }
                Ok(false) => sweep.suspected += 1,
                Err(error) => {
                    tracing::warn!(%stray, %error, "it serves nobody and could not be removed");
                    sweep.failed.push(format!("{stray}: {error}"));
                }
            }
        }
    }
}

#[async_trait]
impl Collector for NodeCollector {
    async fn collect(&self) -> Result<Sweep, NoEvidence> {
        self.refuse_while_recovering()?;
        // The kernel before the owners: a device that is seen and not owned was not just given.
        let survey = self.survey().await?;
        let sandboxes = self.sandboxes.list().await;
        let sandboxes = sandboxes.map_err(|error| NoEvidence(error.to_string()))?;
        let pods = self.pods.all();
        let pods = pods.ok_or_else(|| NoEvidence("the node's pods are not known yet".to_owned()))?;
        let view = View {
            wired: wired(&survey).collect(),
            sandboxes,
            pods,
            ..self.owners()
        };
        let verdicts = judge(&view, Instant::now());
        let owned = |key: &SandboxKey| view.owners[key].0.clone();
        let suspects = verdicts.keys().map(|key| (key.clone(), owned(key))).collect();
        let before = std::mem::replace(&mut self.past.lock().suspects, suspects);
        let mut sweep = Sweep::default();
        for (key, evidence) in verdicts {
            let (allocation, _) = &view.owners[&key];
            if before.get(&key) == Some(allocation) {
                self.reclaim(&key, allocation, &evidence.to_string(), &mut sweep)
                    .await;
            } else {
                sweep.suspected += 1;
            }
        }
        self.clean(&survey, &view, &mut sweep).await;
        Ok(sweep)
    }
}

fn wired(survey: &Survey) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
    let pods = survey.pods.iter();
    pods.map(|pod| (pod.key.container.clone(), pod.key.interface.clone()))
}

/// What of ours in the kernel serves nobody: devices that nobody owns, unless the runtime says that the
/// sandbox runs, and what has no device. Rules of an owned address go with its owner.
fn strays<'a>(survey: &'a Survey, view: &View) -> BTreeMap<Stray, Option<&'a WiredPod>> {
    let owners = view.owners.keys();
    let owned: BTreeSet<_> = owners.map(|key| (&key.container, &key.interface)).collect();
    let addresses = view.owners.values().flat_map(|(owned, _)| owned.addresses.iter());
    let addresses: BTreeSet<_> = addresses.map(Leftover::Address).collect();
    let running = view.sandboxes.iter().filter(|sandbox| sandbox.ready);
    let running: BTreeSet<_> = running.map(|sandbox| &sandbox.container).collect();
    let pods = survey.pods.iter().filter(|pod| {
        !owned.contains(&(&pod.key.container, &pod.key.interface)) && !running.contains(&pod.key.container)
    });
    let pods = pods.map(|pod| (Stray::Pod(pod.key.clone()), Some(pod)));
    let leftovers = survey
        .leftovers
        .iter()
        .filter(|leftover| !addresses.contains(leftover));
    pods.chain(leftovers.map(|leftover| (Stray::Leftover(*leftover), None)))
        .collect()
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "the device of {key}"),
            Self::Leftover(Leftover::Address(ip)) => write!(f, "rules of {ip}"),
            Self::Leftover(Leftover::Table(table)) => write!(f, "routing table {table}"),
        }
    }
}

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCollector").finish_non_exhaustive()
    }
}
