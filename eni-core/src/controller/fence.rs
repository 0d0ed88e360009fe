//! Keeps destructive calls from being sent on behalf of a leader that was, or may soon be, replaced.
//!
//! Taking addresses off, detaching and deleting have no client token: sent late, they undo what the next
//! leader did. So the right to send is checked as the last thing before the call, after all waiting.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::{
    cloud::{
        AssignAddresses, Capabilities, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni, EniFilter,
    },
    leadership::Leadership,
    model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId},
};

/// How often leadership is looked at: it can be given up before it would have ended.
const LOOK: Duration = Duration::from_millis(500);

/// Whether destructive calls may be sent.
pub(super) struct Fence {
    leadership: Arc<dyn Leadership>,
    /// No call is under way for longer.
    call_timeout: Duration,
    began: Instant,
    /// A complete listing was read since.
    read: AtomicBool,
}

impl Fence {
    /// Leadership begins now.
    pub(super) fn new(leadership: Arc<dyn Leadership>, call_timeout: Duration) -> Self {
        Self {
            leadership,
            call_timeout,
            began: Instant::now(),
            read: AtomicBool::new(false),
        }
    }

    /// A listing of everything that is ours was read whole.
    pub(super) fn listed(&self) {
        self.read.store(true, Ordering::Relaxed);
    }

    /// Until leadership is lost.
    pub(super) async fn lost(&self) {
        while let Some(left) = self.leadership.remaining() {
            sleep(left.min(LOOK)).await;
        }
    }

    /// Why a destructive call cannot be sent now, if so.
    fn objection(&self) -> Option<&'static str> {
        match self.leadership.remaining() {
            None => Some("this process leads no more"),
            Some(left) if left <= self.call_timeout => Some("the leadership may end before the call does"),
            Some(_) if self.began.elapsed() < self.call_timeout => {
                Some("a call of the last leader may still be under way")
            }
            Some(_) if !self.read.load(Ordering::Relaxed) => Some("the cloud was not read whole yet"),
            Some(_) => None,
        }
    }
}

/// A cloud that is sent destructive calls only while they cannot outlive our leadership.
pub(super) struct Fenced {
    cloud: Arc<dyn Cloud>,
    fence: Arc<Fence>,
}

impl Fenced {
    pub(super) fn new(cloud: Arc<dyn Cloud>, fence: Arc<Fence>) -> Self {
        Self { cloud, fence }
    }

    fn check(&self, action: &'static str, eni: &EniId) -> CloudResult<()> {
        match self.fence.objection() {
            None => Ok(()),
            Some(objection) => Err(CloudError::new(
                CloudErrorKind::NotStarted,
                action,
                eni,
                objection,
            )),
        }
    }
}

#[async_trait]
impl Cloud for Fenced {
    fn capabilities(&self) -> Capabilities {
        self.cloud.capabilities()
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        self.cloud.instances(ids).await
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        self.cloud.limits(instance).await
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        self.cloud.subnets(ids).await
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        self.cloud.enis(filter).await
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        self.cloud.create_eni(request).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.cloud.attach_eni(eni, instance).await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.check("detach_eni", eni)?;
        self.cloud.detach_eni(eni).await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.check("delete_eni", eni)?;
        self.cloud.delete_eni(eni).await
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        self.cloud.assign_addresses(eni, request).await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        self.check("unassign_addresses", eni)?;
        self.cloud.unassign_addresses(eni, addresses).await
    }

    async fn migrate_address(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()> {
        self.check("migrate_address", from)?;
        self.cloud.migrate_address(from, to, address).await
    }
}
