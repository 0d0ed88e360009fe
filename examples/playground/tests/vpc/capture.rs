//! Sees the packets on a device, as tcpdump does.

use std::{
    collections::BTreeSet,
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use eni_netlink::{kernel::Link, namespace::Namespace, socket::Netlink};
use fabric::netns;
use libtest_mimic::Failed;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};

/// An IPv4 packet on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The device's index.
    pub(crate) device: usize,
    /// It left by the device, rather than entering by it.
    pub(crate) outgoing: bool,
    /// Its source.
    pub(crate) source: Ipv4Addr,
    /// Its destination.
    pub(crate) destination: Ipv4Addr,
}

/// A socket that gets a copy of every packet of a namespace.
pub(crate) struct Capture {
    socket: OwnedFd,
}

impl Capture {
    /// Begins in the namespace at `path`, on every device.
    pub(crate) async fn start(path: &Path) -> io::Result<Self> {
        let socket = netns::inside(path, || {
            let socket = socket(
                AddressFamily::Packet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            )?;
            setsockopt(&socket, sockopt::RcvBuf, &(4 << 20))?;
            Ok(socket)
        })
        .await?;
        Ok(Self { socket })
    }

    /// The packets since the last call.
    pub(crate) fn drain(&self) -> io::Result<Vec<Seen>> {
        let mut seen = Vec::new();
        let mut buffer = [0u8; 2048];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, Some(from))) => seen.extend(parse(&buffer[..length], &from)),
                Ok((_, None)) => {}
                Err(nix::errno::Errno::EAGAIN) => return Ok(seen),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Fails unless `one` and `other`, pods of different nodes, were seen to talk on another Ethernet
    /// device of the node than `eth0`, in both directions, and never on `eth0`.
    pub(crate) fn avoided_eth0(&self, node: &Path, one: Ipv4Addr, other: Ipv4Addr) -> Result<(), Failed> {
        let links = Link::read_all(&mut Netlink::open_in(&Namespace::open(node)?)?)?;
        let seen = self.drain()?;
        for (from, to) in [(one, other), (other, one)] {
            let packets = seen
                .iter()
                .filter(|seen| (seen.source, seen.destination) == (from, to));
            let on = |packet: &Seen| links.iter().find(|link| link.index as usize == packet.device);
            let names: BTreeSet<&str> = packets.filter_map(on).map(|link| link.name.as_str()).collect();
            let by_eni = names
                .iter()
                .any(|name| name.starts_with("eth") && *name != "eth0");
            if !by_eni || names.contains("eth0") {
                let message = format!("{}: {from} -> {to} was seen on {names:?}", node.display());
                return Err(message.into());
            }
        }
        Ok(())
    }
}

/// `PACKET_OUTGOING` of linux/if_packet.h.
const OUTGOING: u8 = 4;

fn parse(packet: &[u8], from: &LinkAddr) -> Option<Seen> {
    let address = |range: std::ops::Range<usize>| -> Option<Ipv4Addr> {
        Some(<[u8; 4]>::try_from(packet.get(range)?).ok()?.into())
    };
    let is_ipv4 = from.protocol() == (nix::libc::ETH_P_IP as u16).to_be();
    is_ipv4.then_some(())?;
    Some(Seen {
        device: from.ifindex(),
        outgoing: from.pkttype() == OUTGOING,
        source: address(12..16)?,
        destination: address(16..20)?,
    })
}
