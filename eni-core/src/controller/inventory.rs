//! What we know of the cloud: our ENIs, the orders under way on them, subnets and limits.
//!
//! Orders go through here, so that their effect is known before a listing shows it; one loop reads
//! what has an order under way, for all nodes together.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::plan::EniView;
use crate::{
    cloud::{AssignAddresses, Cloud, CloudErrorKind, CloudResult, CreateEni, EniFilter},
    model::{Eni, EniAddress, EniId, EniState, Family, InstanceId, Limits, Subnet, SubnetId},
};

/// How long an address that the cloud said it assigned may be missing in listings before it counts as
/// not assigned after all.
const ASSIGNMENT_LAG: Duration = Duration::from_secs(30);
/// How often subnets and limits are read again.
const SUBNET_AGE: Duration = Duration::from_secs(30);

/// What is known of one ENI.
#[derive(Debug)]
struct Seen {
    eni: Option<Eni>,
    /// When our last order on it was answered; older listings say nothing.
    touched: Instant,
    /// Complete listings in a row without it.
    misses: u8,
    /// Ordered and not yet listed.
    assigning: BTreeMap<IpAddr, Instant>,
    /// Ordered off and still listed.
    unassigning: BTreeSet<IpAddr>,
    deleting: bool,
}

impl Seen {
    fn unknown(now: Instant) -> Self {
        Self {
            eni: None,
            touched: now,
            misses: 0,
            assigning: BTreeMap::new(),
            unassigning: BTreeSet::new(),
            deleting: false,
        }
    }

    /// Two complete listings without it.
    fn is_gone(&self) -> bool {
        self.misses >= 2
    }

    fn is_in_flight(&self) -> bool {
        let Some(eni) = &self.eni else {
            return !self.is_gone();
        };
        let moving = eni.state.is_transitional() || eni.addresses.iter().any(|address| !address.ready);
        !self.is_gone()
            && (moving
                || self.deleting
                || self.misses > 0
                || !self.assigning.is_empty()
                || !self.unassigning.is_empty())
    }

    /// Takes over what a listing said that began at `asked`.
    fn learn(&mut self, listed: Option<Eni>, asked: Instant) {
        if self.touched > asked {
            return;
        }
        let Some(mut eni) = listed else {
            self.misses = self.misses.saturating_add(1);
            return;
        };
        self.misses = 0;
        let has = |ip: &IpAddr| eni.addresses.iter().any(|address| address.ip == *ip);
        self.assigning
            .retain(|ip, ordered| !has(ip) && *ordered + ASSIGNMENT_LAG > asked);
        self.unassigning.retain(has);
        let coming = self.assigning.keys().map(|ip| EniAddress {
            ip: *ip,
            primary: false,
            ready: false,
        });
        eni.addresses.extend(coming);
        self.eni = Some(eni);
    }
}

#[derive(Debug, Default)]
struct State {
    enis: BTreeMap<EniId, Seen>,
    by_name: BTreeMap<String, EniId>,
    subnets: BTreeMap<SubnetId, Subnet>,
    subnets_read: Option<Instant>,
    exhausted: BTreeMap<SubnetId, Instant>,
    limits: BTreeMap<InstanceId, Limits>,
}

/// What we know of the cloud.
pub(super) struct Inventory {
    cloud: Arc<dyn Cloud>,
    subnets: Vec<SubnetId>,
    tags: BTreeMap<String, String>,
    exhaustion: Duration,
    state: Mutex<State>,
}

impl Inventory {
    pub(super) fn new(cloud: Arc<dyn Cloud>, config: &super::PoolConfig) -> Self {
        Self {
            cloud,
            subnets: config.subnets.clone(),
            tags: config.tags.clone(),
            exhaustion: super::PoolConfig::EXHAUSTION,
            state: Mutex::default(),
        }
    }

