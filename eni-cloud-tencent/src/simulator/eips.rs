//! Elastic public addresses. Orders about them take time; whoever looks first afterwards sees their end.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use eni_core::model::{EniId, InstanceId};
use tokio::time::Instant;

/// Addresses that an account may have in a region, and apply for in a day (documentation, "EIP: Quotas").
pub(super) const QUOTA: usize = 20;
pub(super) const DAILY: usize = 40;

/// How an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Creating,
    Unbound,
    Binding,
    Bound,
    /// On an ENI that is on nothing.
    BoundToEni,
    Unbinding,
    Offlining,
}

/// What an address is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) eni: EniId,
    pub(super) instance: Option<InstanceId>,
    pub(super) private: IpAddr,
}

#[derive(Clone, Debug)]
pub(super) struct Eip {
    pub(super) id: String,
    pub(super) ip: Ipv4Addr,
    pub(super) name: String,
    pub(super) bandwidth: u64,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: String,
    pub(super) status: Status,
    pub(super) binding: Option<Binding>,
    /// When the order under way ends.
    due: Option<Instant>,
}

/// The addresses of the account.
#[derive(Debug, Default)]
pub(super) struct Eips {
    known: BTreeMap<String, Eip>,
    allocated: u32,
    /// When each task ends.
    tasks: BTreeMap<u64, Instant>,
}

impl Eips {
    /// Brings every order that is due to its end.
    pub(super) fn advance(&mut self, now: Instant) {
        self.known.retain(|_, eip| {
            if eip.due.is_none_or(|due| due > now) {
                return true;
            }
            eip.due = None;
            match eip.status {
                Status::Creating => eip.status = Status::Unbound,
                Status::Unbinding => (eip.status, eip.binding) = (Status::Unbound, None),
                Status::Binding => {
                    let instance = eip.binding.as_ref().and_then(|binding| binding.instance.as_ref());
                    eip.status = if instance.is_some() {
                        Status::Bound
                    } else {
                        Status::BoundToEni
                    };
                }
                Status::Offlining => return false,
                Status::Unbound | Status::Bound | Status::BoundToEni => {}
            }
            true
        });
    }

    /// Follows the ENIs: `place` tells the instance that a binding leads to by now, or `None` if its private
    /// address is gone, which ends the binding.
    pub(super) fn follow(&mut self, place: impl Fn(&Binding) -> Option<Option<InstanceId>>) {
        for eip in self.known.values_mut().filter(|eip| eip.due.is_none()) {
            let Some(binding) = &mut eip.binding else { continue };
            match place(binding) {
                Some(instance) => {
                    eip.status = if instance.is_some() {
                        Status::Bound
                    } else {
                        Status::BoundToEni
                    };
                    binding.instance = instance;
                }
                None => (eip.status, eip.binding) = (Status::Unbound, None),
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Eip> {
        self.known.values()
    }

    pub(super) fn get(&self, id: &str) -> Option<&Eip> {
        self.known.get(id)
    }

    /// How many were ever allocated.
    pub(super) fn allocated(&self) -> usize {
        self.allocated as usize
    }

    /// Makes a new address; it is of a range for documentation and benchmarks (RFC 2544).
    pub(super) fn allocate(&mut self, about: Eip) -> String {
        self.allocated += 1;
        let number = self.allocated;
        let id = format!("eip-{number:08x}");
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number);
        let eip = Eip {
            id: id.clone(),
            ip,
            ..about
        };
        self.known.insert(id.clone(), eip);
        id
    }

    /// Begins an order about some addresses, and returns its task.
    pub(super) fn begin(
        &mut self,
        ids: &[String],
        status: Status,
        binding: Option<&Binding>,
        now: Instant,
        takes: Duration,
    ) -> u64 {
        let due = now + takes;
        for id in ids {
            if let Some(eip) = self.known.get_mut(id) {
                (eip.status, eip.due) = (status, Some(due));
                if let Some(binding) = binding {
                    eip.binding = Some(binding.clone());
                }
            }
        }
        let task = self.tasks.len() as u64 + 100_000_001;
        self.tasks.insert(task, due);
        self.advance(now);
        task
    }

    /// Whether a task is over; `None` if there is none of this number.
    pub(super) fn is_over(&self, task: u64, now: Instant) -> Option<bool> {
        self.tasks.get(&task).map(|due| *due <= now)
    }

    /// Changes what is said of an address.
    pub(super) fn rename(&mut self, id: &str, name: &str) {
        if let Some(eip) = self.known.get_mut(id) {
            name.clone_into(&mut eip.name);
        }
    }
}

impl Eip {
    /// What an allocation asks for; id and address come with it.
    pub(super) fn asked(name: &str, bandwidth: u64, tags: BTreeMap<String, String>, created: String) -> Self {
        Self {
            id: String::new(),
            ip: Ipv4Addr::UNSPECIFIED,
            name: name.to_owned(),
            bandwidth,
            tags,
            created,
            status: Status::Creating,
            binding: None,
            due: None,
        }
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.due.is_none()
    }
}

impl Status {
    /// The API's word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Unbound => "UNBIND",
            Self::Binding => "BINDING",
            Self::Bound => "BIND",
            Self::BoundToEni => "BIND_ENI",
            Self::Unbinding => "UNBINDING",
            Self::Offlining => "OFFLINING",
        }
    }
}
