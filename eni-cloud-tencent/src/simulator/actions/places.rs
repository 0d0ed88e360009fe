//! VPCs, subnets and zones.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use eni_core::{
    cloud::Cloud,
    model::{Subnet, SubnetId},
};
use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};

use super::{Answer, members, refusal};
use crate::simulator::{
    desk::Desk,
    listing::{Filters, by_ids, page},
    parameters::Parameters,
};

/// Addresses of a subnet that nobody gets: the network's own, the gateway's and the last.
const RESERVED: u64 = 3;

impl Desk {
    pub(super) async fn describe_subnets(&self, p: &Parameters<'_>) -> Answer {
        let known = [
            "subnet-id",
            "vpc-id",
            "cidr-block",
            "subnet-name",
            "zone",
            "is-default",
            "is-remote-vpc-snat",
        ];
        let filters = Filters::of(p, &known)?;
        let ids = p.texts("SubnetIds");
        let all = self.cloud.all_subnets();
        let find = |id: &str| all.iter().find(|(subnet, _)| subnet.id.as_str() == id).cloned();
        let mut found = match ids.is_empty() {
            true => all.clone(),
            false => by_ids(p, &ids, find)?,
        };
        found.retain(|(subnet, _)| {
            filters.pass(&BTreeMap::new(), |name| match name {
                "subnet-id" | "subnet-name" => vec![subnet.id.to_string()],
                "vpc-id" => vec![subnet.vpc.to_string()],
                "cidr-block" => vec![subnet.cidr.to_string()],
                "zone" => vec![subnet.zone.to_string()],
                _ => vec!["false".to_owned(), "FALSE".to_owned()],
            })
        });
        // The call goes through the cloud as every other does, with its time and its faults.
        let ids: Vec<SubnetId> = found.iter().map(|(subnet, _)| subnet.id.clone()).collect();
        self.cloud
            .subnets(&ids)
            .await
            .map_err(|error| refusal(p.action, error))?;
        let (total, shown) = page(p, found)?;
        let shown: Vec<Value> = shown
            .iter()
            .map(|(subnet, v6)| self.render_subnet(subnet, *v6))
            .collect();
        members(json!({"SubnetSet": shown, "TotalCount": total}))
    }

    fn render_subnet(&self, subnet: &Subnet, v6: Option<IpNet>) -> Value {
        let bits = u32::from(subnet.cidr.max_prefix_len() - subnet.cidr.prefix_len());
        let total = 1u64
            .checked_shl(bits)
            .unwrap_or(u64::MAX)
            .saturating_sub(RESERVED);
        json!({
            "VpcId": subnet.vpc.as_str(),
            "SubnetId": subnet.id.as_str(),
            "SubnetName": subnet.id.as_str(),
            "CidrBlock": subnet.cidr.to_string(),
            "IsDefault": false,
            "EnableBroadcast": false,
            "Zone": subnet.zone.as_str(),
            "RouteTableId": "rtb-00000001",
            "CreatedTime": self.settings.since,
            "AvailableIpAddressCount": subnet.free,
            "TotalIpAddressCount": total,
            "Ipv6CidrBlock": v6.map(|range| range.to_string()).unwrap_or_default(),
            "NetworkAclId": "",
            "IsRemoteVpcSnat": false,
            "TagSet": [],
            "CdcId": "",
            "IsCdcSubnet": 0,
        })
    }

    pub(super) fn describe_vpcs(&self, p: &Parameters<'_>) -> Answer {
        let filters = Filters::of(p, &["vpc-name", "vpc-id", "is-default", "cidr-block"])?;
        let vpc = self.cloud.vpc();
        let range = self.vpc_range();
        let ids = p.texts("VpcIds");
        by_ids(p, &ids, |id| (id == vpc.as_str()).then_some(()))?;
        let passes = filters.pass(&BTreeMap::new(), |name| match name {
            "vpc-name" | "vpc-id" => vec![vpc.to_string()],
            "cidr-block" => vec![range.to_string()],
            _ => vec!["false".to_owned(), "FALSE".to_owned()],
        });
        let found = if passes { vec![()] } else { Vec::new() };
        let (total, shown) = page(p, found)?;
        let show = |()| {
            json!({
                "VpcId": vpc.as_str(),
                "VpcName": vpc.as_str(),
                "CidrBlock": range.to_string(),
                "IsDefault": false,
                "EnableMulticast": false,
                "CreatedTime": self.settings.since,
                "DnsServerSet": ["183.60.83.19", "183.60.82.98"],
                "DomainName": "",
                "DhcpOptionsId": "",
                "EnableDhcp": true,
                "Ipv6CidrBlock": "",
                "TagSet": [],
                "AssistantCidrSet": [],
            })
        };
        members(json!({"VpcSet": shown.into_iter().map(show).collect::<Vec<_>>(), "TotalCount": total}))
    }

    /// The smallest range that holds every subnet.
    fn vpc_range(&self) -> Ipv4Net {
        let subnets = self.cloud.all_subnets();
        let ranges = subnets.iter().filter_map(|(subnet, _)| match subnet.cidr {
            IpNet::V4(range) => Some(range),
            IpNet::V6(_) => None,
        });
        let widen = |held: Ipv4Net, range: Ipv4Net| {
            let mut held = held;
            while let Some(wider) = held.supernet().filter(|_| !held.contains(&range)) {
                held = wider;
            }
            held
        };
        ranges
            .reduce(widen)
            .unwrap_or_else(|| Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8))
    }

    pub(super) fn describe_zones(&self) -> Answer {
        let zones: BTreeSet<_> = self
            .cloud
            .all_subnets()
            .into_iter()
            .map(|(subnet, _)| subnet.zone)
            .collect();
        let show = |(index, zone): (usize, &eni_core::model::Zone)| {
            json!({
                "Zone": zone.as_str(),
                "ZoneName": zone.as_str(),
                "ZoneId": (100_001 + index).to_string(),
                "ZoneState": "AVAILABLE",
            })
        };
        let shown: Vec<Value> = zones.iter().enumerate().map(show).collect();
        members(json!({"TotalCount": shown.len(), "ZoneSet": shown}))
    }
}
