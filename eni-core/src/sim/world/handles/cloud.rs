//! A process's handle of the cloud.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;

use super::{Backend, Call, Handle, Trouble};
use crate::{
    cloud::{
        AssignAddresses, Capabilities, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni, EniFilter,
    },
    model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId},
    sim::{
        Latency,
        world::{
            Bug,
            core::World,
            event::{Event, Order},
            process::Process,
        },
    },
};

/// Longer than any simulation.
const NEVER: std::time::Duration = std::time::Duration::from_secs(1_000_000);

/// A process's handle of the cloud.
pub(in crate::sim::world) struct SimCloud(pub(in crate::sim::world) Handle);

impl SimCloud {
    async fn ask<T: Send + 'static, F: Future<Output = CloudResult<T>> + Send>(
        &self,
        action: &'static str,
        resource: String,
        writes: bool,
        execute: impl FnOnce(Arc<World>, Arc<Process>) -> F + Send + 'static,
    ) -> CloudResult<T> {
        let call = Call {
            backend: Backend::Cloud,
            action,
            resource: resource.clone(),
            writes,
        };
        let fail = |trouble| {
            let kind = match trouble {
                Trouble::Throttled => CloudErrorKind::Throttled { retry_after: None },
                Trouble::Unavailable | Trouble::Conflict => CloudErrorKind::Unavailable,
            };
            CloudError::new(kind, action, resource, "the simulation wants it so")
        };
        let run = move |world: Arc<World>, process: Arc<Process>| {
            let who = &process.who;
            world.observe(&Event::Call { who, action });
            execute(world, process)
        };
        self.0.travel(call, fail, run).await
    }

    /// An order: judged, given, and perhaps never carried out.
    async fn order<T: Send + 'static, F: Future<Output = CloudResult<T>> + Send>(
        &self,
        action: &'static str,
        order: Owned,
        give: impl FnOnce(Arc<dyn Cloud>) -> F + Send + 'static,
    ) -> CloudResult<T> {
        let stuck = self.0.world.strikes(self.0.world.setting.rates.stuck);
        let resource = order.resource();
        let run = async move |world: Arc<World>, process: Arc<Process>| {
            let (order, who) = (order.borrow(), &process.who);
            world.observe(&Event::Order { who, order });
            if stuck {
                world.cloud.set_latency(Latency::orders(NEVER));
            }
            let given = give(world.wire()).await;
            if stuck {
                world.cloud.set_latency(world.setting.latency);
            }
            if given.is_ok() {
                world.observe(&Event::Ordered(order));
            }
            given
        };
        self.ask(action, resource, true, run).await
    }
}

/// An order that travels.
enum Owned {
    Attach(EniId),
    Assign(EniId),
    Unassign(EniId, Vec<IpAddr>),
    Detach(EniId),
    Delete(EniId),
}

impl Owned {
    fn borrow(&self) -> Order<'_> {
        match self {
            Self::Attach(eni) => Order::Attach(eni),
            Self::Assign(eni) => Order::Assign(eni),
            Self::Unassign(eni, ips) => Order::Unassign(eni, ips),
            Self::Detach(eni) => Order::Detach(eni),
            Self::Delete(eni) => Order::Delete(eni),
        }
    }

    fn resource(&self) -> String {
        match self {
            Self::Unassign(eni, ips) => format!("{eni} {ips:?}"),
            Self::Attach(eni) | Self::Assign(eni) | Self::Detach(eni) | Self::Delete(eni) => eni.to_string(),
        }
    }
}

#[async_trait]
impl Cloud for SimCloud {
    fn capabilities(&self) -> Capabilities {
        self.0.world.wire().capabilities()
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        let ids = ids.to_vec();
        self.ask("instances", format!("{ids:?}"), false, async move |world, _| {
            world.wire().instances(&ids).await
        })
        .await
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        let instance = instance.clone();
        self.ask("limits", instance.to_string(), false, async move |world, _| {
            world.wire().limits(&instance).await
        })
        .await
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        let ids = ids.to_vec();
        self.ask("subnets", format!("{ids:?}"), false, async move |world, _| {
            world.wire().subnets(&ids).await
        })
        .await
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        let (filter, world) = (filter.clone(), &self.0.world);
        let resource = match &filter {
            EniFilter::Ids(ids) => format!("{ids:?}"),
            EniFilter::Instance(id) => id.to_string(),
            EniFilter::Tags(_) => "all".to_owned(),
        };
        let audits = matches!(filter, EniFilter::Tags(_));
        let action = if audits { "audit" } else { "enis" };
        let listed = self.ask(action, resource, false, async move |world, _| {
            world.vary_lag();
            let mut listed = world.wire().enis(&filter).await?;
            // A cloud that is consistent in the end may leave something out without a word.
            listed.retain(|_| !world.strikes(world.setting.rates.partial));
            for eni in &mut listed {
                eni.addresses
                    .retain(|address| address.primary || !world.strikes(world.setting.rates.partial / 4.0));
            }
            Ok(listed)
        });
        match listed.await {
            Err(error) if world.has(Bug::FailedListingIsEmpty) => {
                tracing::debug!(%error, "taken for an empty listing");
                Ok(Vec::new())
            }
            listed => listed,
        }
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        let mut request = request.clone();
        let world = &self.0.world;
        if world.has(Bug::NewTokenForEachTry) {
            request.token = format!("{:016x}", world.dice.between(0, u64::MAX));
        }
        let who = &self.0.process.who;
        if !self.0.process.is_cut() {
            let order = Order::Create(&request);
            world.observe(&Event::Order { who, order });
        }
        let stuck = world.strikes(world.setting.rates.stuck);
        self.ask("create_eni", request.name.clone(), true, async move |world, _| {
            if stuck {
                world.cloud.set_latency(Latency::orders(NEVER));
            }
            let created = world.wire().create_eni(&request).await;
            world.cloud.set_latency(world.setting.latency);
            if let Ok(eni) = &created {
                world.observe(&Event::Created(eni));
            }
            created
        })
        .await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        let (eni, instance) = (eni.clone(), instance.clone());
        self.order("attach_eni", Owned::Attach(eni.clone()), async move |cloud| {
            cloud.attach_eni(&eni, &instance).await
        })
        .await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        let eni = eni.clone();
        self.order("detach_eni", Owned::Detach(eni.clone()), async move |cloud| {
            cloud.detach_eni(&eni).await
        })
        .await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        let eni = eni.clone();
        self.order("delete_eni", Owned::Delete(eni.clone()), async move |cloud| {
            cloud.delete_eni(&eni).await
        })
        .await
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        let (eni, request) = (eni.clone(), request.clone());
        self.order(
            "assign_addresses",
            Owned::Assign(eni.clone()),
            async move |cloud| cloud.assign_addresses(&eni, &request).await,
        )
        .await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        let (eni, ips) = (eni.clone(), addresses.to_vec());
        let order = Owned::Unassign(eni.clone(), ips.clone());
        self.order("unassign_addresses", order, async move |cloud| {
            cloud.unassign_addresses(&eni, &ips).await
        })
        .await
    }

    async fn migrate_address(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()> {
        let (from, to) = (from.clone(), to.clone());
        // Who loses it must have let go of it as for any removal.
        let order = Owned::Unassign(from.clone(), vec![address]);
        self.order("migrate_address", order, async move |cloud| {
            cloud.migrate_address(&from, &to, address).await
        })
        .await
    }
}
