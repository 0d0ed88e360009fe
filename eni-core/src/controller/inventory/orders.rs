//! Orders to the cloud, and what is known of them before a listing shows it.

use std::{collections::BTreeMap, net::IpAddr};

use tokio::time::Instant;

use super::{
    Inventory, Urgent,
    seen::{LAG, Seen},
};
use crate::{
    cloud::{AssignAddresses, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni, EniFilter, Lane},
    model::{Eni, EniId, EniState, Family, InstanceId, SubnetId},
};

/// The tag that names the record of an ENI, besides the cluster's own tags: by it the ENI of an
/// unanswered creation is found with one small query.
const RECORD_TAG: &str = "eni-record";

/// What came of a creation.
pub(in crate::controller) enum Create {
    /// The ENI exists.
    Made(Eni),
    /// The cloud refused, and no ENI will ever come of this record.
    Refused(CloudError),
    /// Nothing was made yet, or it is not known: the record stays.
    Open(CloudError),
}

impl Inventory {
    /// A record was written for an ENI whose creation nobody has asked for yet.
    pub(in crate::controller) fn planned(&self, record: &str) {
        self.state.lock().creations.insert(record.to_owned(), None);
    }

    /// Creates the ENI of a record, or finds it.
    pub(in crate::controller) async fn create(&self, request: &CreateEni, urgent: &Urgent) -> Create {
        let record = &request.name;
        let tokens = self.capabilities().client_tokens;
        let doubt = self.doubt_of(record);
        if doubt.is_some() && !tokens {
            match self.trace(record, urgent).await {
                Ok(None) => {}
                Ok(Some(eni)) => return Create::Made(self.made(eni)),
                Err(error) => return Create::Open(error),
            }
        }
        // A record's request never changes, so that its token holds: as a probe it goes as it is.
        if let Err(error) = self.subnets.admit(&request.subnet, request.secondary + 1) {
            return match doubt {
                None => Create::Refused(error),
                Some(_) => Create::Open(error),
            };
        }
        let tags = [(RECORD_TAG.to_owned(), record.clone())];
        let request = CreateEni {
            tags: self.tags.clone().into_iter().chain(tags).collect(),
            ..request.clone()
        };
        let created = self.growing(urgent).create_eni(&request).await;
        let refused = matches!(&created, Err(error) if is_refusal(&error.kind));
        self.subnets.note(&request.subnet, &created, refused);
        match created {
            Ok(eni) => {
                self.subnets.take(&eni.subnet, request.secondary + 1);
                Create::Made(self.made(eni))
            }
            Err(error) if refused => {
                if error.kind == CloudErrorKind::NotFound {
                    self.subnets.lost(&request.subnet);
                }
                self.refused(record, error, urgent).await
            }
            Err(error) => {
                if !is_unsent(&error.kind) {
                    let believable = Some(Instant::now() + LAG);
                    self.state.lock().creations.insert(record.clone(), believable);
                }
                Create::Open(error)
            }
        }
    }

    /// This attempt was refused; an earlier one may have worked.
    async fn refused(&self, record: &str, error: CloudError, urgent: &Urgent) -> Create {
        if self.doubt_of(record).is_none() {
            return Create::Refused(error);
        }
        match self.trace(record, urgent).await {
            Ok(None) => Create::Refused(error),
            Ok(Some(eni)) => Create::Made(self.made(eni)),
            Err(error) => Create::Open(error),
        }
    }

    /// From when on the absence of a record's ENI can be believed, if it may exist.
    fn doubt_of(&self, record: &str) -> Option<Instant> {
        let mut state = self.state.lock();
        // Of a record that another process wrote nobody knows what it asked for.
        let unknown = || Some(Instant::now() + LAG);
        *state.creations.entry(record.to_owned()).or_insert_with(unknown)
    }

    /// The ENI of a record whose creation may have worked; an error while its absence proves nothing.
    async fn trace(&self, record: &str, urgent: &Urgent) -> CloudResult<Option<Eni>> {
        let asked = Instant::now();
        let mut tags: BTreeMap<_, _> = self.tags.clone();
        tags.insert(RECORD_TAG.to_owned(), record.to_owned());
        let found = self.growing(urgent).enis(&EniFilter::Tags(tags)).await?;
        let believable = self.doubt_of(record).is_none_or(|believable| believable <= asked);
        match found.into_iter().find(|eni| eni.name == record) {
            None if !believable => {
                let message = "an earlier attempt was not answered, and listings may lag behind it";
                let kind = CloudErrorKind::Unavailable;
                Err(CloudError::new(kind, "create_eni", record, message))
            }
            found => Ok(found),
        }
    }

    fn made(&self, eni: Eni) -> Eni {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.creations.remove(&eni.name);
        state.by_name.insert(eni.name.clone(), eni.id.clone());
        state.change(&eni.id, |seen| {
            seen.touch(now);
            seen.created(eni.clone());
        });
        eni
    }

    pub(in crate::controller) async fn attach(
        &self,
        id: &EniId,
        instance: &InstanceId,
        urgent: &Urgent,
    ) -> CloudResult<()> {
        self.doubt(id, self.growing(urgent).attach_eni(id, instance).await)?;
        self.touch(id, |seen, _| {
            seen.ordered(EniState::Attaching);
            seen.eni
                .iter_mut()
                .for_each(|eni| eni.instance = Some(instance.clone()));
        });
        Ok(())
    }

