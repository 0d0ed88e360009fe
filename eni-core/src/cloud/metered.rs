//! Counts the calls that reach a cloud.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{AssignAddresses, Capabilities, Cloud, CloudResult, CreateEni, EniFilter};
use crate::model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId};

/// Calls by action, and how many of them failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls by action.
    pub calls: BTreeMap<&'static str, u64>,
    /// Failed calls by action.
    pub failures: BTreeMap<&'static str, u64>,
}

/// A cloud that counts the calls it passes on.
pub struct Metered {
    inner: Arc<dyn Cloud>,
    counts: Mutex<CallCounts>,
}

impl Metered {
    /// Counts the calls to `inner`.
    pub fn new(inner: Arc<dyn Cloud>) -> Self {
        Self {
            inner,
            counts: Mutex::default(),
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> CallCounts {
        self.counts.lock().clone()
    }

    fn count<T>(&self, action: &'static str, result: CloudResult<T>) -> CloudResult<T> {
        let mut counts = self.counts.lock();
        *counts.calls.entry(action).or_default() += 1;
        if let Err(error) = &result {
            *counts.failures.entry(action).or_default() += 1;
            tracing::debug!(action, %error, "cloud call failed");
        }
        result
    }
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metered")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Cloud for Metered {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        self.count("instances", self.inner.instances(ids).await)
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        self.count("limits", self.inner.limits(instance).await)
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        self.count("subnets", self.inner.subnets(ids).await)
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        self.count("enis", self.inner.enis(filter).await)
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        self.count("create_eni", self.inner.create_eni(request).await)
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.count("attach_eni", self.inner.attach_eni(eni, instance).await)
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.count("detach_eni", self.inner.detach_eni(eni).await)
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.count("delete_eni", self.inner.delete_eni(eni).await)
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        self.count(
            "assign_addresses",
            self.inner.assign_addresses(eni, request).await,
        )
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        self.count(
            "unassign_addresses",
            self.inner.unassign_addresses(eni, addresses).await,
        )
    }
}
