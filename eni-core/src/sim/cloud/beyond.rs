//! What a memory cloud does and shows beyond the trait [`Cloud`](crate::cloud::Cloud): the parts of a real
//! cloud's API that the core has no use for, and that a server of such an API needs.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use tokio::time::Instant;

use super::{
    Chosen, MemoryCloud,
    orders::{Verdict, refuse},
    state::{Order, State},
};
use crate::{
    cloud::{CloudErrorKind, CloudResult, CreateEni},
    model::{
        Eni, EniAddress, EniId, EniState, Family, Instance, InstanceId, Limits, SecurityGroupId, Subnet,
        SubnetId, VpcId,
    },
};

/// The order that a memory cloud is carrying out on an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its number; a later order of the cloud has a higher one.
    pub number: u64,
    /// Addresses that it takes off the ENI.
    pub leaving: Vec<IpAddr>,
    /// An address that it moves to another ENI.
    pub migrating: Option<IpAddr>,
}

/// Orders beyond the trait.
impl MemoryCloud {
    /// [`create_eni`](crate::cloud::Cloud::create_eni) with addresses of the caller's choice.
    pub async fn create_eni_with(&self, request: &CreateEni, chosen: &Chosen) -> CloudResult<Eni> {
        self.call("create_eni", request.name.clone(), |state, now| {
            state.create(now, request, chosen)
        })
        .await
    }

    /// Moves an ENI to another instance of its zone. It takes as long as a detachment and an attachment.
    pub async fn migrate_eni(&self, eni: &EniId, to: &InstanceId) -> CloudResult<()> {
        self.call("migrate_eni", eni.to_string(), |state, now| {
            state.migrate_eni(now, eni, to)
        })
        .await
    }
}

/// What there is, whatever listings show.
impl MemoryCloud {
    /// The VPC that everything is in.
    pub fn vpc(&self) -> VpcId {
        self.change(|state, _| state.vpc.clone())
    }

    /// An ENI.
    pub fn eni(&self, id: &EniId) -> Option<Eni> {
        self.change(|state, _| state.enis.get(id).map(|entry| entry.eni.clone()))
    }

    /// An instance and what it can carry.
    pub fn instance(&self, id: &InstanceId) -> Option<(Instance, Limits)> {
        self.change(|state, _| {
            let entry = state.instances.get(id);
            entry.map(|entry| (entry.instance.clone(), entry.limits))
        })
    }

    /// The ENIs that an instance has, is getting or is losing, in order of ids.
    pub fn enis_of(&self, id: &InstanceId) -> Vec<Eni> {
        self.change(|state, _| {
            let ids = state.instances.get(id).into_iter().flat_map(|on| &on.enis);
            ids.filter_map(|id| state.enis.get(id))
                .map(|entry| entry.eni.clone())
                .collect()
        })
    }

    /// Every instance and what it can carry, in order of ids.
    pub fn all_instances(&self) -> Vec<(Instance, Limits)> {
        self.change(|state, _| {
            let entries = state.instances.values();
            entries
                .map(|entry| (entry.instance.clone(), entry.limits))
                .collect()
        })
    }

    /// Every subnet, with its IPv6 range if it has one, in order of ids.
    pub fn all_subnets(&self) -> Vec<(Subnet, Option<IpNet>)> {
        self.change(|state, _| {
            let ids = state.subnets.iter();
            ids.filter_map(|(id, entry)| Some((state.subnet(id)?, entry.v6.as_ref().map(|pool| pool.cidr()))))
                .collect()
        })
    }

    /// The order under way on an ENI.
    pub fn under_way(&self, eni: &EniId) -> Option<UnderWay> {
        self.change(|state, _| {
            let (number, order) = state.enis.get(eni)?.order.as_ref()?;
            Some(UnderWay {
                number: *number,
                leaving: match order {
                    Order::Unassign(ips) => ips.clone(),
                    _ => Vec::new(),
                },
                migrating: match order {
                    Order::MigrateAddress { ip, .. } => Some(*ip),
                    _ => None,
                },
            })
        })
    }
}

/// Attributes, which change at once. `false` says that there is no such ENI.
impl MemoryCloud {
    /// Gives an ENI another name.
    pub fn rename_eni(&self, eni: &EniId, name: &str) -> bool {
        self.edit(eni, |eni| name.clone_into(&mut eni.name))
    }

