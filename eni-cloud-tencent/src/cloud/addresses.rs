//! Orders about an ENI's addresses.

use std::{collections::BTreeSet, net::IpAddr};

use eni_core::{
    cloud::{AssignAddresses, CloudError, CloudErrorKind, CloudResult},
    model::{EniId, Family, SubnetId},
};

use super::{TencentCloud, listing::join, senseless};
use crate::{
    api::{
        Action, AssignIpv6Addresses, AssignPrivateIpAddresses, BATCH, MigratePrivateIpAddress,
        NamedIpv6Address, NamedPrivateIpAddress, NetworkInterface, UnassignIpv6Addresses,
        UnassignPrivateIpAddresses,
    },
    client::Failure,
    convert,
    error::Class,
};

impl TencentCloud {
    pub(super) async fn assign(&self, id: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        let _eni = self.turns.take(id.as_str()).await;
        let (family, count, these) = match request {
            AssignAddresses::Count(family, count) => (*family, *count, Vec::new()),
            AssignAddresses::Exactly(wanted) => {
                let present = self.look(id).await?.map(|eni| held(&eni));
                let Some(present) = present else {
                    return Err(refused(CloudErrorKind::NotFound, id, "there is no such ENI"));
                };
                let missing: BTreeSet<_> = wanted
                    .iter()
                    .filter(|ip| !present.contains(ip))
                    .copied()
                    .collect();
                let families: BTreeSet<_> = missing.iter().map(|ip| Family::of(*ip)).collect();
                let Some(family) = families.first() else {
                    return Ok(Vec::new());
                };
                if families.len() > 1 {
                    let message = "one order assigns addresses of one family";
                    return Err(refused(CloudErrorKind::Invalid, id, message));
                }
                let count = u32::try_from(missing.len()).unwrap_or(u32::MAX);
                (*family, count, missing.into_iter().collect())
            }
        };
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > BATCH {
            let message = format!("one order assigns {BATCH} addresses at most, not {count}");
            return Err(refused(CloudErrorKind::Invalid, id, message));
        }
        let answer = self.order_addresses(id, family, count, &these).await;
        let added = match answer {
            Ok(added) => added,
            Err(failure) => {
                let subnet = self.subnet_of(id, &failure).await;
                return Err(failure.about(id.as_str(), subnet.as_ref()));
            }
        };
        match added.len() == count as usize {
            true => Ok(added),
            false => {
                let message = format!("{count} addresses were ordered and [{}] answered", join(&added));
                Err(senseless(AssignPrivateIpAddresses::NAME, id.as_str(), message))
            }
        }
    }

