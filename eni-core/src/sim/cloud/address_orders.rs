//! How the cloud judges an order about an ENI's addresses.

use std::{collections::BTreeSet, net::IpAddr};

use tokio::time::Instant;

use super::{
    orders::{Verdict, refuse},
    state::{Order, State},
};
use crate::{
    cloud::{AssignAddresses, CloudErrorKind},
    model::{Eni, EniAddress, EniId, Family},
};

impl State {
    pub(super) fn assign(
        &mut self,
        now: Instant,
        id: &EniId,
        request: &AssignAddresses,
    ) -> Verdict<Vec<IpAddr>> {
        let (family, wanted) = match request {
            AssignAddresses::Count(family, count) => (*family, Wanted::Any(*count)),
            AssignAddresses::Exactly(ips) => {
                let present: BTreeSet<_> = self.known(id)?.eni.addresses.iter().map(|a| a.ip).collect();
                let missing: BTreeSet<_> = ips.iter().copied().filter(|ip| !present.contains(ip)).collect();
                let Some(first) = missing.first() else {
                    return Ok(Vec::new());
                };
                let family = Family::of(*first);
                if missing.iter().any(|ip| Family::of(*ip) != family) {
                    return refuse(
                        CloudErrorKind::Invalid,
                        "one call assigns addresses of one family",
                    );
                }
                (family, Wanted::These(missing))
            }
        };
        let count = wanted.count();
        if count > self.capabilities.assign_batch as usize {
            let limit = self.capabilities.assign_batch;
            return refuse(
                CloudErrorKind::Invalid,
                format!("one call assigns at most {limit} addresses"),
            );
        }
        let eni = self.idle(id)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        self.room(eni, family, count)?;
        let added = self.take(id, family, wanted)?;
        if let Some(entry) = self.enis.get_mut(id) {
            entry.eni.addresses.extend(added.iter().map(|ip| EniAddress {
                ip: *ip,
                primary: false,
                ready: false,
            }));
        }
        self.begin(now, id, Order::Assign(added.clone()), self.latency.assign);
        Ok(added)
    }

    /// Whether an ENI takes that many more addresses, where it is.
    pub(super) fn room(&self, eni: &Eni, family: Family, count: usize) -> Verdict<()> {
        let of_family = |address: &&EniAddress| Family::of(address.ip) == family;
        let held = eni.addresses.iter().filter(of_family).count();
        let on = eni.instance.as_ref().and_then(|on| self.instances.get(on));
        match on.map(|on| on.limits.addresses_per_eni) {
            Some(limit) if held + count > limit as usize => {
                let message = format!("{} has {held} addresses and may have {limit}", eni.id);
                refuse(CloudErrorKind::Quota, message)
            }
            _ => Ok(()),
        }
    }

    /// Takes addresses from the ENI's subnet, all or none.
    fn take(&mut self, id: &EniId, family: Family, wanted: Wanted) -> Verdict<Vec<IpAddr>> {
        let subnet_id = self.known(id)?.eni.subnet.clone();
        let Some(pool) = self
            .subnets
            .get_mut(&subnet_id)
            .and_then(|subnet| subnet.pool(family))
        else {
            return refuse(
                CloudErrorKind::Invalid,
                format!("{subnet_id} has no {family:?} range"),
            );
        };
        match wanted {
            Wanted::Any(count) if pool.free() < count => {
                let message = format!("{} addresses are free in {subnet_id}", pool.free());
                refuse(CloudErrorKind::Exhausted { subnet: subnet_id }, message)
            }
            Wanted::Any(count) => Ok((0..count).filter_map(|_| pool.take()).collect()),
            Wanted::These(ips) => {
                if let Some(ip) = ips.iter().find(|ip| !pool.serves(**ip)) {
                    return refuse(
                        CloudErrorKind::Invalid,
                        format!("{ip} is not an address of {subnet_id}"),
                    );
                }
                if let Some(ip) = ips.iter().find(|ip| pool.is_taken(**ip)) {
                    return refuse(CloudErrorKind::AddressTaken, format!("{ip} is in use"));
                }
                Ok(ips.into_iter().filter(|ip| pool.take_exactly(*ip)).collect())
            }
        }
    }

    pub(super) fn unassign(&mut self, now: Instant, id: &EniId, ips: &[IpAddr]) -> Verdict<()> {
        let named: BTreeSet<_> = ips.iter().collect();
        if named.len() > self.capabilities.unassign_batch as usize {
            let limit = self.capabilities.unassign_batch;
            return refuse(
                CloudErrorKind::Invalid,
                format!("one call unassigns at most {limit} addresses"),
            );
        }
        let entry = self.known(id)?;
        let leaving: &[IpAddr] = match &entry.order {
            Some((_, Order::Unassign(leaving))) => leaving,
            _ => &[],
        };
        let mut going = entry
            .eni
            .addresses
            .iter()
            .filter(|address| named.contains(&address.ip))
            .peekable();
        if going.clone().any(|address| address.primary) {
            return refuse(
                CloudErrorKind::Invalid,
                format!("the primary address of {id} cannot be unassigned"),
            );
        }
        if going.clone().all(|address| leaving.contains(&address.ip)) || going.peek().is_none() {
            return Ok(());
        }
        let going = going.map(|address| address.ip).collect();
        self.idle(id)?;
        self.begin(now, id, Order::Unassign(going), self.latency.unassign);
        Ok(())
    }
}

enum Wanted {
    Any(u32),
    These(BTreeSet<IpAddr>),
}

impl Wanted {
    fn count(&self) -> usize {
        match self {
            Self::Any(count) => *count as usize,
            Self::These(ips) => ips.len(),
        }
    }
}
