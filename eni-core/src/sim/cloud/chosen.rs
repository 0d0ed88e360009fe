//! The addresses of a creation, taken from its subnet.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    orders::{Verdict, refuse},
    state::SubnetEntry,
};
use crate::{
    cloud::CloudErrorKind,
    model::{Family, SubnetId},
};

/// The addresses that a creation asks for by value, and those of IPv6. The default leaves all to the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The primary address.
    pub primary: Option<IpAddr>,
    /// Secondary addresses of either family, beyond those that are asked for by number.
    pub secondary: Vec<IpAddr>,
    /// How many IPv6 addresses are asked for by number.
    pub ipv6: u32,
}

impl Chosen {
    /// Takes the addresses of a creation out of its subnet, all or none, the primary one first.
    pub(super) fn take(&self, subnet: &mut SubnetEntry, id: &SubnetId, any: u32) -> Verdict<Vec<IpAddr>> {
        let named: Vec<IpAddr> = self.primary.iter().chain(&self.secondary).copied().collect();
        if named.iter().collect::<BTreeSet<_>>().len() < named.len() {
            return refuse(CloudErrorKind::Invalid, "an address is named twice");
        }
        for ip in &named {
            match subnet.pool(Family::of(*ip)) {
                Some(pool) if pool.is_taken(*ip) => {
                    return refuse(CloudErrorKind::Conflict, format!("{ip} is in use"));
                }
                Some(pool) if pool.serves(*ip) => {}
                _ => return refuse(CloudErrorKind::Invalid, format!("{ip} is not an address of {id}")),
            }
        }
        let count = |v4: bool| named.iter().filter(|ip| ip.is_ipv4() == v4).count() as u32;
        let v4 = any.saturating_add(count(true) + u32::from(self.primary.is_none()));
        let v6 = self.ipv6.saturating_add(count(false));
        for (family, wanted) in [(Family::V4, v4), (Family::V6, v6)] {
            match subnet.pool(family).map(|pool| pool.free()) {
                _ if wanted == 0 => {}
                None => return refuse(CloudErrorKind::Invalid, format!("{id} has no {family:?} range")),
                Some(free) if free < wanted => {
                    let kind = CloudErrorKind::Exhausted { subnet: id.clone() };
                    return refuse(kind, format!("{free} addresses are free in {id}"));
                }
                Some(_) => {}
            }
        }
        for ip in &named {
            subnet.pool(Family::of(*ip)).map(|pool| pool.take_exactly(*ip));
        }
        let primary = self.primary.or_else(|| subnet.v4.take());
        let mut addresses: Vec<IpAddr> = primary
            .into_iter()
            .chain(self.secondary.iter().copied())
            .collect();
        addresses.extend((0..any).filter_map(|_| subnet.v4.take()));
        let v6 = subnet.v6.as_mut();
        addresses.extend(
            v6.into_iter()
                .flat_map(|pool| (0..self.ipv6).filter_map(|_| pool.take())),
        );
        Ok(addresses)
    }
}
