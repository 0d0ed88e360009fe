//! The objects of static addresses, kept in line with the claims.
//!
//! They decide nothing, so a write that meets another writer is simply made again over what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tokio::time::sleep;

use crate::{
    cluster::{ClusterError, ClusterResult, Object, Versioned, WatchEvent},
    controller::PoolController,
    model::AddressRecord,
};

/// Which objects there are, and which may not be as they should.
#[derive(Debug, Default)]
pub(in crate::controller) struct Records {
    shown: BTreeMap<String, Versioned<AddressRecord>>,
    /// They were read once: before, one that is not known may be there.
    read: bool,
    stale: BTreeSet<IpAddr>,
    busy: BTreeSet<IpAddr>,
}

/// An object that is to be written.
#[derive(Debug)]
pub(in crate::controller) struct RecordJob {
    ip: IpAddr,
    is: Option<Versioned<AddressRecord>>,
    wanted: Option<AddressRecord>,
}

impl Records {
    /// What is said of an address may not hold any more.
    pub(super) fn doubt(&mut self, ip: IpAddr) {
        self.stale.insert(ip);
    }

    pub(in crate::controller) fn apply(&mut self, event: WatchEvent<AddressRecord>) {
        match event {
            WatchEvent::Reset(all) => {
                let before = std::mem::take(&mut self.shown);
                self.stale.extend(before.values().map(|read| read.object.ip));
                self.read = true;
                all.into_iter().for_each(|read| self.show(read));
            }
            WatchEvent::Applied(read) => self.show(read),
            WatchEvent::Deleted(record) => {
                self.shown.remove(&record.key());
                self.stale.insert(record.ip);
            }
        }
    }

    fn show(&mut self, read: Versioned<AddressRecord>) {
        self.stale.insert(read.object.ip);
        self.shown.insert(read.object.key(), read);
    }

    /// The next object that is not as `wanted` says.
    fn next(&mut self, wanted: impl Fn(IpAddr) -> Option<AddressRecord>) -> Option<RecordJob> {
        if !self.read {
            return None;
        }
        while let Some(ip) = self.stale.iter().find(|ip| !self.busy.contains(ip)).copied() {
            self.stale.remove(&ip);
            let is = self.shown.get(&AddressRecord::name(ip)).cloned();
            let wanted = wanted(ip);
            let right = match (&is, &wanted) {
                (None, None) => true,
                (Some(is), None) => is.object.claim.is_none(),
                (is, Some(wanted)) => is.as_ref().is_some_and(|is| is.object == *wanted),
            };
            if !right {
                self.busy.insert(ip);
                return Some(RecordJob { ip, is, wanted });
            }
        }
        None
    }

    /// An object is now this, by our writing or by reading it; or its state is not known.
    fn end(&mut self, ip: IpAddr, now: Option<Option<Versioned<AddressRecord>>>) {
        match now {
            Some(Some(read)) => drop(self.shown.insert(read.object.key(), read)),
            Some(None) => drop(self.shown.remove(&AddressRecord::name(ip))),
            None => {}
        }
        self.busy.remove(&ip);
        self.stale.insert(ip);
    }
}

impl PoolController {
    /// The next object of an address that is to be written.
    pub(in crate::controller) fn next_record(&self) -> Option<RecordJob> {
        let mut index = self.actor.desk.index();
        let book = index.book.as_mut()?;
        let holders = &book.holders;
        let claims = &book.claims;
        book.records.next(|ip| {
            let claim = claims.get(&holders.get(&ip)?.to_string())?;
            Some(AddressRecord::of(&claim.object, ip))
        })
    }

    /// Writes the object of an address.
    pub(in crate::controller) async fn carry_record(&self, job: RecordJob) {
        let ip = job.ip;
        let now = match self.write_record(job).await {
            Ok(now) => Some(now),
            Err(error) => {
                tracing::warn!(%ip, %error, "the VpcIP is not written yet");
                sleep(self.actor.config.backoff).await;
                None
            }
        };
        if let Some(book) = &mut self.actor.desk.index().book {
            book.records.end(ip, now);
        }
    }

    async fn write_record(&self, job: RecordJob) -> ClusterResult<Option<Versioned<AddressRecord>>> {
        let store = self.actor.cluster.address_records();
        let key = AddressRecord::name(job.ip);
        let written = match (job.is, job.wanted) {
            (None, None) => Ok(None),
            (None, Some(wanted)) => store.create(wanted).await.map(Some),
            (Some(Versioned { version, .. }), Some(object)) => {
                store.update(Versioned { object, version }).await.map(Some)
            }
            (Some(is), None) => store.delete(&key, Some(&is.version)).await.map(|()| None),
        };
        let Err(ClusterError::Conflict { .. } | ClusterError::NotFound { .. }) = written else {
            return written;
        };
        match store.get(&key).await {
            Ok(read) => Ok(Some(read)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