    /// Any `count` addresses, or `these` if they are named. The token makes the order one, should a proxy on the
    /// way send it twice.
    async fn order_addresses(
        &self,
        id: &EniId,
        family: Family,
        count: u32,
        these: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Failure> {
        let any = Some(count).filter(|_| these.is_empty());
        let token = format!("{:016x}{:016x}", self.random(), self.random());
        let (action, added): (_, Vec<String>) = match family {
            Family::V4 => {
                let order = AssignPrivateIpAddresses {
                    network_interface_id: id.to_string(),
                    private_ip_addresses: these.iter().map(v4).collect(),
                    secondary_private_ip_address_count: any,
                    client_token: token,
                };
                let added = self.send(&order, id.as_str()).await?.private_ip_address_set;
                let added = added.into_iter().map(|address| address.private_ip_address);
                (AssignPrivateIpAddresses::NAME, added.collect())
            }
            Family::V6 => {
                let order = AssignIpv6Addresses {
                    network_interface_id: id.to_string(),
                    ipv6_addresses: these.iter().map(v6).collect(),
                    ipv6_address_count: any,
                    client_token: self.client.site.has_ipv6_tokens().then_some(token),
                };
                let added = self.send(&order, id.as_str()).await?.ipv6_address_set;
                let added = added.into_iter().map(|address| address.address);
                (AssignIpv6Addresses::NAME, added.collect())
            }
        };
        let added: Result<Vec<_>, _> = added.iter().map(|text| convert::ip(text)).collect();
        added.map_err(|error| Failure::senseless(action, error))
    }

    /// One order of two ENIs, given to the one that loses the address.
    pub(super) async fn migrate(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()> {
        let _from = self.turns.take(from.as_str()).await;
        let order = MigratePrivateIpAddress {
            source_network_interface_id: from.to_string(),
            destination_network_interface_id: to.to_string(),
            private_ip_address: address.to_string(),
        };
        let sent = self.send(&order, from.as_str()).await;
        sent.map(drop)
            .map_err(|failure| failure.about(from.as_str(), None))
    }

    pub(super) async fn unassign(&self, id: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        let _eni = self.turns.take(id.as_str()).await;
        let named: BTreeSet<_> = addresses.iter().copied().collect();
        if named.len() > BATCH as usize {
            let message = format!(
                "one order unassigns {BATCH} addresses at most, not {}",
                named.len()
            );
            return Err(CloudError::new(
                CloudErrorKind::Invalid,
                UnassignPrivateIpAddresses::NAME,
                id,
                message,
            ));
        }
        for family in [Family::V4, Family::V6] {
            let named: BTreeSet<_> = named
                .iter()
                .copied()
                .filter(|ip| Family::of(*ip) == family)
                .collect();
            if !named.is_empty() {
                self.unassign_family(id, family, named).await?;
            }
        }
        Ok(())
    }

    /// Orders first and reads only if that is refused: addresses that are gone fail the others' order too.
    async fn unassign_family(&self, id: &EniId, family: Family, named: BTreeSet<IpAddr>) -> CloudResult<()> {
        let Err(failure) = self.release(id, family, &named).await else {
            return Ok(());
        };
        let Some(Some(eni)) = self.refused_but(id, &failure).await else {
            return Err(failure.about(id.as_str(), None));
        };
        let (held, leaving) = (held(&eni), leaving(&eni));
        let rest: BTreeSet<_> = named.intersection(&held).copied().collect();
        if rest.is_subset(&leaving) {
            return Ok(());
        }
        if rest.len() == named.len() {
            return Err(failure.about(id.as_str(), None));
        }
        let released = self.release(id, family, &rest).await;
        released.map_err(|failure| failure.about(id.as_str(), None))
    }

    async fn release(&self, id: &EniId, family: Family, ips: &BTreeSet<IpAddr>) -> Result<(), Failure> {
        match family {
            Family::V4 => {
                let order = UnassignPrivateIpAddresses {
                    network_interface_id: id.to_string(),
                    private_ip_addresses: ips.iter().map(v4).collect(),
                };
                self.send(&order, id.as_str()).await?;
            }
            Family::V6 => {
                let order = UnassignIpv6Addresses {
                    network_interface_id: id.to_string(),
                    ipv6_addresses: ips.iter().map(v6).collect(),
                };
                self.send(&order, id.as_str()).await?;
            }
        }
        Ok(())
    }

    /// The subnet of an ENI, which only a full one is asked for.
    async fn subnet_of(&self, id: &EniId, failure: &Failure) -> Option<SubnetId> {
        if failure.class() != Some(Class::SubnetFull) {
            return None;
        }
        match self.look(id).await {
            Ok(eni) => eni.map(|eni| SubnetId::from(eni.subnet_id)),
            Err(error) => {
                tracing::warn!(%id, %error, "the full subnet of an ENI could not be read");
                None
            }
        }
    }
}

fn v4(ip: &IpAddr) -> NamedPrivateIpAddress {
    NamedPrivateIpAddress {
        private_ip_address: ip.to_string(),
    }
}

fn v6(ip: &IpAddr) -> NamedIpv6Address {
    NamedIpv6Address {
        address: ip.to_string(),
    }
}

/// The addresses of an ENI with their states.
fn addresses(eni: &NetworkInterface) -> impl Iterator<Item = (IpAddr, &str)> {
    let v4 = eni
        .private_ip_address_set
        .iter()
        .map(|a| (&a.private_ip_address, a.state.as_str()));
    let v6 = eni
        .ipv6_address_set
        .iter()
        .map(|a| (&a.address, a.state.as_str()));
    v4.chain(v6)
        .filter_map(|(text, state)| Some((text.parse().ok()?, state)))
}

fn held(eni: &NetworkInterface) -> BTreeSet<IpAddr> {
    addresses(eni).map(|(ip, _)| ip).collect()
}

fn leaving(eni: &NetworkInterface) -> BTreeSet<IpAddr> {
    addresses(eni)
        .filter(|(_, state)| *state == "DELETING")
        .map(|(ip, _)| ip)
        .collect()
}

fn refused(kind: CloudErrorKind, id: &EniId, message: impl std::fmt::Display) -> CloudError {
    CloudError::new(kind, AssignPrivateIpAddresses::NAME, id, message)
}
