//! Nodes: network namespaces whose primary ENI is set up as the operating system of an instance does.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use eni_core::model::{Eni, Mac};
use eni_netlink::{
    kernel::{Address, MAIN, Route},
    socket::NetlinkError,
};
use ipnet::Ipv4Net;

use crate::{
    dump::KernelDump,
    kernel::{self, LOOPBACK},
    netns::NamedNamespace,
    topology::NodePlan,
};

/// What a node's image sets for a Kubernetes node. Reverse-path filtering is strict by default, as on
/// many distributions: whoever adds an ENI must loosen it there.
const NODE_SETTINGS: [(&str, &str); 3] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "1"),
];

/// Who made a route: the boot scripts (RTPROT_BOOT of linux/rtnetlink.h).
const BOOT: u8 = 3;

/// A node.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub plan: NodePlan,
    /// The MAC of its primary ENI.
    pub mac: Mac,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Where its files are: journal, socket, CNI state.
    pub directory: PathBuf,
    namespace: NamedNamespace,
}

impl Node {
    /// Makes a node's namespace, with nothing in it but the loopback.
    pub fn namespace(path: PathBuf) -> io::Result<NamedNamespace> {
        let namespace = NamedNamespace::create(path).map_err(io::Error::other)?;
        namespace.set(&NODE_SETTINGS)?;
        let mut netlink = namespace.netlink().map_err(io::Error::other)?;
        kernel::run(&mut netlink, [kernel::set_up(LOOPBACK)]).map_err(io::Error::other)?;
        Ok(namespace)
    }

    /// Sets up the primary ENI, whose device is there, and makes the node's directory.
    pub fn boot(
        plan: NodePlan,
        namespace: NamedNamespace,
        directory: PathBuf,
        primary: &Eni,
    ) -> io::Result<Self> {
        let Some(IpAddr::V4(address)) = primary.primary_address() else {
            return Err(io::Error::other(format!(
                "{} has no primary IPv4 address",
                primary.id
            )));
        };
        let mut netlink = namespace.netlink().map_err(io::Error::other)?;
        let Some(device) = kernel::by_mac(&mut netlink, primary.mac).map_err(io::Error::other)? else {
            return Err(io::Error::other(format!(
                "{} has no device {}",
                plan.name, primary.mac
            )));
        };
        let subnet = &plan.subnet;
        let own = Address {
            link: device.index,
            address: Ipv4Net::new_assert(address, subnet.cidr.prefix_len()).into(),
        };
        let default = Route {
            protocol: BOOT,
            ..Route::default_via(MAIN, subnet.gateway().into(), device.index)
        };
        let requests = [kernel::set_up(device.index), own.add(), default.add()];
        kernel::run(&mut netlink, requests).map_err(io::Error::other)?;
        fs::create_dir(&directory)?;
        Ok(Self {
            plan,
            mac: primary.mac,
            address,
            directory,
            namespace,
        })
    }

    /// The path of the node's network namespace.
    pub fn netns(&self) -> &Path {
        self.namespace.path()
    }

    /// Everything in the node's network namespace.
    pub fn dump(&self) -> Result<KernelDump, NetlinkError> {
        KernelDump::read(&mut self.namespace.netlink()?)
    }
}
