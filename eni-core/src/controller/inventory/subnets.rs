//! The configured subnets, with what is free in them: one reading for all nodes, only when a node grows.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::Inventory;
use crate::{
    cloud::{Allowance, Breakers, Cloud, CloudError, CloudErrorKind, CloudResult, Lane, Paced},
    model::{Subnet, SubnetId, Zone},
};

/// A plan that takes addresses is made on a reading no older than this.
const MAXIMUM_AGE: Duration = Duration::from_secs(30);
/// How long a subnet that does not exist is not asked for.
const ABSENCE: Duration = Duration::from_secs(60);

/// What a subnet is tried again with at most: an ENI with one address for a pod.
const PROBE: u32 = 2;

/// The configured subnets.
pub(super) struct Subnets {
    configured: Vec<SubnetId>,
    /// Who reads; the others wait for its result instead of reading too.
    turn: tokio::sync::Mutex<()>,
    readings: Mutex<Readings>,
}

#[derive(Debug, Default)]
struct Readings {
    subnets: BTreeMap<SubnetId, Subnet>,
    /// When the last reading began, even if it failed.
    tried: Option<Instant>,
    /// Configured and not there, until when they are not asked for.
    absent: BTreeMap<SubnetId, Instant>,
    /// Which of them are worth a call, after what came of earlier ones.
    breakers: Breakers,
}

impl Subnets {
    pub(super) fn new(configured: Vec<SubnetId>) -> Self {
        Self {
            configured,
            turn: tokio::sync::Mutex::default(),
            readings: Mutex::default(),
        }
    }

    /// Sees to it that the last reading began no earlier than `since`. If reading fails, an earlier one
    /// is used, should there be one.
    pub(super) async fn refresh(&self, cloud: &Paced, since: Instant) -> CloudResult<()> {
        let _turn = self.turn.lock().await;
        if self.readings.lock().tried.is_some_and(|tried| tried >= since) {
            return Ok(());
        }
        let asked = Instant::now();
        let read = self.read(cloud, asked).await;
        let mut readings = self.readings.lock();
        match read {
            Ok(read) => {
                readings.tried = Some(asked);
                readings.subnets = read;
            }
            Err(error) if readings.tried.is_some() => {
                readings.tried = Some(asked);
                tracing::warn!(%error, "subnets cannot be read; the last reading is used");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads all that exist.
    async fn read(&self, cloud: &Paced, now: Instant) -> CloudResult<BTreeMap<SubnetId, Subnet>> {
        let asked: Vec<_> = {
            let mut readings = self.readings.lock();
            readings.absent.retain(|_, until| *until > now);
            let known = |id: &&SubnetId| !readings.absent.contains_key(*id);
            self.configured.iter().filter(known).cloned().collect()
        };
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut found = Vec::new();
        match cloud.subnets(&asked).await {
            Ok(all) => found = all,
            // One of them was deleted: which?
            Err(error) if error.kind == CloudErrorKind::NotFound => {
                for id in asked {
                    match cloud.subnets(std::slice::from_ref(&id)).await {
                        Ok(one) => found.extend(one),
                        Err(error) if error.kind == CloudErrorKind::NotFound => self.miss(id, &error, now),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Ok(found
            .into_iter()
            .map(|subnet| (subnet.id.clone(), subnet))
            .collect())
    }

    fn miss(&self, id: SubnetId, error: &CloudError, now: Instant) {
        tracing::warn!(subnet = %id, %error, "a configured subnet does not exist; no ENI is made in it");
        self.readings.lock().absent.insert(id, now + ABSENCE);
    }

    /// Whether a call that takes addresses out of a subnet is worth it now, and how many it may ask for.
    pub(super) fn admit(&self, id: &SubnetId, count: u32) -> CloudResult<u32> {
        let now = Instant::now();
        let breakers = &mut self.readings.lock().breakers;
        match breakers.allows(id, now) {
            Allowance::Any => Ok(count),
            Allowance::Probe => {
                breakers.probing(id, now);
                Ok(count.min(1))
            }
            Allowance::None => {
                let message = "the subnet had no room or refused a moment ago, and is left alone";
                Err(CloudError::new(CloudErrorKind::NotStarted, "subnet", id, message))
            }
        }
    }

    /// Remembers for every node what came of a call that takes addresses out of a subnet. `refused`: the
    /// call failed for a reason that other calls there would meet too.
    pub(super) fn note<T>(&self, id: &SubnetId, result: &CloudResult<T>, refused: bool) {
        let now = Instant::now();
        let breakers = &mut self.readings.lock().breakers;
        match result {
            Ok(_) => breakers.succeeded(id, now),
            Err(error) if refused => {
                tracing::warn!(subnet = %id, %error, "nothing can be taken out of the subnet; it is left alone for a while");
                breakers.failed(id, now);
            }
            Err(_) => breakers.undecided(id),
        }
    }

    /// A subnet that the cloud does not know any more is not counted on with its last reading.
    pub(super) fn lost(&self, id: &SubnetId) {
        let mut readings = self.readings.lock();
        readings.subnets.remove(id);
        readings.absent.insert(id.clone(), Instant::now() + ABSENCE);
    }

    /// Counts addresses that were taken since the last reading.
    pub(super) fn take(&self, id: &SubnetId, count: u32) {
        if let Some(subnet) = self.readings.lock().subnets.get_mut(id) {
            subnet.free = subnet.free.saturating_sub(count);
        }
    }
}

impl Inventory {
    /// The subnets of a zone as they were read last; one that is not worth a call counts as empty, and one
    /// that is tried again has room for the least that can be asked.
    pub(in crate::controller) fn subnets(&self, zone: &Zone) -> Vec<Subnet> {
        let now = Instant::now();
        let readings = self.subnets.readings.lock();
        let here = readings.subnets.values().filter(|subnet| subnet.zone == *zone);
        here.map(|subnet| Subnet {
            free: match readings.breakers.allows(&subnet.id, now) {
                Allowance::Any => subnet.free,
                Allowance::Probe => subnet.free.min(PROBE),
                Allowance::None => 0,
            },
            ..subnet.clone()
        })
        .collect()
    }

    /// Subnets that are left alone.
    pub(in crate::controller) fn breakers_open(&self) -> usize {
        self.subnets.readings.lock().breakers.open().count()
    }

    /// Reads the subnets again if the last reading is too old to take addresses on it; whether it did.
    pub(in crate::controller) async fn refresh_subnets(&self) -> CloudResult<bool> {
        let now = Instant::now();
        let tried = self.subnets.readings.lock().tried;
        let stale = tried.map_or(now, |tried| tried + MAXIMUM_AGE);
        if stale > now {
            return Ok(false);
        }
        self.subnets.refresh(&self.on(Lane::Growth), stale).await?;
        Ok(true)
    }
}
