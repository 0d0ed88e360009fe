//! A claim's turn: its next step decided, and written.

use std::{collections::BTreeSet, net::IpAddr};

use tokio::time::{Instant, sleep};

use super::{Book, sight::Surroundings};
use crate::{
    cluster::{ClusterError, Event, Subject, Version, Versioned},
    controller::{PoolController, index::Index, inventory::Location, mirror::Doubt},
    model::{Claim, ClaimDefaults, ClaimPhase, ClaimRequest, NodeName, Pod, PodKey, Workload},
    policy::claim::{ClaimSight, ClaimStep, Whereabouts, decide, open},
};

/// Something to be written about a claim, or read before anything is.
#[derive(Debug)]
pub(in crate::controller) enum Job {
    /// Nobody knows what it is now.
    Read(PodKey, Doubt),
    Create(Claim),
    Write(Claim, Version),
    Delete(PodKey, Version),
}

/// What a turn came to.
enum Turn {
    Job(Box<Job>),
    /// Something has to happen first; on these nodes, if on any.
    Wait(ClaimStep, BTreeSet<NodeName>),
    Rest,
}

impl Job {
    fn key(&self) -> &PodKey {
        match self {
            Self::Read(key, _) | Self::Delete(key, _) => key,
            Self::Create(claim) | Self::Write(claim, _) => &claim.key,
        }
    }

    /// The addresses that the claim will have.
    fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Create(claim) | Self::Write(claim, _) => claim.addresses.iter().collect(),
            Self::Read(..) | Self::Delete(..) => Vec::new(),
        }
    }
}

impl PoolController {
    /// The next thing to be written about a claim; the nodes that others wait for are due.
    pub(in crate::controller) fn next_claim(&self) -> Option<Job> {
        let mut nodes = BTreeSet::new();
        let job = {
            let mut index = self.actor.desk.index();
            // Apart while it is decided, as the rest of what is known is read beside it.
            let mut book = index.book.take()?;
            let job = self.claim_job(&index, &mut book, &mut nodes);
            index.book = Some(book);
            job
        };
        if !nodes.is_empty() {
            self.actor.desk.change(|_| nodes);
        }
        job
    }

    fn claim_job(&self, index: &Index, book: &mut Book, nodes: &mut BTreeSet<NodeName>) -> Option<Job> {
        let now = Instant::now();
        while let Some(key) = book.next() {
            let waits = match self.claim_turn(index, book, &key, now) {
                Turn::Job(job) => {
                    book.wait(&key, None, now);
                    book.begin(&key, job.addresses());
                    return Some(*job);
                }
                Turn::Wait(step, concerned) => Some((step, concerned)),
                Turn::Rest => None,
            };
            let (step, concerned) = waits.unzip();
            if book.wait(&key, step, now) {
                nodes.extend(concerned.into_iter().flatten());
            }
        }
        None
    }