    /// Replaces an ENI's security groups.
    pub fn set_security_groups(&self, eni: &EniId, groups: Vec<SecurityGroupId>) -> bool {
        self.edit(eni, |eni| eni.security_groups = groups)
    }

    /// Replaces an ENI's tags.
    pub fn set_tags(&self, eni: &EniId, tags: BTreeMap<String, String>) -> bool {
        self.edit(eni, |eni| eni.tags = tags)
    }

    /// Takes this address out of a subnet, if it is free; [`give_back`](Self::give_back) returns it.
    pub fn take_exactly(&self, subnet: &SubnetId, ip: IpAddr) -> bool {
        self.change(|state, _| {
            let subnet = state.subnets.get_mut(subnet);
            let pool = subnet.and_then(|subnet| subnet.pool(Family::of(ip)));
            pool.is_some_and(|pool| pool.take_exactly(ip))
        })
    }

    fn edit(&self, id: &EniId, edit: impl FnOnce(&mut Eni)) -> bool {
        self.change(|state, now| {
            let entry = state.enis.get_mut(id);
            let known = entry.map(|entry| edit(&mut entry.eni)).is_some();
            state.record(now, id);
            known
        })
    }
}

impl State {
    /// Moves one secondary address. Neither ENI takes another order meanwhile; it takes as long as an assignment.
    pub(super) fn migrate_address(
        &mut self,
        now: Instant,
        from: &EniId,
        to: &EniId,
        ip: IpAddr,
    ) -> Verdict<()> {
        let source = self.idle(from)?;
        let destination = self.idle(to)?;
        let Some(address) = source.addresses.iter().find(|address| address.ip == ip) else {
            return refuse(CloudErrorKind::NotFound, format!("{from} has no address {ip}"));
        };
        if address.primary {
            return refuse(
                CloudErrorKind::Invalid,
                format!("{ip} is the primary address of {from}"),
            );
        }
        if from == to || source.subnet != destination.subnet {
            return refuse(
                CloudErrorKind::Invalid,
                format!("{to} is not another ENI of the subnet of {from}"),
            );
        }
        self.room(destination, Family::of(ip), 1)?;
        if let Some(entry) = self.enis.get_mut(from) {
            let mut addresses = entry.eni.addresses.iter_mut();
            addresses
                .find(|address| address.ip == ip)
                .into_iter()
                .for_each(|address| address.ready = false);
        }
        let order = Order::MigrateAddress { ip, to: to.clone() };
        self.begin(now, from, order, self.latency.assign);
        self.begin(now, to, Order::Receive, self.latency.assign);
        Ok(())
    }

    /// Carries an address over; one whose destination is gone goes back to the subnet.
    pub(super) fn migrate_address_now(&mut self, from: &EniId, to: &EniId, ip: IpAddr) {
        self.unassign_now(from, ip);
        let Some(entry) = self.enis.get_mut(to) else {
            return;
        };
        let subnet = self.subnets.get_mut(&entry.eni.subnet);
        if subnet
            .and_then(|subnet| subnet.pool(Family::of(ip)))
            .is_some_and(|pool| pool.take_exactly(ip))
        {
            entry.eni.addresses.push(EniAddress {
                ip,
                primary: false,
                ready: true,
            });
            self.assigned(to, ip);
        }
    }

