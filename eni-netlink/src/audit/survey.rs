//! What of ours is there, and what of it serves nothing.

use std::collections::{BTreeMap, BTreeSet};

use eni_core::model::{PodAddresses, SandboxKey};
use eni_core::network::{Leftover, NetworkResult, Survey, WiredPod};

use super::reading::{Reading, leaves_by_eni};
use crate::identity::index_of;
use crate::kernel::Side;
use crate::socket::Netlink;

/// What of ours is there.
pub(crate) fn survey(netlink: &mut Netlink) -> NetworkResult<Survey> {
    Ok(judge(&Reading::take(netlink)?))
}

fn judge(reading: &Reading) -> Survey {
    Survey {
        pods: pods(reading),
        leftovers: leftovers(reading).into_iter().collect(),
    }
}

fn pods(reading: &Reading) -> Vec<WiredPod> {
    let devices = reading.pods();
    let mut pods: BTreeMap<&SandboxKey, PodAddresses> = devices
        .values()
        .map(|key| (key, PodAddresses::from_iter([])))
        .collect();
    for (address, route) in reading.host_routes() {
        let owner = route.link.and_then(|link| devices.get(&link));
        if let Some(addresses) = owner.and_then(|key| pods.get_mut(key)) {
            addresses.insert(address);
        }
    }
    pods.into_iter()
        .map(|(key, addresses)| WiredPod {
            key: key.clone(),
            addresses,
        })
        .collect()
}

fn leftovers(reading: &Reading) -> BTreeSet<Leftover> {
    let in_use = reading.in_use();
    let gone = |table: u32| index_of(table).is_some() && !reading.has_device_of(table);

    // By a table that is gone an address leaves into its last resort, which is better than by eth0: as long
    // as the pod lives, the table stays.
    let last_resorts: BTreeSet<u32> = reading
        .rules
        .iter()
        .filter(|rule| rule.side == Side::From && in_use.contains(&rule.address))
        .map(|rule| rule.table)
        .collect();
    let led_to = reading.rules.iter().filter(|rule| leaves_by_eni(rule));
    let tables = led_to
        .map(|rule| rule.table)
        .chain(reading.routes.iter().map(|route| route.table))
        .filter(|table| gone(*table) && !last_resorts.contains(table))
        .map(Leftover::Table);

    let led = reading.rules.iter().filter(|rule| match rule.side {
        Side::To => true,
        // It goes with its table, if that is gone: it may be the ENI's own.
        Side::From => !gone(rule.table),
    });
    let addresses = led
        .map(|rule| rule.address)
        .chain(reading.host_routes().map(|(address, _)| address))
        .filter(|address| !in_use.contains(address) && !reading.own.contains(address))
        .map(Leftover::Address);
    addresses.chain(tables).collect()
}
