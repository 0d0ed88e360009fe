//! Puts back what others took away on the node's side of pod interfaces.
//!
//! What is missing in a dump may be there all the same, so everything is added only where it does not
//! exist, and what existed is not said to have been put back. Nothing is taken from another pod
//! interface: an address whose route leads to one is left alone, as the list of pods may be the older.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use eni_core::network::{Discrepancy, NetworkError, NetworkResult, PodRoutes};
use nix::errno::Errno;

use super::reading::{Reading, leaves_by_eni};
use crate::earlier;
use crate::error::all_of;
use crate::identity::{End, FROM_POD, PROTOCOL, mac};
use crate::kernel::{Link, LinkChange, MAIN, Neighbour, Route, Rule, Side};
use crate::socket::{Netlink, Outcome, Request};

/// One thing to be done.
#[derive(Debug)]
struct Step {
    request: Request,
    /// What was wrong.
    what: String,
    /// A route that this adds: if one exists already, it may be somebody else's.
    route: Option<Route>,
}

/// What is to be done, and what only an operator may do.
#[derive(Debug, Default)]
struct Plan {
    steps: Vec<Step>,
    foreign: Vec<Discrepancy>,
}

/// Puts back what is missing of `pods`, as far as their device is there.
pub(crate) fn repair(netlink: &mut Netlink, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>> {
    if pods.is_empty() {
        return Ok(Vec::new());
    }
    let reading = Reading::take(netlink)?;
    let Plan { steps, foreign } = plan(&reading, pods);
    let requests: Vec<_> = steps.iter().map(|step| step.request.clone()).collect();
    let outcomes = netlink.exchange(&requests)?;
    let (mut found, mut errors) = (foreign, Vec::new());
    for (step, outcome) in steps.into_iter().zip(outcomes) {
        match judge(netlink, step, outcome) {
            Ok(discrepancy) => found.extend(discrepancy),
            Err(error) => errors.push(error),
        }
    }
    match all_of("repair pod interfaces", errors) {
        Ok(()) => Ok(found),
        Err(error) => {
            // The caller learns of the failure alone.
            tracing::warn!(?found, "put back before an error");
            Err(error)
        }
    }
}

fn judge(netlink: &mut Netlink, step: Step, outcome: Outcome) -> NetworkResult<Option<Discrepancy>> {
    match outcome {
        Ok(_) => Ok(Some(Discrepancy { what: step.what })),
        Err(refusal) => match (refusal.errno, step.route) {
            (Errno::EEXIST, Some(route)) => foreign_route(netlink, &route),
            // It was there, or was gone, although the dump said otherwise; or its device has been taken out of
            // service meanwhile.
            (
                Errno::EEXIST
                | Errno::ENOENT
                | Errno::ESRCH
                | Errno::ENODEV
                | Errno::ENETDOWN
                | Errno::EAFNOSUPPORT,
                _,
            ) => Ok(None),
            _ => Err(NetworkError::from(refusal)),
        },
    }
}

fn foreign_route(netlink: &mut Netlink, wanted: &Route) -> NetworkResult<Option<Discrepancy>> {
    let there = Route::read_to_host(netlink, wanted.destination.addr(), MAIN)?;
    Ok(there
        .filter(|there| there.protocol != PROTOCOL)
        .map(|there| in_the_way(&there.to_string())))
}

/// What it takes, from one reading; pure.
fn plan(reading: &Reading, pods: &[PodRoutes]) -> Plan {
    let devices = reading.pods();
    let wired: BTreeMap<_, _> = devices.iter().map(|(index, key)| (key, *index)).collect();
    let mut plan = Plan::default();
    for pod in pods {
        let Some(&link) = wired.get(&pod.key) else {
            continue;
        };
        plan.device(reading, link);
        for address in pod.addresses.iter() {
            let lead = |(to, route): (IpAddr, &Route)| (to == address).then_some(route.link).flatten();
            let leads: BTreeSet<u32> = reading.host_routes().filter_map(lead).collect();
            if leads
                .iter()
                .any(|lead| *lead != link && devices.contains_key(lead))
            {
                tracing::debug!(key = %pod.key, %address, "another pod interface has the address; left alone");
                continue;
            }
            plan.route(address, link, &leads);
            plan.neighbour(reading, pod, address, link);
            plan.rules(reading, pod, address);
        }
    }
    plan
}

impl Plan {
    fn add(&mut self, request: Request, what: String) {
        self.steps.push(Step {
            request,
            what,
            route: None,
        });
    }

    /// Sets the device up, without which it takes no route; one that a DEL sets down is no pod's any more.
    fn device(&mut self, reading: &Reading, link: u32) {
        let down = reading
            .links
            .iter()
            .find(|device| device.index == link && !device.up);
        if let Some(device) = down {
            let up = LinkChange {
                up: Some(true),
                ..LinkChange::default()
            };
            self.add(
                Link::change(link, &up),
                format!("device {} was down", device.name),
            );
        }
    }

    fn route(&mut self, address: IpAddr, link: u32, leads: &BTreeSet<u32>) {
        let wanted = Route::to_host(address, link);
        if leads.is_empty() {
            self.steps.push(Step {
                request: wanted.add(),
                what: format!("{wanted} was missing"),
                route: Some(wanted),
            });
        } else if !leads.contains(&link) {
            // Ours by its mark, and to no pod interface.
            self.add(wanted.replace(), format!("{wanted} led elsewhere"));
        }
    }

    fn neighbour(&mut self, reading: &Reading, pod: &PodRoutes, address: IpAddr, link: u32) {
        let wanted = Neighbour {
            link,
            address,
            mac: mac(&pod.key, End::Pod),
        };
        if !reading.neighbours.contains(&wanted) {
            self.add(wanted.replace(), format!("{wanted} was missing"));
        }
    }

    fn rules(&mut self, reading: &Reading, pod: &PodRoutes, address: IpAddr) {
        let from = pod.table.map(|table| Rule::from(address, table));
        let present = |rule: &Rule| reading.rules.contains(rule);
        let others = reading
            .rules
            .iter()
            .filter(|rule| rule.address == address && leaves_by_eni(rule) && Some(**rule) != from);
        let others: Vec<_> = others.collect();
        let to = Rule::to(address);
        if !present(&to) {
            self.add(to.add(), format!("{to} was missing"));
        }
        // The caller's table may be an earlier one: the ENI has come back with another index since, and its
        // rules followed.
        let outdated = pod.table.is_some_and(|table| !reading.has_device_of(table));
        if outdated && !others.is_empty() {
            return;
        }
        if let Some(from) = from.filter(|from| !present(from)) {
            self.add(from.add(), format!("{from} was missing"));
        }
        for rule in others {
            self.add(rule.delete(), format!("{rule} was in the way"));
        }
        let foreign = reading.foreign.iter().filter(|(rule, _)| {
            rule.address == address && rule.side == Side::From && rule.priority == FROM_POD
        });
        for (rule, protocol) in foreign {
            if earlier::is_superseded(rule, *protocol) {
                let what = format!("{rule} of protocol {protocol} was in the way");
                self.add(rule.delete_of(*protocol), what);
            } else if Some(*rule) != from {
                self.foreign
                    .push(in_the_way(&format!("{rule} of protocol {protocol}")));
            }
        }
    }
}

fn in_the_way(what: &str) -> Discrepancy {
    Discrepancy {
        what: format!("{what} is in the way and is not ours; remove it"),
    }
}
