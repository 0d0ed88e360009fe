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
    model::{Eni, EniAddress, EniId, EniRecord, EniState, Family, InstanceId, Limits, Subnet, SubnetId},
};

/// How long listings may lag behind what the cloud has answered: an ENI or an address that is missing for
/// less is not believed to be gone, and an order that shows no effect for longer is given again.
const LAG: Duration = Duration::from_secs(30);
/// What tells two listings apart.
const TICK: Duration = Duration::from_nanos(1);
/// How often subnets are read again.
const SUBNET_AGE: Duration = Duration::from_secs(30);

/// What is known of one ENI.
#[derive(Debug)]
struct Seen {
    eni: Option<Eni>,
    /// When our last order on it was answered; older listings say nothing.
    touched: Instant,
    /// The first and the last of the complete listings in a row without it.
    missing: Option<(Instant, Instant)>,
    /// The outcome of the last order is not known.
    doubtful: bool,
    /// Ordered and not yet listed.
    assigning: BTreeMap<IpAddr, Instant>,
    /// Ordered off and still listed.
    unassigning: BTreeMap<IpAddr, Instant>,
    /// Was listed and is not, without an order of ours: the first and the last listing without it.
    absent: BTreeMap<IpAddr, (Instant, Instant)>,
    deleting: bool,
}

impl Seen {
    fn unknown(now: Instant) -> Self {
        Self {
            eni: None,
            touched: now,
            missing: None,
            doubtful: false,
            assigning: BTreeMap::new(),
            unassigning: BTreeMap::new(),
            absent: BTreeMap::new(),
            deleting: false,
        }
    }

    /// Two complete listings do not have it, for longer than they may lag unless its deletion was ordered.
    fn is_gone(&self) -> bool {
        self.missing
            .is_some_and(|(first, last)| last >= first + if self.deleting { TICK } else { LAG })
    }

    fn is_in_flight(&self) -> bool {
        if self.is_gone() {
            return false;
        }
        let moving =
            |eni: &Eni| eni.state.is_transitional() || eni.addresses.iter().any(|address| !address.ready);
        let ordered =
            !self.assigning.is_empty() || !self.unassigning.is_empty() || self.deleting || self.doubtful;
        let absent = self.absent.values().any(|(first, last)| *last < *first + LAG);
        ordered || absent || self.missing.is_some() || self.eni.as_ref().is_none_or(moving)
    }

    /// Addresses that the cloud took away on its own, or on somebody else's order.
    fn vanished(&self) -> BTreeSet<IpAddr> {
        let gone = self
            .absent
            .iter()
            .filter(|(_, (first, last))| *last >= *first + LAG);
        gone.map(|(ip, _)| *ip).collect()
    }

    /// Takes over what a listing said that began at `asked`.
    fn learn(&mut self, listed: Option<Eni>, asked: Instant) {
        if self.touched > asked {
            return;
        }
        let Some(mut eni) = listed else {
            self.missing = Some((self.missing.map_or(asked, |(first, _)| first), asked));
            return;
        };
        self.missing = None;
        self.doubtful = false;
        if self.touched + LAG <= asked {
            self.deleting = false;
        }
        let has = |ip: &IpAddr| eni.addresses.iter().any(|address| address.ip == *ip);
        let before = self
            .eni
            .iter()
            .flat_map(Eni::secondary_addresses)
            .map(|address| address.ip);
        let missed = before.filter(|ip| !has(ip) && !self.unassigning.contains_key(ip));
        let missed: Vec<_> = missed.filter(|ip| !self.assigning.contains_key(ip)).collect();
        self.absent.retain(|ip, (_, last)| {
            *last = asked;
            !has(ip)
        });
        for ip in missed {
            self.absent.entry(ip).or_insert((asked, asked));
        }
        self.assigning
            .retain(|ip, ordered| !has(ip) && *ordered + LAG > asked);
        self.unassigning
            .retain(|ip, ordered| has(ip) && *ordered + LAG > asked);
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
    /// When the last complete listing began.
    audited: Option<Instant>,
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
        state.audited = Some(asked);
        Ok(())
    }