    fn migrate_eni(&mut self, now: Instant, id: &EniId, to: &InstanceId) -> Verdict<()> {
        let eni = self.idle(id)?;
        if eni.instance.is_none() || eni.kind == crate::model::EniKind::Primary {
            return refuse(
                CloudErrorKind::Conflict,
                format!("{id} is no secondary ENI on an instance"),
            );
        }
        self.fits(eni, to)?;
        if let Some(entry) = self.enis.get_mut(id) {
            entry.eni.state = EniState::Detaching;
        }
        if let Some(on) = self.instances.get_mut(to) {
            on.enis.insert(id.clone());
        }
        let takes = self.latency.detach + self.latency.attach;
        self.begin(now, id, Order::MigrateEni(to.clone()), takes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        cloud::{AssignAddresses, Cloud},
        sim::{Fabric, FabricChange, Latency, MemoryCloudBuilder},
    };

    #[derive(Default)]
    struct Recorder(parking_lot::Mutex<Vec<FabricChange>>);

    impl Fabric for Recorder {
        fn apply(&self, change: &FabricChange) {
            self.0.lock().push(change.clone());
        }
    }

    const LIMITS: Limits = Limits {
        enis: 3,
        addresses_per_eni: 3,
    };

    fn builder() -> MemoryCloudBuilder {
        MemoryCloud::builder()
            .subnet("subnet-a", "zone-1", "10.0.0.0/24".parse().unwrap())
            .ipv6("subnet-a", "2001:db8::/64".parse().unwrap())
            .instance("ins-a", "subnet-a", LIMITS)
            .instance("ins-b", "subnet-a", LIMITS)
            .latency(Latency::orders(Duration::from_secs(1)))
    }

    fn request(name: &str, secondary: u32) -> CreateEni {
        CreateEni {
            name: name.to_owned(),
            subnet: "subnet-a".into(),
            secondary,
            security_groups: Vec::new(),
            tags: BTreeMap::new(),
            token: String::new(),
        }
    }

    async fn settle() {
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_creation_takes_the_addresses_of_its_choice_or_none() {
        let cloud = builder().build();
        let free = cloud.all_subnets()[0].0.free;
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut chosen = Chosen {
            primary: Some(ip("10.0.0.50")),
            secondary: vec![ip("10.0.0.51"), ip("2001:db8::50")],
            ipv6: 1,
        };
        let eni = cloud.create_eni_with(&request("a", 1), &chosen).await.unwrap();
        let ips: Vec<_> = eni
            .addresses
            .iter()
            .map(|address| address.ip.to_string())
            .collect();
        assert_eq!(
            ips,
            [
                "10.0.0.50",
                "10.0.0.51",
                "2001:db8::50",
                "10.0.0.4",
                "2001:db8::2"
            ]
        );
        assert_eq!(cloud.all_subnets()[0].0.free, free - 3);
        chosen.primary = None;
        let refused = cloud
            .create_eni_with(&request("b", 0), &chosen)
            .await
            .unwrap_err();
        assert_eq!(refused.kind, CloudErrorKind::Conflict);
        assert_eq!(cloud.all_subnets()[0].0.free, free - 3, "nothing was taken");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_on_one_eni_at_a_time_while_it_migrates() {
        let fabric = Arc::new(Recorder::default());
        let cloud = builder().fabric(fabric.clone()).build();
        let source = cloud.create_eni(&request("source", 1)).await.unwrap();
        let target = cloud.create_eni(&request("target", 0)).await.unwrap();
        settle().await;
        let ip = source.secondary_addresses().next().unwrap().ip;
        fabric.0.lock().clear();
        cloud.migrate_address(&source.id, &target.id, ip).await.unwrap();
        assert_eq!(cloud.under_way(&source.id).unwrap().migrating, Some(ip));
        let busy = cloud
            .assign_addresses(&target.id, &AssignAddresses::Count(Family::V4, 1))
            .await;
        assert_eq!(busy.unwrap_err().kind, CloudErrorKind::Conflict);
        settle().await;
        let moved = [
            FabricChange::AddressUnassigned { eni: source.id, ip },
            FabricChange::AddressAssigned {
                eni: target.id.clone(),
                ip,
            },
        ];
        assert_eq!(*fabric.0.lock(), moved);
        assert!(
            cloud
                .eni(&target.id)
                .unwrap()
                .secondary_addresses()
                .any(|address| address.ip == ip && address.ready)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_eni_migrates_with_a_place_kept_for_it() {
        let cloud = builder().build();
        let eni = cloud.create_eni(&request("a", 0)).await.unwrap();
        settle().await;
        cloud.attach_eni(&eni.id, &"ins-a".into()).await.unwrap();
        settle().await;
        let target = InstanceId::from("ins-b");
        cloud.migrate_eni(&eni.id, &target).await.unwrap();
        assert_eq!(cloud.eni(&eni.id).unwrap().state, EniState::Detaching);
        assert_eq!(cloud.enis_of(&target).len(), 2, "its place is taken already");
        settle().await;
        let moved = cloud.eni(&eni.id).unwrap();
        assert_eq!((moved.state, moved.instance), (EniState::InUse, Some(target)));
        assert_eq!(cloud.enis_of(&"ins-a".into()).len(), 1);
    }
}
