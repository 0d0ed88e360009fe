//! The pod's end of a pair of devices, set up inside the pod's namespace.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use eni_core::network::{NetworkError, NetworkResult};
use nix::errno::Errno;

use super::plan::Plan;
use crate::kernel::{LOCAL, Link, LinkChange, Route};
use crate::namespace::Namespace;
use crate::node::Node;
use crate::socket::Netlink;
use crate::sysctl;

/// The loopback device's index, in every namespace (LOOPBACK_IFINDEX of `net/flow.h`).
const LOOPBACK: u32 = 1;

/// How long an IPv6 address may take to come into effect. It takes well below a millisecond, unless the
/// kernel is busy with the devices of many pods.
const SETTLE: Duration = Duration::from_secs(5);

/// The pause between two looks at it.
const LOOK: Duration = Duration::from_millis(1);

/// Sets up the pod's end, the device with index `link`.
pub(super) fn set_up(node: &Node, plan: &Plan<'_>, pod: &Namespace, link: u32) -> NetworkResult<()> {
    let up = LinkChange {
        up: Some(true),
        ..LinkChange::default()
    };
    let mut requests = vec![Link::change(LOOPBACK, &up), Link::change(link, &up)];
    for address in plan.addresses() {
        requests.push(plan.pod_address(address, link).add());
        // The neighbour first: a packet on the new default route must not ask for it.
        requests.push(plan.pod_neighbour(address, link).replace());
        requests.extend(plan.pod_routes(address, link).map(|route| route.add()));
    }
    node.inside(pod, || {
        let v6 = plan.addresses().find(IpAddr::is_ipv6);
        if v6.is_some() {
            sysctl::enable_ipv6(plan.interface())?;
        }
        let mut netlink = Netlink::open()?;
        for outcome in netlink.exchange(&requests)? {
            outcome.map_err(|refusal| match refusal.errno {
                Errno::EEXIST => {
                    let place = pod.path().display();
                    NetworkError::Foreign {
                        what: format!("`{}` in {place}: what exists", refusal.what),
                    }
                }
                _ => refusal.into(),
            })?;
        }
        v6.map_or(Ok(()), |address| settle(&mut netlink, address))
    })?
}

/// Waits until the kernel takes packets for a new IPv6 address, which it arranges in the background even
/// where it does not probe for duplicates.
fn settle(netlink: &mut Netlink, address: IpAddr) -> NetworkResult<()> {
    let end = Instant::now() + SETTLE;
    while Route::read_to_host(netlink, address, LOCAL)?.is_none() {
        if Instant::now() > end {
            return Err(NetworkError::Kernel {
                operation: format!("add address {address}"),
                message: format!("it is not in effect after {SETTLE:?}; the ADD may be repeated"),
            });
        }
        thread::sleep(LOOK);
    }
    Ok(())
}
