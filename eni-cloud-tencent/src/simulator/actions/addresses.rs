//! Addresses of ENIs: assignment, withdrawal, migration.

use std::{collections::BTreeSet, net::IpAddr};

use eni_core::{
    cloud::{AssignAddresses, Cloud},
    model::{Eni, EniState, Family},
};
use serde_json::json;

use super::{Answer, members, refusal};
use crate::simulator::{
    desk::Desk,
    parameters::{NamedAddress, Parameters},
    refusal::{Refusal, Verdict, refuse},
    render::pending,
};

/// Addresses that the count form gives at once; the documentation names no figure, the list form's is 10.
const COUNT_PER_CALL: u64 = 10;

impl Desk {
    pub(super) async fn assign_v4(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let named = p.addresses("PrivateIpAddresses", "PrivateIpAddress")?;
        let assigned = self.assign(
            p,
            request_id,
            &named,
            "SecondaryPrivateIpAddressCount",
            Family::V4,
        );
        members(json!({"PrivateIpAddressSet": assigned.await?}))
    }

    pub(super) async fn assign_v6(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let named = p.addresses("Ipv6Addresses", "Address")?;
        let assigned = self.assign(p, request_id, &named, "Ipv6AddressCount", Family::V6);
        members(json!({"Ipv6AddressSet": assigned.await?}))
    }

    async fn assign(
        &self,
        p: &Parameters<'_>,
        request_id: &str,
        named: &[NamedAddress],
        by_count: &str,
        family: Family,
    ) -> Verdict<Vec<serde_json::Value>> {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        let count = p.number(by_count).unwrap_or(0);
        if named.is_empty() && count == 0 {
            return Err(Refusal::missing(by_count));
        }
        if !named.is_empty() && count > 0 {
            return refuse!(
                "UnsupportedOperation",
                "The simulator takes addresses by list or by number in one call."
            );
        }
        if count > COUNT_PER_CALL {
            let code = p.action.code(&[
                "InvalidParameterValue.LimitExceeded",
                "InvalidParameterValue.Range",
            ]);
            return refuse!(code, "One call assigns at most {COUNT_PER_CALL} addresses.");
        }
        let ips: Vec<IpAddr> = named.iter().map(|address| address.ip).collect();
        distinct(p, &ips)?;
        if let Some(address) = named.iter().find(|address| address.primary) {
            return refuse!(
                "InvalidParameterValue.Malformed",
                "{} cannot become primary.",
                address.ip
            );
        }
        if let Some(ip) = ips.iter().find(|ip| has(&eni, **ip)) {
            let code = p.action.code(&["ResourceInUse.Address", "ResourceInUse"]);
            return refuse!(code, "{ip} is on `{}`.", eni.id);
        }
        self.at_rest(p, &eni)?;
        let request = match ips.is_empty() {
            true => AssignAddresses::Count(family, count as u32),
            false => AssignAddresses::Exactly(ips),
        };
        let assigned = self.cloud.assign_addresses(&eni.id, &request).await;
        let assigned = assigned.map_err(|error| refusal(p.action, error))?;
        let description = |ip: &IpAddr| {
            let address = named.iter().find(|address| address.ip == *ip);
            address.and_then(|address| address.description.clone())
        };
        self.note(&eni.id, |notes| {
            let described = assigned.iter().filter_map(|ip| Some((*ip, description(ip)?)));
            notes.addresses.extend(described);
        });
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        let show = |ip: &IpAddr| pending(*ip, false, &description(ip).unwrap_or_default());
        Ok(assigned.iter().map(show).collect())
    }

