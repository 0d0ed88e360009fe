//! Addresses that are for one pod alone.

use std::net::IpAddr;

use super::{
    AddressRequest, PoolAllocator, Shortage,
    slot::{Slot, State},
};
use crate::model::{Allocation, EniId, Family, PodAddresses, Uid};

impl PoolAllocator {
    /// Whether pods get what is reserved for them and nothing else.
    pub fn is_by_claim(&self) -> bool {
        self.by_claim
    }

    /// For which pod alone an address is.
    pub fn reserved_for(&self, ip: IpAddr) -> Option<&Uid> {
        self.reserved_for.get(&ip)
    }

    /// Brings idle addresses in line with whom they are reserved for now.
    pub(super) fn reserve(&mut self) {
        let idle = |(ip, slot): (&IpAddr, &Slot)| match (&slot.state, self.reserved_for.get(ip)) {
            (State::Free, Some(_)) | (State::Reserved, None) => true,
            (State::Reserved, Some(pod)) => !self.reserved.contains(&(pod.clone(), *ip)),
            _ => false,
        };
        let mut stale: Vec<_> = self
            .slots
            .iter()
            .filter(|entry| idle(*entry))
            .map(|(ip, _)| *ip)
            .collect();
        stale.sort_unstable();
        for ip in stale {
            self.leave(ip);
            self.enter(ip, State::Free);
        }
    }

    /// The address of each family that is reserved for the request's pod, all on one ENI in service.
    pub(super) fn allocate_reserved(&mut self, request: &AddressRequest) -> Option<Allocation> {
        let pod = request.pod_uid.as_ref()?;
        let mut reserved = self.reserved.iter().filter(|(uid, _)| uid == pod);
        let (_, first) = reserved.next()?;
        let id = self.slots[first].eni.clone();
        self.enis.get(&id).filter(|eni| eni.in_service)?;
        let same = reserved.filter(|(_, ip)| self.slots[ip].eni == id);
        let mut found = std::iter::once(*first).chain(same.map(|(_, ip)| *ip));
        let mut addresses = PodAddresses::default();
        for family in request.families.each() {
            addresses.insert(found.by_ref().find(|ip| Family::of(*ip) == *family)?);
        }
        Some(self.own(request, id, addresses))
    }

    pub(super) fn shortage_of(&self, request: &AddressRequest) -> Shortage {
        let reserved = |pod: &Uid| self.reserved.iter().any(|(uid, _)| uid == pod);
        match &request.pod_uid {
            Some(pod) if reserved(pod) => Shortage::NoEni,
            _ => Shortage::Unclaimed,
        }
    }

    /// Gives idle addresses of an ENI to who asks for them.
    pub(super) fn own(
        &mut self,
        request: &AddressRequest,
        eni: EniId,
        addresses: PodAddresses,
    ) -> Allocation {
        for ip in addresses.iter() {
            self.leave(ip);
            self.enter(ip, State::Allocated(request.key.clone()));
        }
        let allocation = Allocation {
            addresses,
            eni,
            pod: request.pod.clone(),
            pod_uid: request.pod_uid.clone(),
            origin: request.origin.clone(),
        };
        self.owned.insert(request.key.clone(), allocation.clone());
        allocation
    }
}
