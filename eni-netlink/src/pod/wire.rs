//! ADD: puts a pod interface on the wire, all or nothing.
//!
//! Three exchanges with the kernel and no dump: the pair of devices, the pod's end, the node's routes
//! and rules. What is in the way is looked at only when the kernel says that something is.

use eni_core::model::Family;
use eni_core::network::{NetworkError, NetworkResult, PodWiring, Wired};
use nix::errno::Errno;

use super::inside;
use super::plan::Plan;
use super::unwire::{Device, find_by_alias, remove};
use super::verify::compare;
use crate::identity::PROTOCOL;
use crate::kernel::{Link, MAIN, Owner, Route, Rule, Side};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::socket::{Netlink, Outcome, Request, tolerate};

/// How often the way is cleared: the name may be taken by one device, and the pod's side by another.
const ATTEMPTS: usize = 3;

/// Puts a pod interface on the wire.
pub(crate) fn wire(node: &Node, wiring: &PodWiring) -> NetworkResult<Wired> {
    let plan = Plan::new(wiring);
    let pod = Namespace::open(&wiring.netns)?;
    node.with_socket(|netlink| {
        let Made::New { host, peer } = make_devices(node, netlink, &plan, &pod)? else {
            return Ok(plan.wired.clone());
        };
        let mut undo = vec![Link::delete(host)];
        let done = inside::set_up(node, &plan, &pod, peer)
            .and_then(|()| set_up_host(netlink, &plan, host, &mut undo));
        match done {
            Ok(()) => Ok(plan.wired.clone()),
            Err(error) => {
                take_back(netlink, undo);
                Err(error)
            }
        }
    })
}

enum Made {
    /// The pair with its indices on both sides.
    New { host: u32, peer: u32 },
    /// All was as it should be.
    Already,
}

fn make_devices(node: &Node, netlink: &mut Netlink, plan: &Plan<'_>, pod: &Namespace) -> NetworkResult<Made> {
    use std::os::fd::AsFd;

    let name = &plan.wired.host_name;
    for _ in 0..ATTEMPTS {
        let requests = [plan.veth(pod.as_fd()).create(), Link::get(name)];
        let [made, seen] = two(netlink.exchange(&requests)?);
        let link = match tolerate(seen, &[Errno::ENODEV])? {
            Some(answer) => Link::from_answer(&Some(answer)),
            None => None,
        };
        match (made, link) {
            (
                Ok(_),
                Some(Link {
                    index,
                    peer: Some(peer),
                    ..
                }),
            ) => return Ok(Made::New { host: index, peer }),
            (Ok(_), _) => return Err(vanished(name)),
            (Err(refusal), _) if refusal.errno != Errno::EEXIST => return Err(refusal.into()),
            (Err(_), Some(link)) => {
                let Some(device) = clear_name(node, netlink, plan, pod, &link)? else {
                    return Ok(Made::Already);
                };
                remove(netlink, &link, device)?;
                node.wake_reaper();
            }
            // Not the name on the node: the one in the pod is taken.
            (Err(_), None) => clear_interface(netlink, plan, pod)?,
        }
    }
    Err(NetworkError::Kernel {
        operation: format!("create device {name}"),
        message: format!("its name was taken again {ATTEMPTS} times; another process wires the same pod"),
    })
}

/// How the device of the name on the node has to make way; `None` if it is what was to be made.
fn clear_name(
    node: &Node,
    netlink: &mut Netlink,
    plan: &Plan<'_>,
    pod: &Namespace,
    link: &Link,
) -> NetworkResult<Option<Device>> {
    match link.owner() {
        Owner::Pod(_) if link.alias.as_deref() == Some(&plan.alias) => {
            let differences = compare(node, netlink, plan, pod)?;
            if differences.is_empty() {
                return Ok(None);
            }
            tracing::info!(device = link.name, ?differences, "a pod interface is made anew");
            Ok(Some(Device::Deleted))
        }
        Owner::Pod(other) => {
            tracing::info!(device = link.name, %other, by = plan.alias, "an older sandbox gives way");
            Ok(Some(Device::Buried))
        }
        Owner::Unfinished => {
            tracing::info!(
                device = link.name,
                by = plan.alias,
                "an unfinished device gives way"
            );
            Ok(Some(Device::Deleted))
        }
        Owner::Dead | Owner::Foreign => Err(NetworkError::Foreign {
            what: format!("device {} (index {})", link.name, link.index),
        }),
    }
}

/// Makes way for the interface in the pod, if it belongs to an earlier device of the same sandbox, such
/// as one that was taken out of service a moment ago, or was wired without the pod's name.
fn clear_interface(netlink: &mut Netlink, plan: &Plan<'_>, pod: &Namespace) -> NetworkResult<()> {
    match find_by_alias(netlink, &plan.alias)? {
        Some(link) => remove(netlink, &link, Device::Deleted),
        // The reaper may have come in between.
        None if Link::by_name(&mut Netlink::open_in(pod)?, plan.interface())?.is_none() => Ok(()),
        None => Err(NetworkError::Foreign {
            what: format!(
                "interface {} in namespace {}",
                plan.interface(),
                pod.path().display()
            ),
        }),
    }
}