    pub(super) async fn unassign(
        &self,
        p: &Parameters<'_>,
        request_id: &str,
        list: &str,
        member: &str,
    ) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        let ips: Vec<IpAddr> = p
            .addresses(list, member)?
            .into_iter()
            .map(|address| address.ip)
            .collect();
        if ips.is_empty() {
            return Err(Refusal::missing(list));
        }
        distinct(p, &ips)?;
        if let Some(instance) = p.optional("InstanceId")
            && eni.instance.as_ref().is_none_or(|on| on.as_str() != instance)
        {
            return refuse!(
                "UnsupportedOperation.AttachmentNotFound",
                "`{}` is not on `{instance}`.",
                eni.id
            );
        }
        if let Some(ip) = ips.iter().find(|ip| !has(&eni, **ip)) {
            return refuse!(
                "UnsupportedOperation.AttachmentNotFound",
                "{ip} is not on `{}`.",
                eni.id
            );
        }
        if ips.contains(&eni.primary_address().unwrap_or(IpAddr::from([0; 4]))) {
            let code = p
                .action
                .code(&["UnauthorizedOperation.PrimaryIp", "UnsupportedOperation"]);
            return refuse!(code, "The primary address of `{}` stays.", eni.id);
        }
        self.at_rest(p, &eni)?;
        let unassigned = self.cloud.unassign_addresses(&eni.id, &ips).await;
        unassigned.map_err(|error| refusal(p.action, error))?;
        self.note(&eni.id, |notes| notes.addresses.retain(|ip, _| !ips.contains(ip)));
        self.tasks.lock().begin(request_id, &self.cloud, &eni.id);
        members(json!({}))
    }

    pub(super) async fn migrate_address(&self, p: &Parameters<'_>, request_id: &str) -> Answer {
        let source = self.eni(p, "SourceNetworkInterfaceId")?;
        let target = self.eni(p, "DestinationNetworkInterfaceId")?;
        let ip: IpAddr = p.text("PrivateIpAddress")?.parse().map_err(|_| {
            Refusal::new(
                "InvalidParameterValue.Malformed",
                "`PrivateIpAddress` is not an IP address.",
            )
        })?;
        if !has(&source, ip) {
            return refuse!(
                "UnauthorizedOperation.AttachmentNotFound",
                "{ip} is not on `{}`.",
                source.id
            );
        }
        if source.primary_address() == Some(ip) {
            return refuse!(
                "UnauthorizedOperation.PrimaryIp",
                "{ip} is the primary address of `{}`.",
                source.id
            );
        }
        if source.subnet != target.subnet || source.id == target.id {
            return refuse!(
                "UnsupportedOperation",
                "An address moves between two network interfaces of a subnet."
            );
        }
        self.at_rest(p, &source)?;
        self.at_rest(p, &target)?;
        let migrated = self.cloud.migrate_address(&source.id, &target.id, ip).await;
        migrated.map_err(|error| refusal(p.action, error))?;
        self.tasks.lock().begin(request_id, &self.cloud, &source.id);
        members(json!({}))
    }

    pub(super) fn modify_addresses(&self, p: &Parameters<'_>) -> Answer {
        let eni = self.eni(p, "NetworkInterfaceId")?;
        let named = p.addresses("PrivateIpAddresses", "PrivateIpAddress")?;
        if let Some(address) = named.iter().find(|address| !has(&eni, address.ip)) {
            return refuse!("ResourceNotFound", "{} is not on `{}`.", address.ip, eni.id);
        }
        self.note(&eni.id, |notes| {
            let described = named
                .into_iter()
                .filter_map(|address| Some((address.ip, address.description?)));
            notes.addresses.extend(described);
        });
        members(json!({}))
    }

    /// The ENI is neither on its way somewhere nor at work on another order.
    fn at_rest(&self, p: &Parameters<'_>, eni: &Eni) -> Verdict<()> {
        match eni.state {
            EniState::Available | EniState::InUse => self.idle(p, eni),
            state => refuse!(
                p.action
                    .code(&["UnsupportedOperation.InvalidState", "UnsupportedOperation"]),
                "`{}` is {state:?}.",
                eni.id
            ),
        }
    }
}

fn has(eni: &Eni, ip: IpAddr) -> bool {
    eni.addresses.iter().any(|address| address.ip == ip)
}

fn distinct(p: &Parameters<'_>, ips: &[IpAddr]) -> Verdict<()> {
    match ips.iter().collect::<BTreeSet<_>>().len() == ips.len() {
        true => Ok(()),
        false => refuse!(
            p.action.code(&[
                "InvalidParameterValue.DuplicatePara",
                "InvalidParameterValue",
                "UnsupportedOperation"
            ]),
            "An address is named twice."
        ),
    }
}