    pub(in crate::controller) async fn detach(&self, id: &EniId) -> CloudResult<()> {
        self.doubt(id, self.on(Lane::Release).detach_eni(id).await)?;
        self.touch(id, |seen, _| seen.ordered(EniState::Detaching));
        Ok(())
    }

    pub(in crate::controller) async fn delete(&self, id: &EniId) -> CloudResult<()> {
        match self.on(Lane::Release).delete_eni(id).await {
            Err(error) if error.kind != CloudErrorKind::NotFound => return self.doubt(id, Err(error)),
            _ => {}
        }
        self.touch(id, |seen, _| seen.ordered(EniState::Deleting));
        Ok(())
    }

    pub(in crate::controller) async fn assign(
        &self,
        id: &EniId,
        subnet: &SubnetId,
        count: u32,
        urgent: &Urgent,
    ) -> CloudResult<()> {
        let count = count.min(self.capabilities().assign_batch.max(1));
        let count = self.subnets.admit(subnet, count)?;
        let request = AssignAddresses::Count(Family::V4, count);
        self.order_addresses(id, subnet, &request, urgent).await
    }

    /// Assigns these very addresses, as many of them as one call takes.
    pub(in crate::controller) async fn assign_exactly(
        &self,
        id: &EniId,
        subnet: &SubnetId,
        addresses: &[IpAddr],
        urgent: &Urgent,
    ) -> CloudResult<()> {
        let limit = self.capabilities().assign_batch.max(1) as usize;
        let batch = addresses[..addresses.len().min(limit)].to_vec();
        let request = AssignAddresses::Exactly(batch);
        self.order_addresses(id, subnet, &request, urgent).await
    }

    async fn order_addresses(
        &self,
        id: &EniId,
        subnet: &SubnetId,
        request: &AssignAddresses,
        urgent: &Urgent,
    ) -> CloudResult<()> {
        let assigned = self.doubt(id, self.growing(urgent).assign_addresses(id, request).await);
        let exhausted = |error: &CloudError| {
            matches!(
                error.kind,
                CloudErrorKind::Exhausted { .. } | CloudErrorKind::Denied
            )
        };
        let refused = assigned.as_ref().is_err_and(exhausted);
        self.subnets.note(subnet, &assigned, refused);
        let assigned = assigned?;
        self.touch(id, |seen, now| seen.assigned(&assigned, now));
        self.subnets
            .take(subnet, u32::try_from(assigned.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    pub(in crate::controller) async fn unassign(&self, id: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        // One order at a time on an ENI: the rest follows once this one is done.
        let limit = self.capabilities().unassign_batch.max(1) as usize;
        let batch = &addresses[..addresses.len().min(limit)];
        self.doubt(id, self.on(Lane::Release).unassign_addresses(id, batch).await)?;
        self.touch(id, |seen, now| seen.unassigned(batch, now));
        Ok(())
    }

    /// Moves an address from one ENI to another.
    pub(in crate::controller) async fn migrate(
        &self,
        from: &EniId,
        to: &EniId,
        address: IpAddr,
        urgent: &Urgent,
    ) -> CloudResult<()> {
        let moved = self.growing(urgent).migrate_address(from, to, address).await;
        let moved = self.doubt(from, moved);
        // Without an answer, too, it may leave yet.
        if moved.as_ref().is_ok() || moved.as_ref().is_err_and(|error| !is_unsent(&error.kind)) {
            self.touch(from, |seen, now| seen.unassigned(&[address], now));
        }
        self.doubt(to, moved)?;
        self.touch(to, |seen, now| seen.assigned(&[address], now));
        Ok(())
    }

    /// What the cloud can do.
    pub(in crate::controller) fn migrates(&self) -> bool {
        self.capabilities().migration
    }

    /// After an unknown outcome the ENI is read again before it gets another order.
    fn doubt<T>(&self, id: &EniId, result: CloudResult<T>) -> CloudResult<T> {
        if let Err(error) = &result
            && !is_unsent(&error.kind)
            && !matches!(error.kind, CloudErrorKind::Exhausted { .. })
        {
            self.touch(id, |seen, _| seen.doubtful = true);
        }
        result
    }

    fn touch(&self, id: &EniId, change: impl FnOnce(&mut Seen, Instant)) {
        let now = Instant::now();
        self.state.lock().change(id, |seen| {
            seen.touch(now);
            change(seen, now);
        });
    }
}

/// Whether a call that failed so has not reached the cloud's books.
fn is_unsent(kind: &CloudErrorKind) -> bool {
    matches!(
        kind,
        CloudErrorKind::Throttled { .. } | CloudErrorKind::NotStarted
    )
}

/// Whether a creation that failed so has certainly made nothing.
fn is_refusal(kind: &CloudErrorKind) -> bool {
    matches!(
        kind,
        CloudErrorKind::Exhausted { .. }
            | CloudErrorKind::Quota
            | CloudErrorKind::Denied
            | CloudErrorKind::Invalid
            | CloudErrorKind::NotFound
    )
}