    fn claim_turn(&self, index: &Index, book: &mut Book, key: &PodKey, now: Instant) -> Turn {
        if let Some(doubt) = book.doubt(key) {
            return Turn::Job(Box::new(Job::Read(key.clone(), doubt)));
        }
        let Some(read) = book.claim(key).cloned() else {
            let opened = book.pod(key).and_then(|pod| self.opened(book, pod));
            return opened.map_or(Turn::Rest, |claim| Turn::Job(Box::new(Job::Create(claim))));
        };
        let Versioned {
            object: claim,
            version,
        } = read;
        let around = Surroundings {
            index,
            inventory: &self.actor.inventory,
            instances: &self.duties.instances,
            now: self.actor.environment.now(),
        };
        let mut whereabouts = around.whereabouts(&claim);
        let elsewhere = !book.hold(&claim);
        if whereabouts != Whereabouts::Unknown {
            let loose = whereabouts == Whereabouts::Free;
            claim.addresses.iter().for_each(|ip| book.loosen(ip, loose));
        }
        let refused = claim.addresses.iter().any(|ip| book.is_taken(ip, now));
        if claim.addresses.iter().any(|ip| book.is_leaving(ip)) {
            whereabouts = Whereabouts::Unknown;
        }
        if elsewhere || (refused && whereabouts == Whereabouts::Free) {
            whereabouts = Whereabouts::Taken;
        }
        let sight = ClaimSight {
            pod: book.pod(key),
            unwired: around.is_unwired(&claim, &whereabouts),
            whereabouts: &whereabouts,
            now: around.now,
        };
        let step = decide(&claim, &sight);
        if let ClaimStep::Choose(node) = &step
            && let Some(config) = &self.actor.config.claims
            && let Some((ip, subnet)) = around.choose(book, node, &config.choice(&claim.request))
        {
            let chosen = Claim {
                addresses: ip.into(),
                subnet: Some(subnet),
                phase: ClaimPhase::Assigned,
                reason: None,
                ..claim
            };
            return Turn::Job(Box::new(Job::Write(chosen, version)));
        }
        if step == ClaimStep::Delete {
            return Turn::Job(Box::new(Job::Delete(key.clone(), version)));
        }
        match self.rewritten(book, &claim, &step) {
            Some(claim) => Turn::Job(Box::new(Job::Write(claim, version))),
            None => waiting(&claim, step, index, |ip| self.actor.inventory.locate(ip)),
        }
    }

    /// The claim that a pod begins with.
    fn opened(&self, book: &Book, pod: &Pod) -> Option<Claim> {
        let request = match &pod.claim {
            Ok(request) => self.completed(book, &pod.key, request),
            Err(wrong) => {
                self.tell_pod(&pod.key, "InvalidAnnotation", wrong.clone());
                return None;
            }
        };
        let claim = open(pod, request)?;
        Some(Claim {
            workload: self.owner(pod),
            addresses: claim.request.address.into_iter().collect(),
            ..claim
        })
    }

    /// What a pod asks for, with what its namespace and the cluster say where it says nothing.
    fn completed(&self, book: &Book, pod: &PodKey, request: &ClaimRequest) -> ClaimRequest {
        let claims = self.actor.config.claims.as_ref();
        let request = ClaimDefaults::fill(request.clone(), &pod.namespace, book.defaults());
        ClaimRequest {
            policy: Some(request.policy.unwrap_or_default()),
            keep: request.keep.or(claims.and_then(|claims| claims.keep)),
            ..request
        }
    }

    /// The workload with which a pod's claim goes.
    fn owner(&self, pod: &Pod) -> Option<Workload> {
        let claims = self.actor.config.claims.as_ref();
        let owned = claims.is_some_and(|claims| claims.owned);
        pod.workload.clone().filter(|_| owned)
    }

    /// The claim as a step writes it; `None` if it writes nothing.
    fn rewritten(&self, book: &Book, claim: &Claim, step: &ClaimStep) -> Option<Claim> {
        let (pod, mut after) = (book.pod(&claim.key), claim.clone());
        match step {
            ClaimStep::Wait(reason) => {
                if claim.reason.as_ref() != Some(reason) && pod.is_some() {
                    self.tell_pod(&claim.key, "VpcIPClaimWaits", reason.clone());
                }
                after.reason = Some(reason.clone());
            }
            ClaimStep::Adopt(uid) => {
                let pod = pod?;
                after.pod = uid.clone();
                after.request = self.completed(book, &pod.key, pod.claim.as_ref().unwrap_or(&claim.request));
                after.workload = self.owner(pod);
                after.node.clone_from(&pod.node);
                (after.phase, after.expiry, after.reason) = (ClaimPhase::Pending, None, None);
            }
            ClaimStep::Bind(node) => after.node = Some(node.clone()),
            ClaimStep::Confirm => (after.phase, after.reason) = (ClaimPhase::Assigned, None),
            ClaimStep::Retain(expiry) => {
                (after.phase, after.expiry, after.reason) = (ClaimPhase::Retained, *expiry, None);
            }
            ClaimStep::Release(why) => {
                (after.phase, after.reason) = (ClaimPhase::Releasing, Some((*why).to_owned()));
            }
            ClaimStep::Forget => {
                tracing::warn!(claim = %claim.key, addresses = %claim.addresses,
                    "somebody else has the address of a claim; it gets another");
                (after.addresses, after.subnet) = Default::default();
                after.phase = ClaimPhase::Pending;
            }
            ClaimStep::Rest | ClaimStep::Choose(_) | ClaimStep::Assign(_) => return None,
            ClaimStep::Move(_) | ClaimStep::Unassign | ClaimStep::Delete => return None,
        }
        (after != *claim).then_some(after)
    }

