//! A pod is told to be deleted for the loss of its address only if somebody took the address away.

use std::net::IpAddr;

use tokio::time::Instant;

use crate::{
    model::{EniId, NodeName},
    sim::world::{event::Event, truth::Truth},
};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    let Event::Bereaved { pod } = event else {
        return Ok(());
    };
    let owners = truth.machines.iter().flat_map(|(node, machine)| {
        let owned = machine.owned.iter();
        owned.map(move |(key, allocation)| (node, key, allocation))
    });
    let mut theirs = owners.filter(|(.., allocation)| allocation.pod.as_ref() == Some(*pod));
    // Who was served by nothing loses nothing by it.
    let served = truth.pods.values().any(|fact| {
        let key = fact.served.as_ref();
        key.is_some_and(|key| {
            let owned = truth
                .machines
                .get(&fact.node)
                .and_then(|machine| machine.owned.get(key));
            owned.is_some_and(|owned| owned.pod.as_ref() == Some(*pod))
        })
    });
    let lost = !served
        || theirs.any(|(node, key, allocation)| {
            let mut addresses = allocation.addresses.iter();
            truth.is_bereaved(node, key)
                || addresses.any(|ip| {
                    truth.is_taken(&allocation.eni, ip) || gone_once(truth, node, &allocation.eni, ip)
                })
        });
    match lost {
        true => Ok(()),
        false => Err(format!("{pod} is told that its address is lost, and it is not")),
    }
}

/// Whether the world took the address, and ipamd does not know yet that the ENI has got it again.
fn gone_once(truth: &Truth, node: &NodeName, eni: &EniId, ip: IpAddr) -> bool {
    let published = truth.configs.get(node).is_some_and(|config| {
        let mut enis = config.pool.enis.iter().filter(|found| found.id == *eni);
        enis.any(|found| found.attached.iter().any(|entry| entry.ip == ip))
    });
    truth.once_taken.contains(&(eni.clone(), ip)) && !published
}
