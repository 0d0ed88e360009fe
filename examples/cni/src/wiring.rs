//! The kernel's side of a call.

use std::time::Instant;

use eni_core::{
    model::PodAddresses,
    network::{NetworkError, PodInterface, PodWiring, Wired},
};
use eni_netlink::NetlinkNetwork;

use crate::{
    error::{Code, Error},
    ipamc::Unwire,
    skeleton::Call,
};

/// What a call wants on the wire.
pub(crate) fn plan(call: &Call, netns: &str, addresses: PodAddresses, table: Option<u32>) -> PodWiring {
    PodWiring {
        interface: interface(call, Some(addresses)),
        netns: netns.to_owned(),
        addresses,
        table,
        mtu: call.conf.mtu,
    }
}

/// Puts a pod on the wire, unless the call's deadline has passed meanwhile: then nobody would believe it.
pub(crate) fn wire(call: &Call, wiring: &PodWiring) -> Result<Wired, Error> {
    if call.conf.disable_ipv6 && wiring.addresses.v6.is_some() {
        return Err(Error::config(
            "disableIPv6",
            "is true, and the node gives its pods IPv6 addresses",
        ));
    }
    let wired = network()?.wire(wiring).map_err(kernel)?;
    match Instant::now() < call.deadline {
        true => Ok(wired),
        false => Err(Error::new(
            Code::TryAgainLater,
            format!(
                "wiring {} took longer than the deadline of {} s",
                call.key(),
                call.conf.timeout.as_secs()
            ),
        )),
    }
}

/// Takes a pod off the wire. What is not there is no error.
pub(crate) fn unwire(call: &Call, addresses: Option<PodAddresses>) -> Result<(), Error> {
    network()?.unwire(&interface(call, addresses)).map_err(kernel)
}

/// Takes a pod off the wire for a DEL: once it is known, and once more when nobody can be wiring it any more.
pub(crate) struct Unwiring<'a> {
    call: &'a Call,
    network: NetlinkNetwork,
}

impl<'a> Unwiring<'a> {
    pub(crate) fn new(call: &'a Call) -> Result<Self, Error> {
        let network = network()?;
        Ok(Self { call, network })
    }
}

impl Unwire for Unwiring<'_> {
    fn first(&self, addresses: Option<PodAddresses>) -> Result<(), Error> {
        let interface = interface(self.call, addresses);
        self.network.unwire(&interface).map_err(kernel)
    }

    fn again(&self, addresses: Option<PodAddresses>) -> Result<(), Error> {
        let interface = interface(self.call, addresses);
        self.network.unwire_again(&interface).map_err(kernel)
    }
}

/// Compares the kernel with what ADD made of it.
pub(crate) fn verify(wiring: &PodWiring) -> Result<(), Error> {
    let discrepancies = network()?.verify(wiring).map_err(kernel)?;
    let Some(first) = discrepancies.first() else {
        return Ok(());
    };
    let more = discrepancies[1..].iter();
    let error = Error::new(
        Code::Differs,
        format!("{}: {}; delete the pod", wiring.interface.key, first.what),
    );
    Err(more.fold(error, |error, discrepancy| error.details(&discrepancy.what)))
}

fn interface(call: &Call, addresses: Option<PodAddresses>) -> PodInterface {
    PodInterface {
        key: call.key(),
        pod: call.env.pod.clone(),
        addresses,
    }
}

fn network() -> Result<NetlinkNetwork, Error> {
    NetlinkNetwork::for_plugin().map_err(kernel)
}

fn kernel(error: NetworkError) -> Error {
    let code = match error {
        NetworkError::NoNamespace { .. } => Code::UnknownContainer,
        NetworkError::NoDevice { .. } => Code::TryAgainLater,
        _ => Code::Kernel,
    };
    Error::new(code, error.to_string())
}