    fn tell_pod(&self, pod: &PodKey, reason: &'static str, message: String) {
        self.actor.cluster.report(Event {
            subject: Subject::Pod(pod.clone()),
            warning: true,
            reason,
            message,
        });
    }

    /// Carries out what is to be written; whose job it was.
    pub(in crate::controller) async fn carry_claim(&self, job: Job) {
        let key = job.key().clone();
        let result = self.write_claim(job).await;
        if let Err(error) = result
            && !matches!(error, ClusterError::Conflict { .. })
        {
            tracing::warn!(claim = %key, %error, "the claim is not written yet");
            sleep(self.actor.config.backoff).await;
        }
        self.change_book(|book| {
            book.end(&key);
            BTreeSet::new()
        });
    }

    async fn write_claim(&self, job: Job) -> Result<(), ClusterError> {
        let store = self.actor.cluster.claims();
        let (key, base, written) = match job {
            Job::Read(key, doubt) => {
                let read = match store.get(&key.to_string()).await {
                    Ok(read) => Some(read),
                    Err(ClusterError::NotFound { .. }) => None,
                    Err(error) => return Err(error),
                };
                self.change_book(|book| book.settle(&key, &doubt, read));
                return Ok(());
            }
            Job::Delete(key, version) => {
                let deleted = store.delete(&key.to_string(), Some(&version)).await;
                tracing::info!(claim = %key, ?deleted, "the claim is over");
                self.change_book(|book| match &deleted {
                    Ok(()) => book.deleted(&key),
                    Err(_) => book.unanswered(&key),
                });
                return deleted;
            }
            Job::Create(claim) => (claim.key.clone(), None, store.create(claim).await),
            Job::Write(object, version) => {
                tracing::info!(claim = %object.key, pod = %object.pod, node = ?object.node,
                    addresses = %object.addresses, phase = ?object.phase, "the claim changes");
                let (key, base) = (object.key.clone(), version.clone());
                (key, Some(base), store.update(Versioned { object, version }).await)
            }
        };
        self.change_book(|book| match &written {
            Ok(read) => book.wrote(base.as_ref(), read.clone()),
            Err(ClusterError::Refused { .. }) => BTreeSet::new(),
            Err(_) => book.unanswered(&key),
        });
        written.map(drop)
    }

    pub(in crate::controller) fn change_book(&self, change: impl FnOnce(&mut Book) -> BTreeSet<NodeName>) {
        self.actor
            .desk
            .change(|index| index.book.as_mut().map(change).unwrap_or_default());
    }
}

/// Who has to do what for a claim that nothing can be written about now.
fn waiting(claim: &Claim, step: ClaimStep, index: &Index, locate: impl Fn(IpAddr) -> Location) -> Turn {
    let there = claim.addresses.iter().next().map(locate);
    let there = there.and_then(|there| index.owner(there.eni()?, None));
    match &step {
        ClaimStep::Choose(node) | ClaimStep::Assign(node) => {
            let nodes = [node.clone()].into();
            Turn::Wait(step, nodes)
        }
        ClaimStep::Move(node) => {
            let nodes = there.into_iter().chain([node.clone()]).collect();
            Turn::Wait(step, nodes)
        }
        ClaimStep::Unassign => Turn::Wait(step, there.into_iter().collect()),
        ClaimStep::Wait(_) => Turn::Wait(step, BTreeSet::new()),
        ClaimStep::Rest if claim.phase == ClaimPhase::Pending || claim.phase == ClaimPhase::Releasing => {
            Turn::Wait(step, BTreeSet::new())
        }
        _ => Turn::Rest,
    }
}
