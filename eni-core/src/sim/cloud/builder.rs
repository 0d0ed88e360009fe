//! Sets up a memory cloud.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    MemoryCloud, Shared,
    pool::AddressPool,
    state::{State, SubnetEntry},
};
use crate::{
    cloud::Capabilities,
    model::{InstanceId, Limits, SubnetId, VpcId, Zone},
    sim::{Fabric, fault::Faults},
};

/// How long the cloud takes. Zero by default: orders are done when their call returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// From a call to its execution.
    pub call: Duration,
    /// From `create_eni` to an available ENI.
    pub create: Duration,
    /// From `attach_eni` to a device on the instance.
    pub attach: Duration,
    /// From `detach_eni` to an available ENI.
    pub detach: Duration,
    /// From `delete_eni` to an ENI that is gone.
    pub delete: Duration,
    /// From `assign_addresses` to addresses that are delivered.
    pub assign: Duration,
    /// From `unassign_addresses` to addresses that are gone.
    pub unassign: Duration,
}

impl Latency {
    /// Calls are answered at once, and every order takes `each`.
    pub fn orders(each: Duration) -> Self {
        Self {
            call: Duration::ZERO,
            create: each,
            attach: each,
            detach: each,
            delete: each,
            assign: each,
            unassign: each,
        }
    }
}

/// Sets up a [`MemoryCloud`].
#[must_use]
pub struct MemoryCloudBuilder {
    state: State,
    instances: Vec<(InstanceId, SubnetId, Limits)>,
}

impl MemoryCloudBuilder {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(VpcId::from("vpc-sim")),
            instances: Vec::new(),
        }
    }

    /// A subnet of a zone. Its first usable address is the gateway's.
    pub fn subnet(mut self, id: impl Into<SubnetId>, zone: impl Into<Zone>, cidr: IpNet) -> Self {
        let entry = SubnetEntry {
            zone: zone.into(),
            v4: AddressPool::new(cidr),
            v6: None,
        };
        self.state.subnets.insert(id.into(), entry);
        self
    }

    /// Gives a subnet an IPv6 range too, and the cloud IPv6.
    ///
    /// # Panics
    ///
    /// If the subnet was not added before.
    pub fn ipv6(mut self, subnet: impl Into<SubnetId>, cidr: IpNet) -> Self {
        let id = subnet.into();
        let entry = self
            .state
            .subnets
            .get_mut(&id)
            .unwrap_or_else(|| panic!("there is no subnet {id}"));
        entry.v6 = Some(AddressPool::new(cidr));
        self.state.capabilities.ipv6 = true;
        self
    }

    /// A running instance with its primary ENI in `subnet`, whose zone is also the instance's.
    pub fn instance(
        mut self,
        id: impl Into<InstanceId>,
        subnet: impl Into<SubnetId>,
        limits: Limits,
    ) -> Self {
        self.instances.push((id.into(), subnet.into(), limits));
        self
    }

    /// The VPC's id; `vpc-sim` by default.
    pub fn vpc(mut self, id: impl Into<VpcId>) -> Self {
        self.state.vpc = id.into();
        self
    }

    /// How long the cloud takes.
    pub fn latency(mut self, latency: Latency) -> Self {
        self.state.latency = latency;
        self
    }

    /// The data plane; it learns of the instances' primary ENIs when the cloud is built.
    pub fn fabric(mut self, fabric: Arc<dyn Fabric>) -> Self {
        self.state.fabric = Some(fabric);
        self
    }

    /// What the cloud can do: by default client tokens, 10 addresses and 100 ENIs per call (Tencent
    /// Cloud's limits), and IPv6 where a subnet has it.
    pub fn capabilities(mut self, capabilities: Capabilities) -> Self {
        self.state.capabilities = capabilities;
        self
    }

    /// How many ENIs the VPC may have, primary ones included. Unlimited by default.
    pub fn eni_quota(mut self, enis: u32) -> Self {
        self.state.eni_quota = Some(enis);
        self
    }

    /// The cloud.
    ///
    /// # Panics
    ///
    /// If an instance's subnet was not added or is full.
    pub fn build(mut self) -> MemoryCloud {
        let now = Instant::now();
        for (id, subnet, limits) in self.instances {
            self.state.add_instance(now, id, &subnet, limits);
        }
        let shared = Shared {
            capabilities: self.state.capabilities,
            state: Mutex::new(self.state),
            faults: Faults::default(),
        };
        MemoryCloud {
            shared: Arc::new(shared),
        }
    }
}

impl std::fmt::Debug for MemoryCloudBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryCloudBuilder")
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}
