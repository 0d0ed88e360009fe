//! Who uses which address of the VPC; and addresses that are reserved.

use std::{collections::BTreeMap, net::IpAddr};

use eni_core::model::{EniKind, Subnet, SubnetId};
use serde_json::{Value, json};

use super::{Answer, members};
use crate::simulator::{
    desk::Desk,
    listing::{Filters, by_ids, page},
    parameters::Parameters,
    refusal::{Refusal, Verdict, refuse},
    render::tags,
    reserves::Reserve,
};

/// One address in use.
struct Used {
    ip: IpAddr,
    subnet: SubnetId,
    /// `CVM`, `ENI` or `RESERVED`.
    kind: &'static str,
    by: String,
}

impl Desk {
    /// Every IPv4 address in use, in order.
    fn used(&self) -> Vec<Used> {
        let mut used: Vec<Used> = Vec::new();
        for eni in self.cloud.all_enis() {
            let (kind, by) = match (eni.kind, &eni.instance) {
                (EniKind::Primary, Some(instance)) => ("CVM", instance.to_string()),
                _ => ("ENI", eni.id.to_string()),
            };
            let v4 = eni
                .addresses
                .iter()
                .map(|address| address.ip)
                .filter(IpAddr::is_ipv4);
            used.extend(v4.map(|ip| Used {
                ip,
                subnet: eni.subnet.clone(),
                kind,
                by: by.clone(),
            }));
        }
        used.extend(self.reserves.lock().all().map(|reserve| Used {
            ip: reserve.ip,
            subnet: reserve.subnet.clone(),
            kind: "RESERVED",
            by: reserve.id.clone(),
        }));
        used.sort_by_key(|used| used.ip);
        used
    }

    /// Addresses that nobody uses are left out.
    pub(super) fn describe_private_ips(&self, p: &Parameters<'_>) -> Answer {
        self.vpc(p)?;
        let wanted = p.texts("PrivateIpAddresses");
        let subnets = self.cloud.all_subnets();
        let show = |used: Used| {
            let subnet = subnets.iter().find(|(subnet, _)| subnet.id == used.subnet);
            json!({
                "PrivateIpAddress": used.ip.to_string(),
                "CidrBlock": subnet.map(|(subnet, _)| subnet.cidr.to_string()).unwrap_or_default(),
                "PrivateIpAddressType": used.kind,
                "CreatedTime": self.settings.since,
            })
        };
        let mut used = self.used();
        used.retain(|used| wanted.contains(&used.ip.to_string().as_str()));
        members(json!({"VpcPrivateIpAddressSet": used.into_iter().map(show).collect::<Vec<_>>()}))
    }

    pub(super) fn describe_used_ips(&self, p: &Parameters<'_>) -> Answer {
        self.vpc(p)?;
        let (subnet, wanted) = (p.optional("SubnetId"), p.texts("IpAddresses"));
        let mut used = self.used();
        used.retain(|used| subnet.is_none_or(|id| id == used.subnet.as_str()));
        used.retain(|used| wanted.is_empty() || wanted.contains(&used.ip.to_string().as_str()));
        let (total, shown) = page(p, used)?;
        let show = |used: Used| {
            json!({
                "VpcId": self.cloud.vpc().as_str(),
                "SubnetId": used.subnet.as_str(),
                "IpAddress": used.ip.to_string(),
                "ResourceType": used.kind,
                "ResourceId": used.by,
            })
        };
        members(
            json!({"IpAddressStates": shown.into_iter().map(show).collect::<Vec<_>>(), "TotalCount": total}),
        )
    }

    pub(super) fn create_reserves(&self, p: &Parameters<'_>) -> Answer {
        self.vpc(p)?;
        let named: Vec<IpAddr> = p
            .texts("IpAddresses")
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        let taken = match (named.is_empty(), p.number("IpAddressCount").unwrap_or(0)) {
            (true, 0) => return Err(Refusal::missing("IpAddressCount")),
            (true, count) => self.take_any(p, usize::try_from(count).unwrap_or(usize::MAX))?,
            (false, _) => self.take_named(&named)?,
        };
        let created = self.stamp();
        let mut reserves = self.reserves.lock();
        let made: Vec<Value> = taken
            .into_iter()
            .map(|(subnet, ip)| {
                let text = |name: &str| p.optional(name).unwrap_or_default().to_owned();
                let reserve = reserves.add(Reserve {
                    id: String::new(),
                    subnet,
                    ip,
                    name: text("Name"),
                    description: text("Description"),
                    created: created.clone(),
                    tags: p.pairs("Tags", "Key", "Value"),
                });
                self.show_reserve(&reserve)
            })
            .collect();
        members(json!({"ReserveIpAddressSet": made}))
    }

