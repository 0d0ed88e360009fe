//! A cloud in memory: one VPC, whose orders take (virtual) time.

mod address_orders;
mod beyond;
mod builder;
mod by_hand;
mod chosen;
mod history;
mod orders;
mod pool;
mod state;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

pub use beyond::UnderWay;
pub use builder::{Latency, MemoryCloudBuilder};
pub use chosen::Chosen;
use orders::{Verdict, refuse};
use state::State;

use super::{Fault, fault::Faults};
use crate::{
    cloud::{
        AssignAddresses, Capabilities, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni, EniFilter,
    },
    model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId},
};

/// A cloud in memory. Clones are handles of the same cloud.
///
/// It keeps every limit that it declares, does one operation per ENI at a time, and tells its
/// [`Fabric`](super::Fabric) what the data plane does. Orders end by timers on the runtime that gave
/// them, whether or not somebody looks.
#[derive(Clone)]
pub struct MemoryCloud {
    shared: Arc<Shared>,
}

struct Shared {
    capabilities: Capabilities,
    state: Mutex<State>,
    faults: Faults<CloudErrorKind>,
}

impl MemoryCloud {
    /// A cloud without subnets and instances, to be filled.
    pub fn builder() -> MemoryCloudBuilder {
        MemoryCloudBuilder::new()
    }

    /// One call: its way to the cloud, its faults and its execution.
    async fn call<T: Send>(
        &self,
        action: &'static str,
        resource: String,
        execute: impl FnOnce(&mut State, Instant) -> Verdict<T> + Send,
    ) -> CloudResult<T> {
        let fault = self.shared.faults.next(action, &resource);
        let mut way = self.shared.state.lock().latency.call;
        if let Fault::Delay(more) = fault {
            way += more;
        }
        if !way.is_zero() {
            sleep(way).await;
        }
        if let Fault::Before(kind) = fault {
            return Err(CloudError::new(
                kind,
                action,
                resource,
                "a fault was injected before execution",
            ));
        }
        let verdict = self.change(execute);
        if let Fault::After(kind) = fault {
            return Err(CloudError::new(
                kind,
                action,
                resource,
                "a fault was injected after execution",
            ));
        }
        verdict.map_err(|refusal| CloudError::new(refusal.kind, action, resource, refusal.message))
    }

    /// Looks at the state as it is now, or changes it, and sees to the ends of new orders.
    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        state.advance(now);
        let result = change(&mut state, now);
        state.advance(now);
        for end in state.unarmed.split_off(0).into_iter().filter(|end| *end > now) {
            let shared = Arc::downgrade(&self.shared);
            tokio::spawn(async move {
                sleep_until(end).await;
                if let Some(shared) = shared.upgrade() {
                    shared.state.lock().advance(Instant::now());
                }
            });
        }
        result
    }
}

impl fmt::Debug for MemoryCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("MemoryCloud")
            .field("instances", &state.instances.len())
            .field("enis", &state.enis.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Cloud for MemoryCloud {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        self.call("instances", join(ids), |state, _| {
            let found = ids.iter().filter_map(|id| state.instances.get(id));
            Ok(found.map(|entry| entry.instance.clone()).collect())
        })
        .await
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        self.call("limits", instance.to_string(), |state, _| {
            match state.instances.get(instance) {
                Some(entry) => Ok(entry.limits),
                None => refuse(
                    CloudErrorKind::NotFound,
                    format!("there is no instance {instance}"),
                ),
            }
        })
        .await
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        self.call("subnets", join(ids), |state, _| {
            ids.iter()
                .map(|id| match state.subnet(id) {
                    Some(subnet) => Ok(subnet),
                    None => refuse(CloudErrorKind::NotFound, format!("there is no subnet {id}")),
                })
                .collect()
        })
        .await
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        let resource = match filter {
            EniFilter::Ids(ids) => join(ids),
            EniFilter::Instance(id) => id.to_string(),
            EniFilter::Tags(tags) => format!("{tags:?}"),
        };
        self.call("enis", resource, |state, now| state.list(now, filter))
            .await
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        self.create_eni_with(request, &Chosen::default()).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.call("attach_eni", eni.to_string(), |state, now| {
            state.attach(now, eni, instance)
        })
        .await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call("detach_eni", eni.to_string(), |state, now| state.detach(now, eni))
            .await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call("delete_eni", eni.to_string(), |state, now| state.delete(now, eni))
            .await
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        self.call("assign_addresses", eni.to_string(), |state, now| {
            state.assign(now, eni, request)
        })
        .await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        self.call("unassign_addresses", eni.to_string(), |state, now| {
            state.unassign(now, eni, addresses)
        })
        .await
    }

    async fn migrate_address(&self, from: &EniId, to: &EniId, ip: IpAddr) -> CloudResult<()> {
        self.call("migrate_address", format!("{ip} of {from}"), |state, now| {
            state.migrate_address(now, from, to, ip)
        })
        .await
    }
}

fn join<T: fmt::Display>(ids: &[T]) -> String {
    ids.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}