    /// When the last complete listing began, and our ENIs as they are known since; what a listing lacked or
    /// is being deleted is left out.
    pub(super) fn listed(&self) -> Option<(Instant, Vec<Eni>)> {
        let state = self.state.lock();
        let present = state
            .enis
            .values()
            .filter(|seen| seen.missing.is_none() && !seen.deleting);
        Some((
            state.audited?,
            present.filter_map(|seen| seen.eni.clone()).collect(),
        ))
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
            let listed = match self.cloud.enis(&EniFilter::Ids(ids.to_vec())).await {
                Ok(listed) => listed,
                // What was learned so far is not told again.
                Err(_) if !changed.is_empty() => break,
                Err(error) => return Err(error),
            };
            let mut listed: BTreeMap<_, _> = listed.into_iter().map(|eni| (eni.id.clone(), eni)).collect();
            let mut guard = self.state.lock();
            let state = &mut *guard;
            for id in ids {
                let Some(seen) = state.enis.get_mut(id) else {
                    continue;
                };
                let before = (seen.eni.clone(), seen.is_gone(), seen.is_in_flight());
                seen.learn(listed.remove(id), asked);
                if before != (seen.eni.clone(), seen.is_gone(), seen.is_in_flight())
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
        EniView::Known(Box::new(super::Observed {
            eni,
            unassigning: seen.unassigning.keys().copied().collect(),
            vanished: seen.vanished(),
            settled,
        }))
    }

    /// How many addresses the ENI of a record takes from its subnet, in all and for pods; `None` while it
    /// was not created, or once it is gone.
    pub(super) fn takes(&self, record: &EniRecord) -> Option<(u32, u32)> {
        let state = self.state.lock();
        let id = record.id.as_ref().or(state.by_name.get(&record.name))?;
        let seen = state.enis.get(id)?;
        if seen.is_gone() {
            return None;
        }
        let ordered = (record.secondary + 1, record.secondary);
        Some(match &seen.eni {
            // Before it was read, and while it is made, its addresses may not show.
            None => ordered,
            Some(eni) => {
                let all = u32::try_from(eni.addresses.len()).unwrap_or(u32::MAX);
                let pods = u32::try_from(eni.secondary_addresses().count()).unwrap_or(u32::MAX);
                let young = eni.state == EniState::Pending;
                if young {
                    (all.max(ordered.0), pods.max(ordered.1))
                } else {
                    (all, pods)
                }
            }
        })
    }

    /// The last reading of the subnets, less what was ordered since, and when it was.
    pub(super) fn last_subnets(&self) -> Option<(Instant, Vec<Subnet>)> {
        let state = self.state.lock();
        Some((state.subnets_read?, state.subnets.values().cloned().collect()))
    }

    /// What an instance can carry, if that was read already.
    pub(super) fn known_limits(&self, instance: &InstanceId) -> Option<Limits> {
        self.state.lock().limits.get(instance).copied()
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
            let read = self.cloud.subnets(&self.subnets).await;
            let mut state = self.state.lock();
            let read = match read {
                Ok(read) => read,
                Err(error) if state.subnets_read.is_some() => {
                    tracing::warn!(%error, "subnets cannot be read; the last reading is used");
                    state.subnets.values().cloned().collect()
                }
                Err(error) => return Err(error),
            };
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
        self.doubt(id, self.cloud.attach_eni(id, instance).await)?;
        self.touch(id, |seen| {
            if let Some(eni) = &mut seen.eni {
                eni.state = EniState::Attaching;
                eni.instance = Some(instance.clone());
            }
        });
        Ok(())
    }

    pub(super) async fn detach(&self, id: &EniId) -> CloudResult<()> {
        self.doubt(id, self.cloud.detach_eni(id).await)?;
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
        let assigned = self.doubt(id, self.cloud.assign_addresses(id, &request).await);
        let assigned = self.note(subnet, assigned)?;
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
        self.doubt(id, self.cloud.unassign_addresses(id, &addresses[..batch]).await)?;
        let now = Instant::now();
        self.touch(id, |seen| {
            seen.unassigning
                .extend(addresses[..batch].iter().map(|ip| (*ip, now)))
        });
        Ok(())
    }

    /// After an unknown outcome the ENI is read again before it gets another order.
    fn doubt<T>(&self, id: &EniId, result: CloudResult<T>) -> CloudResult<T> {
        if let Err(error) = &result
            && matches!(
                error.kind,
                CloudErrorKind::Unavailable | CloudErrorKind::Conflict | CloudErrorKind::NotFound
            )
        {
            self.touch(id, |seen| seen.doubtful = true);
        }
        result
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