    fn take_any(&self, p: &Parameters<'_>, count: usize) -> Verdict<Vec<(SubnetId, IpAddr)>> {
        let subnet = self.subnet(p, "SubnetId")?;
        if count > subnet.free as usize {
            return refuse!(
                "InvalidParameterValue",
                "{} addresses are free in `{}`.",
                subnet.free,
                subnet.id
            );
        }
        let taken = self.cloud.take_addresses(&subnet.id, count);
        Ok(taken.into_iter().map(|ip| (subnet.id.clone(), ip)).collect())
    }

    /// All of them or none.
    fn take_named(&self, ips: &[IpAddr]) -> Verdict<Vec<(SubnetId, IpAddr)>> {
        let subnets: Vec<Subnet> = self
            .cloud
            .all_subnets()
            .into_iter()
            .map(|(subnet, _)| subnet)
            .collect();
        let mut taken = Vec::new();
        for ip in ips {
            let subnet = subnets.iter().find(|subnet| subnet.cidr.contains(ip));
            match subnet {
                Some(subnet) if self.cloud.take_exactly(&subnet.id, *ip) => {
                    taken.push((subnet.id.clone(), *ip))
                }
                _ => {
                    taken
                        .iter()
                        .for_each(|(subnet, ip)| self.cloud.give_back(subnet, &[*ip]));
                    return refuse!("InvalidParameterValue", "{ip} is not free.");
                }
            }
        }
        Ok(taken)
    }

    pub(super) fn describe_reserves(&self, p: &Parameters<'_>) -> Answer {
        let known = [
            "vpc-id",
            "subnet-id",
            "reserve-ip-id",
            "ip-address",
            "resource-id",
            "name",
            "state",
        ];
        let filters = Filters::of(p, &known)?;
        let reserves = self.reserves.lock();
        let ids = p.texts("ReserveIpIds");
        let mut found: Vec<&Reserve> = match ids.is_empty() {
            true => reserves.all().collect(),
            false => by_ids(p, &ids, |id| reserves.get(id))?,
        };
        found.retain(|reserve| {
            filters.pass(&reserve.tags, |name| match name {
                "vpc-id" => vec![self.cloud.vpc().to_string()],
                "subnet-id" => vec![reserve.subnet.to_string()],
                "reserve-ip-id" => vec![reserve.id.clone()],
                "ip-address" => vec![reserve.ip.to_string()],
                "name" => vec![reserve.name.clone()],
                "state" => vec!["UnBind".to_owned()],
                _ => Vec::new(),
            })
        });
        let (total, shown) = page(p, found)?;
        let shown: Vec<Value> = shown
            .into_iter()
            .map(|reserve| self.show_reserve(reserve))
            .collect();
        members(json!({"ReserveIpAddressSet": shown, "TotalCount": total}))
    }

    pub(super) fn delete_reserves(&self, p: &Parameters<'_>) -> Answer {
        self.vpc(p)?;
        let mut reserves = self.reserves.lock();
        let ids = p.texts("ReserveIpIds");
        if let Some(gone) = ids.iter().find(|id| reserves.get(id).is_none()) {
            return refuse!(
                "InvalidParameterValue.ResourceNotFound",
                "`{gone}` does not exist."
            );
        }
        let removed: BTreeMap<String, Reserve> = ids
            .iter()
            .filter_map(|id| Some(((*id).to_owned(), reserves.remove(id)?)))
            .collect();
        for reserve in removed.values() {
            self.cloud.give_back(&reserve.subnet, &[reserve.ip]);
        }
        members(json!({}))
    }

    fn show_reserve(&self, reserve: &Reserve) -> Value {
        json!({
            "ReserveIpId": reserve.id,
            "VpcId": self.cloud.vpc().as_str(),
            "SubnetId": reserve.subnet.as_str(),
            "ReserveIpAddress": reserve.ip.to_string(),
            "ResourceId": "",
            "IpType": 0,
            "State": "UnBind",
            "Name": reserve.name,
            "Description": reserve.description,
            "CreatedTime": reserve.created,
            "TagSet": tags(&reserve.tags),
        })
    }
}