/// The node's side. What `undo` holds in the end takes back all of it, from the last to the first.
fn set_up_host(
    netlink: &mut Netlink,
    plan: &Plan<'_>,
    link: u32,
    undo: &mut Vec<Request>,
) -> NetworkResult<()> {
    enum Step {
        Plain,
        Route(Route),
        Rule(Rule),
    }

    let mut steps = vec![(Step::Plain, Link::change(link, &plan.host_change()))];
    for address in plan.addresses() {
        let route = plan.host_route(address, link);
        steps.push((Step::Plain, plan.host_neighbour(address, link).replace()));
        steps.push((Step::Route(route), route.add()));
        steps.extend(plan.rules(address).map(|rule| (Step::Rule(rule), rule.add())));
    }
    // The device was up before its peer, so the kernel lets it send only some time after the peer came
    // up. To be asked about it makes the kernel (6.8 and later) do so now: the pod's first packet counts.
    steps.push((Step::Plain, Link::get(&plan.wired.host_name)));
    let (steps, requests): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
    let outcomes = netlink.exchange(&requests)?;

    // All that was done is known before the first failure is acted upon.
    let (mut taken, mut leftovers, mut failed) = (Vec::new(), false, None);
    for (step, outcome) in steps.into_iter().zip(outcomes) {
        match (step, outcome) {
            (Step::Rule(rule), Ok(_)) => undo.push(rule.delete()),
            (Step::Plain | Step::Route(_), Ok(_)) => {}
            (Step::Rule(_), Err(refusal)) if refusal.errno == Errno::EEXIST => leftovers = true,
            (Step::Route(route), Err(refusal)) if refusal.errno == Errno::EEXIST => taken.push(route),
            (_, Err(refusal)) => failed = failed.or(Some(refusal)),
        }
    }
    if let Some(refusal) = failed {
        return Err(refusal.into());
    }
    leftovers |= !taken.is_empty();
    for route in taken {
        take_over(netlink, &route, undo)?;
    }
    if leftovers {
        drop_leftovers(netlink, plan, undo)?;
    }
    Ok(())
}

/// Points the route of an address, left by an earlier owner of it, to its new one.
fn take_over(netlink: &mut Netlink, route: &Route, undo: &mut Vec<Request>) -> NetworkResult<()> {
    let earlier = Route::read_to_host(netlink, route.destination.addr(), MAIN)?;
    match earlier {
        Some(earlier) if earlier.protocol == PROTOCOL => {
            tracing::info!(%earlier, now = %route, "the route of an address changes hands");
            netlink.request(route.replace())?;
            undo.push(earlier.replace());
            Ok(())
        }
        _ => Err(NetworkError::Foreign {
            what: format!("a route to {}", route.destination),
        }),
    }
}

/// Deletes the rules by which an earlier owner of an address left through another ENI: being older, they
/// would win.
fn drop_leftovers(netlink: &mut Netlink, plan: &Plan<'_>, undo: &mut Vec<Request>) -> NetworkResult<()> {
    for address in plan.addresses() {
        let wanted: Vec<_> = plan.rules(address).collect();
        for rule in Rule::read_all(netlink, Family::of(address))? {
            if rule.address == address && rule.side == Side::From && !wanted.contains(&rule) {
                tracing::info!(%rule, "a rule of an earlier owner goes");
                tolerate(one(netlink.exchange(&[rule.delete()])?), &[Errno::ENOENT])?;
                undo.push(rule.add());
            }
        }
    }
    Ok(())
}

fn take_back(netlink: &mut Netlink, undo: Vec<Request>) {
    let requests: Vec<_> = undo.into_iter().rev().collect();
    match netlink.exchange(&requests) {
        Ok(outcomes) => {
            for outcome in outcomes {
                if let Err(refusal) = tolerate(outcome, &[Errno::ENOENT, Errno::ENODEV, Errno::EEXIST]) {
                    tracing::error!(%refusal, "a failed ADD left this behind; its DEL will remove it");
                }
            }
        }
        Err(error) => tracing::error!(%error, "a failed ADD was not taken back; its DEL will remove it"),
    }
}

fn vanished(name: &str) -> NetworkError {
    NetworkError::Kernel {
        operation: format!("create device {name}"),
        message: "it was gone at once; another process removes our devices".into(),
    }
}

fn one(outcomes: Vec<Outcome>) -> Outcome {
    let [outcome] = outcomes
        .try_into()
        .expect("an exchange has one outcome for each request");
    outcome
}

fn two(outcomes: Vec<Outcome>) -> [Outcome; 2] {
    outcomes
        .try_into()
        .expect("an exchange has one outcome for each request")
}
