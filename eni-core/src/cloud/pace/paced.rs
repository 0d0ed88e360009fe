//! The handle that callers hold: a cloud whose calls wait for their turn.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::{Lane, Pacer, pacer::Lesson, retry};
use crate::{
    cloud::{
        AssignAddresses, Call, Capabilities, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni,
        EniFilter,
    },
    model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId},
};

/// A cloud in one lane, perhaps with a deadline. Cheap to make and to clone.
///
/// Beyond the contract of [`Cloud`]:
///
/// * A call that cannot end before the deadline is not sent, and is [`CloudErrorKind::NotStarted`].
/// * A call without an answer at the deadline, or after
///   [`PaceConfig::call_timeout`](super::PaceConfig::call_timeout), is [`CloudErrorKind::Unavailable`]; a listing
///   by tags may take [`Capabilities::listing_timeout`].
/// * A throttled call is repeated, and a reading one that was `Unavailable`, within the attempts, the
///   retry budget and the deadline. The error is that of the last sending.
/// * Dropping a call that waits for its turn sends nothing and costs no token.
#[derive(Clone)]
pub struct Paced {
    pacer: Arc<Pacer>,
    lane: Lane,
    deadline: Option<Instant>,
    /// How long an answer is waited for.
    timeout: Duration,
    urgent: Option<watch::Receiver<bool>>,
}

impl Paced {
    pub(super) fn new(pacer: Arc<Pacer>, lane: Lane) -> Self {
        Self {
            timeout: pacer.config.call_timeout,
            pacer,
            lane,
            deadline: None,
            urgent: None,
        }
    }

    /// The same, for calls that must have ended by `deadline`, or by an earlier one that was set before.
    pub fn until(self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |earlier| earlier.min(deadline));
        Self {
            deadline: Some(deadline),
            ..self
        }
    }

    /// The same, for calls that go in [`Lane::Waiting`] while `urgent` is true; one that is in the line of
    /// another lane when it becomes true changes over.
    pub fn urged_by(self, urgent: watch::Receiver<bool>) -> Self {
        Self {
            urgent: Some(urgent),
            ..self
        }
    }

    /// Waits for the turn of a call; in which lane it went, and whether it may be sent.
    async fn admit(&self, call: Call) -> (Lane, bool) {
        let Some(mut urgent) = self.urgent.clone() else {
            return (self.lane, self.pacer.admit(call, self.lane, self.deadline).await);
        };
        if !*urgent.borrow() {
            tokio::select! {
                biased;
                admitted = self.pacer.admit(call, self.lane, self.deadline) => return (self.lane, admitted),
                // Its place is left for a better one. Without a sender nobody can become urgent any more.
                true = async { urgent.wait_for(|urgent| *urgent).await.is_ok() } => {}
            }
        }
        (
            Lane::Waiting,
            self.pacer.admit(call, Lane::Waiting, self.deadline).await,
        )
    }

    /// One call with its repetitions.
    async fn call<'a, T>(
        &'a self,
        call: Call,
        resource: impl Fn() -> String + Send + Sync,
        send: impl Fn(&'a dyn Cloud) -> BoxFuture<'a, CloudResult<T>> + Send + Sync,
    ) -> CloudResult<T> {
        let mut failed: Option<CloudError> = None;
        let mut pause = None;
        for attempt in 1.. {
            let entered = Instant::now();
            let (lane, admitted) = self.admit(call).await;
            let waited = entered.elapsed();
            if !admitted {
                return Err(failed.unwrap_or_else(|| not_started(call, lane, resource(), waited)));
            }
            let error = match self.send(call, lane, attempt > 1, &resource, &send).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tracing::debug!(%call, lane = lane.name(), resource = %resource(), attempt, ?waited, %error, "cloud call failed");
            if attempt >= self.pacer.config.attempts || !retry::is_safe(call, &error.kind) {
                return Err(error);
            }
            let next = retry::pause(pause, self.pacer.environment.random());
            if !self.pacer.may_retry(call, next, self.deadline) {
                return Err(error);
            }
            sleep(next).await;
            (pause, failed) = (Some(next), Some(error));
        }
        unreachable!("the attempts are counted without end")
    }

    /// Sends a call once and learns from it.
    async fn send<'a, T>(
        &'a self,
        call: Call,
        lane: Lane,
        retry: bool,
        resource: &(impl Fn() -> String + Sync),
        send: &(impl Fn(&'a dyn Cloud) -> BoxFuture<'a, CloudResult<T>> + Sync),
    ) -> CloudResult<T> {
        let sent = Instant::now();
        let end = sent + self.timeout;
        let end = self.deadline.map_or(end, |deadline| deadline.min(end));
        self.pacer.started(call, lane, retry);
        let answer = timeout_at(end, send(self.pacer.cloud.as_ref())).await;
        let lesson = match &answer {
            Ok(Ok(_)) => Lesson::Answered,
            Ok(Err(error)) => Lesson::Failed(&error.kind),
            Err(_) => Lesson::GivenUp,
        };
        self.pacer.ended(call, lane, sent, lesson);
        answer.unwrap_or_else(|_| {
            let message = format!("no answer within {:?}", sent.elapsed());
            Err(CloudError::new(
                CloudErrorKind::Unavailable,
                call.name(),
                resource(),
                message,
            ))
        })
    }
}

