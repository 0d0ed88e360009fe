//! The cloud's state, and how orders come to their end. Synchronous: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{Latency, history::History, pool::AddressPool};
use crate::{
    cloud::{Capabilities, CreateEni},
    model::{
        Eni, EniAddress, EniId, EniKind, EniState, Family, Instance, InstanceId, InstanceState, Limits, Mac,
        Subnet, SubnetId, VpcId, Zone,
    },
    sim::{Fabric, FabricChange},
};

pub(super) struct State {
    pub(super) vpc: VpcId,
    pub(super) capabilities: Capabilities,
    pub(super) latency: Latency,
    /// ENIs that the VPC may have in all.
    pub(super) eni_quota: Option<u32>,
    pub(super) fabric: Option<Arc<dyn Fabric>>,
    pub(super) subnets: BTreeMap<SubnetId, SubnetEntry>,
    pub(super) instances: BTreeMap<InstanceId, InstanceEntry>,
    pub(super) enis: BTreeMap<EniId, EniEntry>,
    /// What was asked and answered with each client token.
    pub(super) tokens: BTreeMap<String, (CreateEni, Eni)>,
    pub(super) history: History,
    /// When which order comes to its end; the number tells it from a later order, if it ended early.
    timers: BTreeMap<(Instant, u64), EniId>,
    /// Ends that nobody waits for yet.
    pub(super) unarmed: Vec<Instant>,
    orders: u64,
    created: u32,
}

pub(super) struct SubnetEntry {
    pub(super) zone: Zone,
    pub(super) v4: AddressPool,
    pub(super) v6: Option<AddressPool>,
}

pub(super) struct InstanceEntry {
    pub(super) instance: Instance,
    pub(super) limits: Limits,
    /// The ENIs that it has, is getting or is losing.
    pub(super) enis: BTreeSet<EniId>,
}

pub(super) struct EniEntry {
    pub(super) eni: Eni,
    /// The order under way and its number.
    pub(super) order: Option<(u64, Order)>,
}

/// What the cloud is doing to an ENI.
pub(super) enum Order {
    Create,
    Attach,
    Detach,
    Delete,
    Assign(Vec<IpAddr>),
    Unassign(Vec<IpAddr>),
    MigrateAddress {
        ip: IpAddr,
        to: EniId,
    },
    /// An address comes here by another ENI's order.
    Receive,
    MigrateEni(InstanceId),
}

impl State {
    pub(super) fn new(vpc: VpcId) -> Self {
        Self {
            vpc,
            capabilities: Capabilities {
                client_tokens: true,
                assign_batch: 10,
                unassign_batch: 10,
                describe_batch: 100,
                ipv6: false,
                migration: true,
                listing_timeout: None,
            },
            latency: Latency::default(),
            eni_quota: None,
            fabric: None,
            subnets: BTreeMap::new(),
            instances: BTreeMap::new(),
            enis: BTreeMap::new(),
            tokens: BTreeMap::new(),
            history: History::default(),
            timers: BTreeMap::new(),
            unarmed: Vec::new(),
            orders: 0,
            created: 0,
        }
    }

    /// Adds an instance with its primary ENI, which is in service at once.
    ///
    /// # Panics
    ///
    /// If the subnet does not exist or is full.
    pub(super) fn add_instance(&mut self, now: Instant, id: InstanceId, subnet: &SubnetId, limits: Limits) {
        let entry = self
            .subnets
            .get_mut(subnet)
            .unwrap_or_else(|| panic!("there is no subnet {subnet}"));
        let primary = entry
            .v4
            .take()
            .unwrap_or_else(|| panic!("subnet {subnet} is full"));
        let zone = entry.zone.clone();
        let mut eni = self.new_eni(
            format!("{id}-primary"),
            EniKind::Primary,
            subnet,
            zone.clone(),
            primary,
        );
        eni.state = EniState::InUse;
        eni.instance = Some(id.clone());
        eni.addresses.iter_mut().for_each(|address| address.ready = true);
        let instance = Instance {
            id: id.clone(),
            zone,
            vpc: self.vpc.clone(),
            state: InstanceState::Running,
        };
        let enis = BTreeSet::from([eni.id.clone()]);
        self.instances.insert(
            id.clone(),
            InstanceEntry {
                instance,
                limits,
                enis,
            },
        );
        let eni_id = eni.id.clone();
        self.enis.insert(
            eni_id.clone(),
            EniEntry {
                eni: eni.clone(),
                order: None,
            },
        );
        self.apply(FabricChange::EniCreated { eni: eni.clone() });
        self.apply(FabricChange::EniAttached { eni, instance: id });
        self.record(now, &eni_id);
    }

    /// An ENI with its primary address alone, on nothing.
    pub(super) fn new_eni(
        &mut self,
        name: String,
        kind: EniKind,
        subnet: &SubnetId,
        zone: Zone,
        primary: IpAddr,
    ) -> Eni {
        self.created += 1;
        let [_, a, b, c] = self.created.to_be_bytes();
        Eni {
            id: EniId::from(format!("eni-{:08x}", self.created)),
            name,
            mac: Mac([0x20, 0x90, 0x6f, a, b, c]),
            kind,
            state: EniState::Pending,
            subnet: subnet.clone(),
            zone,
            instance: None,
            addresses: vec![EniAddress {
                ip: primary,
                primary: true,
                ready: false,
            }],
            security_groups: Vec::new(),
            tags: BTreeMap::new(),
        }
    }

