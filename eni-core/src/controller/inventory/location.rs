//! Where an address is.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Inventory, State, seen::Seen};
use crate::model::{Eni, EniId, EniState, InstanceId};

/// Where an address is, by what is known of our ENIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::controller) enum Location {
    /// On no ENI of ours.
    Nowhere,
    /// It is an ENI's own, which no pod gets.
    Own(EniId),
    /// On its way, or a listing has yet to tell.
    Moving(EniId),
    /// On an ENI that is attached to nothing.
    Parked(EniId),
    /// On an ENI that is on an instance.
    On(EniId, InstanceId),
}

impl Location {
    /// The ENI, where there is one.
    pub(in crate::controller) fn eni(&self) -> Option<&EniId> {
        match self {
            Self::Nowhere => None,
            Self::Own(eni) | Self::Moving(eni) | Self::Parked(eni) | Self::On(eni, _) => Some(eni),
        }
    }
}

impl Inventory {
    /// Where an address is. Of two ENIs that may have it, where it is delivered.
    pub(in crate::controller) fn locate(&self, ip: IpAddr) -> Location {
        let state = self.state.lock();
        let found = state.at.get(&ip).into_iter().flatten();
        let found = found.filter_map(|id| Some((id, state.enis.get(id)?)));
        let found = found.filter(|(_, seen)| !seen.is_gone());
        let mut places: Vec<_> = found.map(|(id, seen)| place(id, seen, ip)).collect();
        // What is being deleted may be read for longer than its addresses are its own.
        places.sort_by_key(|place| match place {
            Location::On(..) => 0,
            Location::Parked(_) => 1,
            Location::Own(_) => 2,
            Location::Moving(_) | Location::Nowhere => 3,
        });
        places.into_iter().next().unwrap_or(Location::Nowhere)
    }

    /// The addresses for pods that an ENI delivers to an instance, in order.
    pub(in crate::controller) fn ready_on(&self, id: &EniId, instance: &InstanceId) -> BTreeSet<IpAddr> {
        let state = self.state.lock();
        let seen = state.enis.get(id).filter(|seen| !seen.is_gone());
        let on = |eni: &&Eni| eni.state == EniState::InUse && eni.instance.as_ref() == Some(instance);
        let Some((seen, eni)) = seen.and_then(|seen| Some((seen, seen.eni.as_ref().filter(on)?))) else {
            return BTreeSet::new();
        };
        let ready = eni.secondary_addresses().filter(|address| address.ready);
        let ready = ready.map(|address| address.ip);
        ready.filter(|ip| !seen.is_leaving(*ip)).collect()
    }

    /// Whether what no ENI was seen with is certain to be on none: one listing may lack something.
    pub(in crate::controller) fn is_complete(&self) -> bool {
        let audits = self.state.lock().audits;
        audits.is_some_and(|audits| audits.is_certain(false))
    }

    /// Whether an ENI takes an order now.
    pub(in crate::controller) fn is_idle(&self, id: &EniId) -> bool {
        let state = self.state.lock();
        state
            .enis
            .get(id)
            .is_some_and(|seen| !seen.is_gone() && seen.is_settled())
    }
}

fn place(id: &EniId, seen: &Seen, ip: IpAddr) -> Location {
    let id = id.clone();
    let listed = seen.eni.as_ref().and_then(|eni| {
        let address = eni.addresses.iter().find(|address| address.ip == ip)?;
        Some((eni, address))
    });
    match listed.filter(|_| !seen.is_leaving(ip)) {
        Some((_, address)) if address.primary => Location::Own(id),
        Some((eni, address)) if address.ready && eni.state == EniState::Available => Location::Parked(id),
        Some((eni, address)) if address.ready && eni.state == EniState::InUse => match eni.instance.clone() {
            Some(instance) => Location::On(id, instance),
            None => Location::Moving(id),
        },
        _ => Location::Moving(id),
    }
}

impl State {
    /// Brings what is known of addresses in line with what an ENI has, and had before.
    pub(super) fn relocate(&mut self, id: &EniId, before: &BTreeSet<IpAddr>, after: &BTreeSet<IpAddr>) {
        for ip in before.difference(after) {
            if let Some(enis) = self.at.get_mut(ip) {
                enis.remove(id);
                if enis.is_empty() {
                    self.at.remove(ip);
                }
            }
        }
        for ip in after.difference(before) {
            self.at.entry(*ip).or_default().insert(id.clone());
        }
    }
}