impl fmt::Debug for Paced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced")
            .field("lane", &self.lane)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Cloud for Paced {
    fn capabilities(&self) -> Capabilities {
        self.pacer.cloud.capabilities()
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        self.call(Call::Instances, || join(ids), |cloud| cloud.instances(ids))
            .await
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        let resource = || instance.to_string();
        self.call(Call::Limits, resource, |cloud| cloud.limits(instance))
            .await
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        self.call(Call::Subnets, || join(ids), |cloud| cloud.subnets(ids))
            .await
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        let resource = || match filter {
            EniFilter::Ids(ids) => join(ids),
            EniFilter::Instance(instance) => instance.to_string(),
            EniFilter::Tags(tags) => format!("{tags:?}"),
        };
        let patience = match filter {
            EniFilter::Tags(_) => self.capabilities().listing_timeout,
            EniFilter::Ids(_) | EniFilter::Instance(_) => None,
        };
        let patient = Self {
            timeout: patience.unwrap_or(self.timeout),
            ..self.clone()
        };
        let answer = patient.call(Call::Enis, resource, |cloud| cloud.enis(filter));
        answer.await
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        let resource = || request.name.clone();
        self.call(Call::CreateEni, resource, |cloud| cloud.create_eni(request))
            .await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        let resource = || format!("{eni} to {instance}");
        self.call(Call::AttachEni, resource, |cloud| cloud.attach_eni(eni, instance))
            .await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call(Call::DetachEni, || eni.to_string(), |cloud| cloud.detach_eni(eni))
            .await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call(Call::DeleteEni, || eni.to_string(), |cloud| cloud.delete_eni(eni))
            .await
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        let resource = || eni.to_string();
        self.call(Call::AssignAddresses, resource, |cloud| {
            cloud.assign_addresses(eni, request)
        })
        .await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        let resource = || format!("{} of {eni}", join(addresses));
        self.call(Call::UnassignAddresses, resource, |cloud| {
            cloud.unassign_addresses(eni, addresses)
        })
        .await
    }

    async fn migrate_address(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()> {
        let resource = || format!("{address} of {from} to {to}");
        self.call(Call::MigrateAddress, resource, |cloud| {
            cloud.migrate_address(from, to, address)
        })
        .await
    }
}

fn not_started(call: Call, lane: Lane, resource: String, waited: Duration) -> CloudError {
    let lane = lane.name();
    tracing::debug!(%call, lane, resource, ?waited, "cloud call not sent: it cannot end in time");
    let message = format!("it cannot end before its deadline; it waited {waited:?} in the lane {lane}");
    CloudError::new(CloudErrorKind::NotStarted, call.name(), resource, message)
}

fn join<T: fmt::Display>(ids: &[T]) -> String {
    ids.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
