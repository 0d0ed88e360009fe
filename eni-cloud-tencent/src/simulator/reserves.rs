//! Addresses that are kept from being given out.

use std::{collections::BTreeMap, net::IpAddr};

use eni_core::model::SubnetId;

/// A reserved address.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    pub(super) id: String,
    pub(super) subnet: SubnetId,
    pub(super) ip: IpAddr,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) created: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// Every reserved address, by its id.
#[derive(Debug, Default)]
pub(super) struct Reserves {
    known: BTreeMap<String, Reserve>,
    made: u32,
}

impl Reserves {
    /// Keeps one more, under a new id.
    pub(super) fn add(&mut self, reserve: Reserve) -> Reserve {
        self.made += 1;
        let id = format!("rsvip-{:08x}", self.made);
        let reserve = Reserve {
            id: id.clone(),
            ..reserve
        };
        self.known.insert(id, reserve.clone());
        reserve
    }

    pub(super) fn get(&self, id: &str) -> Option<&Reserve> {
        self.known.get(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Reserve> {
        self.known.values()
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Reserve> {
        self.known.remove(id)
    }
}
