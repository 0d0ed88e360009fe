//! What a test does to a memory cloud behind its callers' backs.

use std::{net::IpAddr, time::Duration};

use super::MemoryCloud;
use crate::{
    cloud::CloudErrorKind,
    model::{Eni, EniId, EniKind, InstanceId, InstanceState, Limits, SubnetId},
    sim::{Fault, FaultHook},
};

/// Faults.
impl MemoryCloud {
    /// The next call of `action` (the trait method's name) fails without effect.
    pub fn fail_next(&self, action: &'static str, kind: CloudErrorKind) {
        self.inject(action, Fault::Before(kind));
    }

    /// The next call of `action` (the trait method's name) meets `fault`; several are met in order.
    pub fn inject(&self, action: &'static str, fault: Fault) {
        self.shared.faults.queue(action, fault);
    }

    /// Asks `hook` for the fault of each call that meets no injected one.
    pub fn set_fault(&self, hook: FaultHook) {
        self.shared.faults.set_hook(Some(hook));
    }

    /// Asks no hook any more.
    pub fn clear_fault(&self) {
        self.shared.faults.set_hook(None);
    }

    /// Listings of ENIs show what was that long ago. Zero ends it.
    pub fn set_listing_lag(&self, lag: Duration) {
        self.change(|state, now| {
            let enis = state.enis.values().map(|entry| &entry.eni);
            state.history.set_lag(lag, now, enis);
        });
    }

    /// How long orders take from now on.
    pub fn set_latency(&self, latency: super::Latency) {
        self.change(|state, _| state.latency = latency);
    }
}

/// Changes that no caller ordered. They take effect at once, after an order that is under way on the ENI.
impl MemoryCloud {
    /// Every ENI as it is, in order of ids, whatever listings show.
    pub fn all_enis(&self) -> Vec<Eni> {
        self.change(|state, _| state.enis.values().map(|entry| entry.eni.clone()).collect())
    }

    /// A new running instance with its primary ENI in `subnet`.
    ///
    /// # Panics
    ///
    /// If the subnet does not exist or is full.
    pub fn add_instance(&self, id: impl Into<InstanceId>, subnet: impl Into<SubnetId>, limits: Limits) {
        self.change(|state, now| state.add_instance(now, id.into(), &subnet.into(), limits));
    }

    /// Stops or starts an instance; its ENIs stay.
    pub fn set_running(&self, instance: &InstanceId, running: bool) {
        self.change(|state, _| {
            if let Some(entry) = state.instances.get_mut(instance) {
                entry.instance.state = if running {
                    InstanceState::Running
                } else {
                    InstanceState::Stopped
                };
            }
        });
    }

    /// Terminates an instance: its primary ENI is deleted, the others are detached. It is listed as
    /// terminated until [`forget_instance`](Self::forget_instance).
    pub fn terminate_instance(&self, instance: &InstanceId) {
        self.change(|state, now| {
            let Some(entry) = state.instances.get_mut(instance) else {
                return;
            };
            entry.instance.state = InstanceState::Terminated;
            for id in entry.enis.clone() {
                state.end_now(&id);
                state.detach_now(&id);
                if state
                    .enis
                    .get(&id)
                    .is_some_and(|entry| entry.eni.kind == EniKind::Primary)
                {
                    state.delete_now(&id);
                }
                state.record(now, &id);
            }
        });
    }

    /// Lists a terminated instance no more.
    pub fn forget_instance(&self, instance: &InstanceId) {
        self.change(|state, _| {
            let terminated =
                |entry: &super::state::InstanceEntry| entry.instance.state == InstanceState::Terminated;
            if state.instances.get(instance).is_some_and(terminated) {
                state.instances.remove(instance);
            }
        });
    }

    /// Ends the order under way on an ENI ahead of its time.
    pub fn end_order(&self, eni: &EniId) {
        self.change(|state, now| {
            state.end_now(eni);
            state.record(now, eni);
        });
    }

    /// The order under way on an ENI never comes to its end: what it leaves stays as it is.
    pub fn drop_order(&self, eni: &EniId) {
        self.change(|state, _| {
            if let Some(entry) = state.enis.get_mut(eni) {
                entry.order = None;
            }
        });
    }

    /// Takes an ENI off its instance.
    pub fn detach_by_hand(&self, eni: &EniId) {
        self.change(|state, now| {
            state.end_now(eni);
            state.detach_now(eni);
            state.record(now, eni);
        });
    }

    /// Takes an address off an ENI.
    pub fn unassign_by_hand(&self, eni: &EniId, ip: IpAddr) {
        self.change(|state, now| {
            state.end_now(eni);
            state.unassign_now(eni, ip);
            state.record(now, eni);
        });
    }

    /// Somebody else takes up to `count` free IPv4 addresses of a subnet.
    pub fn take_addresses(&self, subnet: &SubnetId, count: usize) -> Vec<IpAddr> {
        self.change(|state, _| {
            let pool = state.subnets.get_mut(subnet).map(|entry| &mut entry.v4);
            pool.map(|pool| std::iter::from_fn(|| pool.take()).take(count).collect())
                .unwrap_or_default()
        })
    }

    /// Gives addresses back that [`take_addresses`](Self::take_addresses) took.
    pub fn give_back(&self, subnet: &SubnetId, addresses: &[IpAddr]) {
        self.change(|state, _| {
            if let Some(entry) = state.subnets.get_mut(subnet) {
                addresses.iter().for_each(|ip| entry.give_back(*ip));
            }
        });
    }
}
