//! No order takes away an address that has an owner, nor an ENI with one, nor what the agent has not let go of.

use std::net::IpAddr;

use tokio::time::Instant;

use crate::{
    model::EniId,
    sim::world::{event::Event, event::Order, truth::Truth},
};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    let Event::Order { order, .. } = event else {
        return Ok(());
    };
    match order {
        Order::Unassign(eni, ips) => {
            unowned(truth, eni, ips.iter())?;
            let Some((node, published)) = truth.published(eni) else {
                return Ok(());
            };
            // What never became ready is not published at all.
            let told = |ip: &IpAddr| published.attached.iter().any(|entry| entry.ip == *ip);
            let on_it = truth.enis.get(*eni);
            let kept = ips
                .iter()
                .filter(|ip| on_it.is_some_and(|fact| fact.addresses.contains(ip)));
            match kept.into_iter().find(|ip| told(ip)) {
                Some(ip) => Err(format!(
                    "{ip} is taken off {eni}, and the agent of {node} may still use it"
                )),
                None => Ok(()),
            }
        }
        Order::Detach(eni) | Order::Delete(eni) => {
            let addresses = truth.enis.get(*eni).into_iter().flat_map(|fact| &fact.addresses);
            unowned(truth, eni, addresses)?;
            let on_instance = truth.enis.get(*eni).is_some_and(|fact| fact.instance.is_some());
            match truth.published(eni).filter(|_| on_instance) {
                Some((node, _)) => Err(format!(
                    "{eni} is taken away, and the agent of {node} may still use it"
                )),
                None => Ok(()),
            }
        }
        Order::Create(_) | Order::Attach(_) | Order::Assign(_) => Ok(()),
    }
}

fn unowned<'a>(truth: &Truth, eni: &EniId, ips: impl IntoIterator<Item = &'a IpAddr>) -> Result<(), String> {
    let at = |ip: &&IpAddr| truth.at.get(*ip) == Some(eni);
    for ip in ips.into_iter().filter(at) {
        if let Some((node, key)) = truth.owners.get(ip) {
            return Err(format!("{ip} is taken off {eni} and is owned by {key} on {node}"));
        }
    }
    Ok(())
}
