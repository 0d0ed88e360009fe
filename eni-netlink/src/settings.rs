//! The node's own settings that pods depend on; what was put right is told, with the reason.

use eni_core::model::{Families, Mac};
use eni_core::network::{NetworkError, NetworkResult};

use crate::eni;
use crate::kernel::{Link, LinkChange};
use crate::socket::Netlink;
use crate::sysctl;

const FORWARDED: &str = "the node routes its pods' packets, and drops them otherwise";
const UNFILTERED: &str = "a pod's traffic may leave by one ENI and be answered by another, and a reverse-path \
                          filter drops the answers";
const ADVERTISED: &str = "a router ignores router advertisements unless told otherwise, and the node's own IPv6 \
                          route may come from one";

/// A setting of the node that was not as it must be, and was put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Which one, by its name under `/proc/sys/net`.
    pub setting: String,
    /// What it was.
    pub was: String,
    /// What it is now.
    pub now: &'static str,
    /// Why it matters.
    pub why: &'static str,
}

/// Takes the reverse-path filter off the primary ENI and those of `secondary` that are there; the primary's
/// device, and what was changed.
///
/// The devices' filters are read with the devices, in one dump.
pub(crate) fn unfilter(
    netlink: &mut Netlink,
    primary: Mac,
    secondary: &[Mac],
) -> NetworkResult<(String, Vec<Reset>)> {
    let links = Link::read_all(netlink)?;
    let device = eni::device(&links, primary).ok_or(NetworkError::NoDevice { mac: primary })?;
    let others = secondary
        .iter()
        .filter(|mac| **mac != primary)
        .filter_map(|mac| eni::device(&links, *mac));
    let mut resets = Vec::new();
    for link in std::iter::once(device).chain(others) {
        if link.rp_filter == Some(0) {
            continue;
        }
        let change = LinkChange {
            rp_filter: Some(0),
            ..LinkChange::default()
        };
        netlink.request(Link::change(link.index, &change))?;
        resets.push(Reset {
            setting: format!("ipv4/conf/{}/rp_filter", link.name),
            was: link
                .rp_filter
                .map_or_else(|| "unknown".into(), |was| was.to_string()),
            now: "0",
            why: UNFILTERED,
        });
    }
    Ok((device.name.clone(), resets))
}

/// Makes the calling thread's namespace forward packets of `families`, and accept those whose answer leaves
/// by another device; what was changed. `device` is the primary ENI's.
pub(crate) fn forward(device: &str, families: Families) -> NetworkResult<Vec<Reset>> {
    let mut wanted = vec![
        ("ipv4/ip_forward".to_owned(), "1", FORWARDED),
        ("ipv4/conf/all/rp_filter".to_owned(), "0", UNFILTERED),
        ("ipv4/conf/default/rp_filter".to_owned(), "0", UNFILTERED),
    ];
    if families != Families::V4 {
        let advertised = format!("ipv6/conf/{device}/accept_ra");
        if sysctl::get(&advertised)? == "1" {
            wanted.push((advertised, "2", ADVERTISED));
        }
        wanted.push(("ipv6/conf/all/forwarding".to_owned(), "1", FORWARDED));
    }
    let mut resets = Vec::new();
    for (setting, now, why) in wanted {
        let was = sysctl::set(&setting, now)?;
        resets.extend(was.map(|was| Reset {
            setting,
            was,
            now,
            why,
        }));
    }
    Ok(resets)
}
