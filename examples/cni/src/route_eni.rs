//! `tke-route-eni`: puts a pod on the wire with addresses of the node's agent or of another IPAM plugin.

use std::time::{Duration, Instant};

use agent_api::Endpoint;
use eni_core::model::{Family, PodAddresses};
use nix::net::if_::if_nametoindex;

use crate::{
    agent::Agent,
    conf::Ipam,
    delegate::Delegate,
    error::{Code, Error},
    ipamc::{collect, give_back, release, status},
    result::CniResult,
    skeleton::{Call, Plugin},
    wiring,
};

/// How long another IPAM plugin may take to take back what could not be wired.
const CLEANUP: Duration = Duration::from_secs(5);

/// The plugin `tke-route-eni`.
pub(crate) struct RouteEni;

impl Plugin for RouteEni {
    fn add(&self, call: &Call) -> Result<CniResult, Error> {
        match &call.conf.ipam {
            Ipam::Agent(endpoint) => add_with_agent(call, endpoint),
            Ipam::Plugin(name) => add_with_plugin(call, &Delegate::find(name, call)?),
        }
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        match &call.conf.ipam {
            Ipam::Agent(endpoint) => release(call, endpoint, &wiring::Unwiring::new(call)?),
            Ipam::Plugin(name) => {
                wiring::unwire(call, call.conf.prev_addresses())?;
                Delegate::find(name, call)?.del(call.deadline)
            }
        }
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        let previous = call.conf.prev_result()?;
        let netns = call.env.existing_netns().map_err(|error| match error.code {
            // By that code a runtime might leave out the DEL that the interface still needs.
            Code::UnknownContainer => error.with_code(Code::Differs),
            _ => error,
        })?;
        let netns = &*netns.path;
        let claimed: PodAddresses = previous.addresses_of(&call.env.interface, netns).collect();
        let (addresses, table) = match &call.conf.ipam {
            Ipam::Agent(endpoint) => {
                let owned = Agent::connect(endpoint, call, call.deadline)?.check()?;
                (owned.addresses, Some(owned.table))
            }
            Ipam::Plugin(name) => {
                Delegate::find(name, call)?.check()?;
                (claimed, table_of_device(call)?)
            }
        };
        if claimed != addresses {
            return Err(Error::new(
                Code::Differs,
                format!("{} owns {addresses}, and prevResult says {claimed}", call.key()),
            ));
        }
        if !previous.has_interface(&call.env.interface, netns) {
            return Err(Error::new(
                Code::Differs,
                format!("prevResult has no interface {} in {netns}", call.env.interface),
            ));
        }
        wiring::verify(&wiring::plan(call, netns, addresses, table))
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        match &call.conf.ipam {
            Ipam::Agent(endpoint) => status(call, endpoint),
            Ipam::Plugin(name) => Delegate::find(name, call)?.status(),
        }
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        match &call.conf.ipam {
            Ipam::Agent(endpoint) => collect(call, endpoint),
            Ipam::Plugin(name) => Delegate::find(name, call)?.gc(),
        }
    }
}

fn add_with_agent(call: &Call, endpoint: &Endpoint) -> Result<CniResult, Error> {
    let netns = call.env.existing_netns()?;
    let netns = &*netns.path;
    let mut agent = Agent::connect(endpoint, call, call.deadline)?;
    let granted = agent.add()?;
    let (addresses, table) = (granted.grant.addresses, granted.grant.table);
    let wired = match wire(call, netns, addresses, Some(table)) {
        Ok(result) => still_owned(&mut agent, addresses).map(|()| result),
        Err(error) => Err(error),
    };
    match wired {
        Ok(result) => Ok(result),
        // An address that may still be on the wire is never given back.
        Err(error) => match wiring::unwire(call, Some(addresses)) {
            Ok(()) => {
                drop((granted, agent));
                Err(error.and(give_back(call, endpoint)))
            }
            undone => Err(error.and(undone)),
        },
    }
}

/// Whether the wired addresses are still the pod's. The agent may have ended its hold, or may have
/// started anew, and have served a DEL since; a DEL after this answer finds the wiring and takes it off.
fn still_owned(agent: &mut Agent<'_>, addresses: PodAddresses) -> Result<(), Error> {
    if agent.check()?.addresses == addresses {
        return Ok(());
    }
    Err(Error::new(
        Code::TryAgainLater,
        format!("{addresses} was taken back while the pod was wired; the sandbox is being removed"),
    ))
}

fn add_with_plugin(call: &Call, ipam: &Delegate<'_>) -> Result<CniResult, Error> {
    let netns = call.env.existing_netns()?;
    let netns = &*netns.path;
    let table = table_of_device(call)?;
    let undo = |error: Error| Err(error.and(ipam.del(Instant::now() + CLEANUP)));
    let given = match ipam.add() {
        Ok(given) => given,
        // It may have taken an address before it failed.
        Err(error) => return undo(error),
    };
    let addresses = match one_of_each(&given) {
        Ok(addresses) => addresses,
        Err(error) => return undo(error),
    };
    match wire(call, netns, addresses, table) {
        Ok(result) => Ok(CniResult {
            dns: given.dns,
            ..result
        }),
        // An address that may still be on the wire is never given back.
        Err(error) => match wiring::unwire(call, Some(addresses)) {
            Ok(()) => undo(error),
            undone => Err(error.and(undone)),
        },
    }
}

fn wire(call: &Call, netns: &str, addresses: PodAddresses, table: Option<u32>) -> Result<CniResult, Error> {
    let wired = wiring::wire(call, &wiring::plan(call, netns, addresses, table))?;
    Ok(CniResult::addresses(addresses).on_wire(&wired, &call.env.interface, netns, call.conf.mtu))
}

/// The addresses of another IPAM plugin; a pod's wire carries at most one of each family.
fn one_of_each(given: &CniResult) -> Result<PodAddresses, Error> {
    let families = |family| {
        given
            .ips
            .iter()
            .filter(|ip| Family::of(ip.address.addr()) == family)
            .count()
    };
    match (families(Family::V4), families(Family::V6)) {
        (0, 0) => Err(Error::config("ipam", "names a plugin that gave no address")),
        (0..=1, 0..=1) => Ok(given.ips.iter().map(|ip| ip.address.addr()).collect()),
        _ => Err(Error::config(
            "ipam",
            "names a plugin that gave several addresses of a family; a pod gets one",
        )),
    }
}

/// With another IPAM plugin: the table of the device that the configuration names, or the main one.
fn table_of_device(call: &Call) -> Result<Option<u32>, Error> {
    let Some(device) = &call.conf.eni else {
        return Ok(None);
    };
    let index = if_nametoindex(device.as_str()).map_err(|error| {
        Error::new(
            Code::TryAgainLater,
            format!("key `eni` names {device}, which is not on this node: {error}"),
        )
    })?;
    Ok(Some(eni_netlink::table_of(index)))
}
