//! `tke-eni-ipamc`: addresses from the node's agent, and nothing else.

use std::time::{Duration, Instant};

use agent_api::Endpoint;
use eni_core::model::PodAddresses;

use crate::{
    agent::{Agent, Failure, Standing, record_del},
    conf::Ipam,
    error::{Code, Error},
    result::CniResult,
    skeleton::{Call, Plugin},
};

/// How long giving an address back may take after the call's own deadline.
const CLEANUP: Duration = Duration::from_secs(5);

/// The IPAM plugin `tke-eni-ipamc`.
pub(crate) struct EniIpamc;

impl Plugin for EniIpamc {
    fn add(&self, call: &Call) -> Result<CniResult, Error> {
        let granted = Agent::connect(endpoint(call)?, call, call.deadline)?.add()?;
        Ok(CniResult::addresses(granted.grant.addresses))
    }

    fn del(&self, call: &Call) -> Result<(), Error> {
        release(call, endpoint(call)?, &NoWire)
    }

    fn check(&self, call: &Call) -> Result<(), Error> {
        let previous = call.conf.prev_result()?;
        let owned = Agent::connect(endpoint(call)?, call, call.deadline)?.check()?;
        // As IPAM plugin it cannot tell which of the result's addresses are its own: all of its own must be there.
        for address in owned.addresses.iter() {
            if !previous.ips.iter().any(|ip| ip.address.addr() == address) {
                return Err(Error::new(
                    Code::Differs,
                    format!("{} owns {address}, which prevResult does not have", call.key()),
                ));
            }
        }
        Ok(())
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        status(call, endpoint(call)?)
    }

    fn gc(&self, call: &Call) -> Result<(), Error> {
        collect(call, endpoint(call)?)
    }
}

/// Whether the agent would serve an ADD.
pub(crate) fn status(call: &Call, endpoint: &Endpoint) -> Result<(), Error> {
    let asked = || {
        let mut agent = Agent::connect(endpoint, call, call.deadline)?;
        Ok::<_, Error>(agent.status()?)
    };
    let standing = asked().map_err(|error| error.with_code(Code::NotAvailable))?;
    match standing {
        Standing::Ready => Ok(()),
        Standing::NotReady(reason) => Err(Error::new(Code::NotAvailable, reason)),
        Standing::Limited(reason) => Err(Error::new(Code::Limited, reason)),
    }
}

/// Has the agent take back what belongs to none of the attachments that the runtime knows.
pub(crate) fn collect(call: &Call, endpoint: &Endpoint) -> Result<(), Error> {
    let valid = call.conf.valid_attachments()?;
    let mut agent = Agent::connect(endpoint, call, call.deadline)?;
    let failed = agent.gc(valid)?;
    let Some((first, more)) = failed.split_first() else {
        return Ok(());
    };
    let error = Error::new(Code::Kernel, format!("{first}; the agent tries again by itself"));
    Err(more.iter().fold(error, Error::details))
}

/// Takes an interface off the wire; it gets the addresses, as far as they are known.
pub(crate) trait Unwire {
    /// Before the agent is told.
    fn first(&self, addresses: Option<PodAddresses>) -> Result<(), Error>;
    /// After the agent has released the addresses: an ADD that was wiring the pod before has ended.
    fn again(&self, addresses: Option<PodAddresses>) -> Result<(), Error>;
}

/// There is no wire.
struct NoWire;

impl Unwire for NoWire {
    fn first(&self, _: Option<PodAddresses>) -> Result<(), Error> {
        Ok(())
    }

    fn again(&self, _: Option<PodAddresses>) -> Result<(), Error> {
        Ok(())
    }
}

/// Takes an interface off the wire and then gives its addresses back, also while the agent is away.
pub(crate) fn release(call: &Call, endpoint: &Endpoint, wire: &impl Unwire) -> Result<(), Error> {
    let Ok(mut agent) = Agent::connect(endpoint, call, call.deadline) else {
        wire.first(call.conf.prev_addresses())?;
        return record(call, endpoint, wire);
    };
    // What the runtime remembers spares a question. Should it be wrong, what is another's stays, and what was this
    // interface's goes once the agent has said what that was.
    let known = call.conf.prev_addresses();
    wire.first(known.or_else(|| agent.check().ok().map(|grant| grant.addresses)))?;
    match agent.del() {
        Ok(None) => Ok(()),
        Ok(released) => wire.again(released),
        Err(Failure::Away(_)) => record(call, endpoint, wire),
        Err(Failure::Refused(error)) => Err(error),
    }
}

/// Gives addresses back that were granted a moment ago and are on no wire.
///
/// By a connection of its own: the one of the ADD has ended with it, whatever came in between.
pub(crate) fn give_back(call: &Call, endpoint: &Endpoint) -> Result<(), Error> {
    let Ok(mut agent) = Agent::connect(endpoint, call, Instant::now() + CLEANUP) else {
        return record_del(endpoint, call);
    };
    match agent.del() {
        Ok(_) => Ok(()),
        Err(Failure::Away(_)) => record_del(endpoint, call),
        Err(Failure::Refused(error)) => Err(error),
    }
}

/// Records the DEL for the agent's next start. One that has started meanwhile is told at once: it looks
/// at the records only before it serves.
fn record(call: &Call, endpoint: &Endpoint, wire: &impl Unwire) -> Result<(), Error> {
    record_del(endpoint, call)?;
    let Ok(mut agent) = Agent::connect(endpoint, call, call.deadline) else {
        return Ok(());
    };
    match agent.del() {
        Ok(None) | Err(Failure::Away(_)) => Ok(()),
        Ok(released) => wire.again(released),
        Err(Failure::Refused(error)) => Err(error),
    }
}

fn endpoint(call: &Call) -> Result<&Endpoint, Error> {
    match &call.conf.ipam {
        Ipam::Agent(endpoint) => Ok(endpoint),
        Ipam::Plugin(other) => Err(Error::config(
            "ipam.type",
            format!("is {other}, and tke-eni-ipamc was executed"),
        )),
    }
}