    /// The subnet as the cloud shows it.
    pub(super) fn subnet(&self, id: &SubnetId) -> Option<Subnet> {
        let entry = self.subnets.get(id)?;
        Some(Subnet {
            id: id.clone(),
            vpc: self.vpc.clone(),
            zone: entry.zone.clone(),
            cidr: entry.v4.cidr(),
            gateway: entry.v4.gateway(),
            free: entry.v4.free(),
        })
    }

    /// Starts an order that ends after a while.
    pub(super) fn begin(&mut self, now: Instant, id: &EniId, order: Order, takes: Duration) {
        self.orders += 1;
        if let Some(entry) = self.enis.get_mut(id) {
            entry.order = Some((self.orders, order));
        }
        self.timers.insert((now + takes, self.orders), id.clone());
        self.unarmed.push(now + takes);
        self.record(now, id);
    }

    /// Ends every order that is due.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            let ((due, number), id) = timer.remove_entry();
            let entry = self.enis.get_mut(&id);
            let order = entry.and_then(|entry| entry.order.take_if(|(current, _)| *current == number));
            if let Some((_, order)) = order {
                self.end(&id, order);
                self.record(due, &id);
            }
        }
    }

    /// Ends the order under way on an ENI ahead of its time.
    pub(super) fn end_now(&mut self, id: &EniId) {
        if let Some((_, order)) = self.enis.get_mut(id).and_then(|entry| entry.order.take()) {
            self.end(id, order);
        }
    }

    fn end(&mut self, id: &EniId, order: Order) {
        let Some(EniEntry { eni, .. }) = self.enis.get_mut(id) else {
            return;
        };
        match order {
            Order::Create => {
                eni.state = EniState::Available;
                eni.addresses.iter_mut().for_each(|address| address.ready = true);
                let eni = eni.clone();
                self.apply(FabricChange::EniCreated { eni });
            }
            Order::Attach => self.attach_now(id),
            Order::Detach => self.detach_now(id),
            Order::Delete => self.delete_now(id),
            Order::Assign(ips) => {
                let assigned = eni
                    .addresses
                    .iter_mut()
                    .filter(|address| ips.contains(&address.ip));
                assigned.for_each(|address| address.ready = true);
                ips.into_iter().for_each(|ip| self.assigned(id, ip));
            }
            Order::Unassign(ips) => ips.into_iter().for_each(|ip| self.unassign_now(id, ip)),
            Order::MigrateAddress { ip, to } => self.migrate_address_now(id, &to, ip),
            Order::Receive => {}
            Order::MigrateEni(to) => {
                self.detach_now(id);
                if let Some(entry) = self.enis.get_mut(id) {
                    entry.eni.instance = Some(to);
                }
                self.attach_now(id);
            }
        }
    }

    fn attach_now(&mut self, id: &EniId) {
        let Some(EniEntry { eni, .. }) = self.enis.get_mut(id) else {
            return;
        };
        eni.state = EniState::InUse;
        let eni = eni.clone();
        if let Some(instance) = eni.instance.clone() {
            self.apply(FabricChange::EniAttached { eni, instance });
        }
    }

    /// Tells the data plane of an address that an ENI got.
    pub(super) fn assigned(&self, id: &EniId, ip: IpAddr) {
        self.apply(FabricChange::AddressAssigned { eni: id.clone(), ip });
    }

    pub(super) fn detach_now(&mut self, id: &EniId) {
        let Some(entry) = self.enis.get_mut(id) else {
            return;
        };
        entry.eni.state = EniState::Available;
        let Some(instance) = entry.eni.instance.take() else {
            return;
        };
        if let Some(on) = self.instances.get_mut(&instance) {
            on.enis.remove(id);
        }
        self.apply(FabricChange::EniDetached {
            eni: id.clone(),
            instance,
        });
    }

    pub(super) fn delete_now(&mut self, id: &EniId) {
        let Some(EniEntry { eni, .. }) = self.enis.remove(id) else {
            return;
        };
        if let Some(subnet) = self.subnets.get_mut(&eni.subnet) {
            eni.addresses
                .iter()
                .for_each(|address| subnet.give_back(address.ip));
        }
        self.apply(FabricChange::EniDeleted { eni: id.clone() });
    }

    pub(super) fn unassign_now(&mut self, id: &EniId, ip: IpAddr) {
        let Some(EniEntry { eni, .. }) = self.enis.get_mut(id) else {
            return;
        };
        let Some(index) = eni
            .addresses
            .iter()
            .position(|address| address.ip == ip && !address.primary)
        else {
            return;
        };
        eni.addresses.remove(index);
        if let Some(subnet) = self.subnets.get_mut(&eni.subnet) {
            subnet.give_back(ip);
        }
        self.apply(FabricChange::AddressUnassigned { eni: id.clone(), ip });
    }

    /// Remembers an ENI's state for listings that lag.
    pub(super) fn record(&mut self, now: Instant, id: &EniId) {
        self.history
            .record(now, id, self.enis.get(id).map(|entry| &entry.eni));
    }

    fn apply(&self, change: FabricChange) {
        tracing::trace!(?change, "fabric");
        if let Some(fabric) = &self.fabric {
            fabric.apply(&change);
        }
    }
}

impl SubnetEntry {
    pub(super) fn pool(&mut self, family: Family) -> Option<&mut AddressPool> {
        match family {
            Family::V4 => Some(&mut self.v4),
            Family::V6 => self.v6.as_mut(),
        }
    }

    pub(super) fn give_back(&mut self, ip: IpAddr) {
        if let Some(pool) = self.pool(Family::of(ip)) {
            pool.give_back(ip);
        }
    }
}