    /// Reads all of our ENIs.
    pub(super) async fn audit(&self) -> CloudResult<()> {
        let asked = Instant::now();
        let listed = self.cloud.enis(&EniFilter::Tags(self.tags.clone())).await?;
        let mut listed: BTreeMap<_, _> = listed.into_iter().map(|eni| (eni.id.clone(), eni)).collect();
        let mut state = self.state.lock();
        for (id, seen) in &mut state.enis {
            seen.learn(listed.remove(id), asked);
        }
        for (id, eni) in listed {
            state.by_name.insert(eni.name.clone(), id.clone());
            state
                .enis
                .entry(id)
                .or_insert_with(|| Seen::unknown(asked))
                .learn(Some(eni), asked);
        }
        Ok(())
    }

    /// Reads the ENIs with an order under way; which of them changed.
    pub(super) async fn poll(&self) -> CloudResult<Vec<String>> {
        let in_flight: Vec<EniId> = {
            let state = self.state.lock();
            state
                .enis
                .iter()
                .filter(|(_, seen)| seen.is_in_flight())
                .map(|(id, _)| id.clone())
                .collect()
        };
        let mut changed = Vec::new();
        for ids in in_flight.chunks(self.cloud.capabilities().describe_batch.max(1)) {
            let asked = Instant::now();
            let listed = self.cloud.enis(&EniFilter::Ids(ids.to_vec())).await?;
            let mut listed: BTreeMap<_, _> = listed.into_iter().map(|eni| (eni.id.clone(), eni)).collect();
            let mut guard = self.state.lock();
            let state = &mut *guard;
            for id in ids {
                let Some(seen) = state.enis.get_mut(id) else {
                    continue;
                };
                let (before, gone) = (seen.eni.clone(), seen.is_gone());
                seen.learn(listed.remove(id), asked);
                if (seen.eni != before || seen.is_gone() != gone)
                    && let Some(eni) = &seen.eni
                {
                    state.by_name.insert(eni.name.clone(), id.clone());
                    changed.push(eni.name.clone());
                }
            }
        }
        Ok(changed)
    }

    /// What is known of the ENI of a record.
    pub(super) fn view(&self, id: Option<&EniId>, name: &str) -> EniView {
        let mut state = self.state.lock();
        let Some(id) = id.or(state.by_name.get(name)).cloned() else {
            return EniView::Absent;
        };
        let seen = state
            .enis
            .entry(id)
            .or_insert_with(|| Seen::unknown(Instant::now()));
        if seen.is_gone() {
            return EniView::Gone;
        }
        let Some(eni) = seen.eni.clone() else {
            return EniView::Unknown;
        };
        let settled = !seen.is_in_flight();
        EniView::Known(super::Observed {
            eni,
            unassigning: seen.unassigning.clone(),
            settled,
        })
    }

    /// Forgets an ENI that is gone.
    pub(super) fn forget(&self, id: &EniId, name: &str) {
        let mut state = self.state.lock();
        state.enis.remove(id);
        state.by_name.remove(name);
    }

    /// The subnets of a zone with what is free of them; one that ran out a moment ago counts as empty.
    pub(super) async fn subnets(&self, zone: &crate::model::Zone) -> CloudResult<Vec<Subnet>> {
        let now = Instant::now();
        let fresh = self
            .state
            .lock()
            .subnets_read
            .is_some_and(|read| read + SUBNET_AGE > now);
        if !fresh {
            let read = self.cloud.subnets(&self.subnets).await?;
            let mut state = self.state.lock();
            state.subnets = read
                .into_iter()
                .map(|subnet| (subnet.id.clone(), subnet))
                .collect();
            state.subnets_read = Some(now);
            state.exhausted.retain(|_, until| *until > now);
        }
        let state = self.state.lock();
        let here = state.subnets.values().filter(|subnet| subnet.zone == *zone);
        Ok(here
            .map(|subnet| {
                let out = state.exhausted.get(&subnet.id).is_some_and(|until| *until > now);
                Subnet {
                    free: if out { 0 } else { subnet.free },
                    ..subnet.clone()
                }
            })
            .collect())
    }

    /// What an instance can carry.
    pub(super) async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        if let Some(limits) = self.state.lock().limits.get(instance) {
            return Ok(*limits);
        }
        let limits = self.cloud.limits(instance).await?;
        self.state.lock().limits.insert(instance.clone(), limits);
        Ok(limits)
    }

    pub(super) async fn create(&self, request: &CreateEni) -> CloudResult<Eni> {
        if !self.cloud.capabilities().client_tokens {
            // An earlier creation of this name may have gone unanswered.
            self.audit().await?;
            let state = self.state.lock();
            let known = state
                .by_name
                .get(&request.name)
                .and_then(|id| state.enis.get(id)?.eni.clone());
            if let Some(eni) = known {
                return Ok(eni);
            }
        }
        let created = self.cloud.create_eni(request).await;
        let eni = self.note(&request.subnet, created)?;
        let mut state = self.state.lock();
        let seen = state
            .enis
            .entry(eni.id.clone())
            .or_insert_with(|| Seen::unknown(Instant::now()));
        seen.eni = Some(eni.clone());
        seen.touched = Instant::now();
        state.by_name.insert(eni.name.clone(), eni.id.clone());
        take(&mut state, &eni.subnet, request.secondary + 1);
        Ok(eni)
    }

    pub(super) async fn attach(&self, id: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.cloud.attach_eni(id, instance).await?;
        self.touch(id, |seen| {
            if let Some(eni) = &mut seen.eni {
                eni.state = EniState::Attaching;
                eni.instance = Some(instance.clone());
            }
        });
        Ok(())
    }

    pub(super) async fn detach(&self, id: &EniId) -> CloudResult<()> {
        self.cloud.detach_eni(id).await?;
        self.touch(id, |seen| {
            seen.eni
                .iter_mut()
                .for_each(|eni| eni.state = EniState::Detaching)
        });
        Ok(())
    }

    pub(super) async fn delete(&self, id: &EniId) -> CloudResult<()> {
        match self.cloud.delete_eni(id).await {
            Err(error) if error.kind != CloudErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.touch(id, |seen| {
            seen.deleting = true;
            seen.eni.iter_mut().for_each(|eni| eni.state = EniState::Deleting);
        });
        Ok(())
    }

    pub(super) async fn assign(&self, id: &EniId, subnet: &SubnetId, count: u32) -> CloudResult<Vec<IpAddr>> {
        let count = count.min(self.cloud.capabilities().assign_batch.max(1));
        let request = AssignAddresses::Count(Family::V4, count);
        let assigned = self.note(subnet, self.cloud.assign_addresses(id, &request).await)?;
        self.touch(id, |seen| {
            let now = Instant::now();
            for ip in &assigned {
                seen.assigning.insert(*ip, now);
                if let Some(eni) = &mut seen.eni {
                    eni.addresses.push(EniAddress {
                        ip: *ip,
                        primary: false,
                        ready: false,
                    });
                }
            }
        });
        take(&mut self.state.lock(), subnet, count);
        Ok(assigned)
    }

    pub(super) async fn unassign(&self, id: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        // One order at a time on an ENI: the rest follows once this one is done.
        let batch = addresses
            .len()
            .min(self.cloud.capabilities().unassign_batch.max(1) as usize);
        self.cloud.unassign_addresses(id, &addresses[..batch]).await?;
        self.touch(id, |seen| seen.unassigning.extend(&addresses[..batch]));
        Ok(())
    }

    fn touch(&self, id: &EniId, change: impl FnOnce(&mut Seen)) {
        let mut state = self.state.lock();
        let seen = state
            .enis
            .entry(id.clone())
            .or_insert_with(|| Seen::unknown(Instant::now()));
        seen.touched = Instant::now();
        change(seen);
    }

    /// Remembers that a subnet ran out, for every node.
    fn note<T>(&self, subnet: &SubnetId, result: CloudResult<T>) -> CloudResult<T> {
        if let Err(error) = &result
            && matches!(error.kind, CloudErrorKind::Exhausted { .. })
        {
            tracing::warn!(%subnet, %error, "subnet has run out; another one is used for a while");
            self.state
                .lock()
                .exhausted
                .insert(subnet.clone(), Instant::now() + self.exhaustion);
        }
        result
    }
}

fn take(state: &mut State, subnet: &SubnetId, count: u32) {
    if let Some(subnet) = state.subnets.get_mut(subnet) {
        subnet.free = subnet.free.saturating_sub(count);
    }
}
