//! Network devices.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use eni_core::model::{Mac, SandboxKey};
use nix::errno::Errno;
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags,
    LinkInfo, LinkMessage,
};

use super::dump;
use crate::identity::{DEAD_GROUP, LINK_GROUP, alias_owner};
use crate::socket::{Netlink, NetlinkError, Request};

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC, if it has one.
    pub mac: Option<Mac>,
    /// Its alias.
    pub alias: Option<String>,
    /// Its group.
    pub group: u32,
    /// It is set up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// What it is made of, such as `veth`; a device of hardware says nothing.
    pub kind: Option<InfoKind>,
    /// The index of its peer, which may be in another namespace.
    pub peer: Option<u32>,
    /// Its reverse-path filter (`net.ipv4.conf.*.rp_filter`).
    pub rp_filter: Option<i32>,
}

/// Whose a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A pod interface of ours.
    Pod(SandboxKey),
    /// A pod interface of ours whose maker did not get as far as its alias.
    Unfinished,
    /// It was a pod interface of ours and waits for its deletion.
    Dead,
    /// Not ours.
    Foreign,
}

/// A pair of devices to be made, each end where it belongs from the start.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    /// The name of this end; it is made up.
    pub name: &'a str,
    /// Its MAC.
    pub mac: Mac,
    /// Its group.
    pub group: u32,
    /// The name of the other end; the kernel refuses to make it up.
    pub peer_name: &'a str,
    /// Its MAC.
    pub peer_mac: Mac,
    /// The namespace of the other end; `None` for the same.
    pub peer_namespace: Option<BorrowedFd<'a>>,
    /// The MTU of both ends, in bytes.
    pub mtu: u32,
}

/// A change of a device.
#[derive(Clone, Debug, Default)]
pub struct LinkChange {
    /// Sets it up or down.
    pub up: Option<bool>,
    /// Gives it another name; it must be down.
    pub name: Option<String>,
    /// Names its owner.
    pub alias: Option<String>,
    /// Puts it into a group.
    pub group: Option<u32>,
    /// Sets its reverse-path filter.
    pub rp_filter: Option<u32>,
}

impl Link {
    /// Whose it is.
    pub fn owner(&self) -> Owner {
        if self.kind != Some(InfoKind::Veth) {
            return Owner::Foreign;
        }
        match self.alias.as_deref() {
            _ if self.group == DEAD_GROUP => Owner::Dead,
            Some(alias) => alias_owner(alias).map_or(Owner::Foreign, Owner::Pod),
            None if self.group == LINK_GROUP => Owner::Unfinished,
            None => Owner::Foreign,
        }
    }

    /// Asks for the device of that name; ENODEV when there is none. [`Link::from_answer`] reads it.
    pub fn get(name: &str) -> Request {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        Request::new(
            format!("look up device {name}"),
            RouteNetlinkMessage::GetLink(message),
        )
    }

    /// The device in an answer to [`Link::get`].
    pub fn from_answer(answer: &Option<RouteNetlinkMessage>) -> Option<Self> {
        match answer {
            Some(RouteNetlinkMessage::NewLink(link)) => Some(Self::read(link)),
            _ => None,
        }
    }

    /// The device of that name.
    pub fn by_name(netlink: &mut Netlink, name: &str) -> Result<Option<Self>, NetlinkError> {
        match netlink.request(Self::get(name)) {
            Ok(answer) => Ok(Self::from_answer(&answer)),
            Err(NetlinkError::Refused(refusal)) if refusal.errno == Errno::ENODEV => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every device of the namespace.
    pub fn read_all(netlink: &mut Netlink) -> Result<Vec<Self>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
        let entries = dump(netlink, "read the devices", RouteNetlinkMessage::GetLink(message))?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| Self::from_answer(&Some(entry)))
            .collect())
    }

    /// Changes the device with that index.
    pub fn change(index: u32, change: &LinkChange) -> Request {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if let Some(up) = change.up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        message
            .attributes
            .extend(change.name.clone().map(LinkAttribute::IfName));
        message
            .attributes
            .extend(change.alias.clone().map(LinkAttribute::IfAlias));
        message.attributes.extend(change.group.map(LinkAttribute::Group));
        message.attributes.extend(change.rp_filter.map(rp_filter));
        Request::new(
            format!("change link {index}: {change:?}"),
            RouteNetlinkMessage::SetLink(message),
        )
    }

    /// Deletes the device with that index; ENODEV when it is gone.
    pub fn delete(index: u32) -> Request {
        let mut message = LinkMessage::default();
        message.header.index = index;
        Request::new(
            format!("delete link {index}"),
            RouteNetlinkMessage::DelLink(message),
        )
    }

    /// Deletes every device of that group; ENODEV when there is none.
    pub fn delete_group(group: u32) -> Request {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::Group(group)];
        Request::new(
            format!("delete the links of group {group}"),
            RouteNetlinkMessage::DelLink(message),
        )
    }

    fn read(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            alias: None,
            group: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            kind: None,
            peer: None,
            rp_filter: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok().map(Mac),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
                LinkAttribute::Group(group) => link.group = *group,
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Link(peer) => link.peer = Some(*peer),
                LinkAttribute::LinkInfo(info) => {
                    link.kind = info.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.clone()),
                        _ => None,
                    });
                }
                LinkAttribute::AfSpecUnspec(families) => link.rp_filter = read_rp_filter(families),
                _ => {}
            }
        }
        link
    }
}

impl Veth<'_> {
    /// Makes both ends in one request; EEXIST when either name is taken.
    ///
    /// Moving an end to its namespace afterwards would cost some 20 ms of the kernel's grace periods.
    pub fn create(&self) -> Request {
        let end = |name: &str, mac: Mac| {
            let mut message = LinkMessage::default();
            message.attributes = vec![
                LinkAttribute::IfName(name.into()),
                LinkAttribute::Address(mac.0.to_vec()),
                LinkAttribute::Mtu(self.mtu),
            ];
            message
        };
        let mut peer = end(self.peer_name, self.peer_mac);
        let namespace = self.peer_namespace.map(|namespace| namespace.as_fd().as_raw_fd());
        peer.attributes.extend(namespace.map(LinkAttribute::NetNsFd));
        let mut message = end(self.name, self.mac);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Group(self.group));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let what = format!("create device {} with peer {}", self.name, self.peer_name);
        Request::create(what, RouteNetlinkMessage::NewLink(message))
    }
}

/// `IFLA_INET_CONF` of `linux/if_link.h`.
const INET_CONF: u16 = 1;

/// `IPV4_DEVCONF_RP_FILTER` of `linux/ip.h`.
const RP_FILTER: u16 = 8;

/// The setting as part of a link message: it needs no visit to the namespace's `/proc`. The message
/// crate's own form leaves out zeros.
fn rp_filter(value: u32) -> LinkAttribute {
    let setting = DefaultNla::new(RP_FILTER, value.to_ne_bytes().to_vec());
    let mut settings = vec![0; setting.buffer_len()];
    setting.emit(&mut settings);
    let settings = AfSpecInet::Other(DefaultNla::new(INET_CONF | NLA_F_NESTED, settings));
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![settings])])
}

fn read_rp_filter(families: &[AfSpecUnspec]) -> Option<i32> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet(settings) => settings.iter().find_map(|settings| match settings {
            AfSpecInet::DevConf(settings) => Some(settings.rp_filter),
            _ => None,
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::alias;

    fn veth(alias: Option<String>, group: u32) -> Link {
        Link {
            index: 3,
            name: "eni07eaad73233".into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            alias,
            group,
            up: true,
            mtu: 1500,
            kind: Some(InfoKind::Veth),
            peer: Some(2),
            rp_filter: Some(0),
        }
    }

    #[test]
    fn an_alias_says_whose_a_device_is() {
        let key = SandboxKey::new("tke", "c1", "eth0");
        assert_eq!(veth(Some(alias(&key)), LINK_GROUP).owner(), Owner::Pod(key));
    }

    #[test]
    fn a_name_like_ours_is_not_enough() {
        assert_eq!(veth(None, 0).owner(), Owner::Foreign);
        assert_eq!(veth(Some("uplink".into()), LINK_GROUP).owner(), Owner::Foreign);
        let bridge = Link {
            kind: Some(InfoKind::Bridge),
            ..veth(None, LINK_GROUP)
        };
        assert_eq!(bridge.owner(), Owner::Foreign);
    }

    #[test]
    fn a_device_that_waits_for_its_deletion_is_nobodys() {
        let key = SandboxKey::new("tke", "c1", "eth0");
        assert_eq!(veth(Some(alias(&key)), DEAD_GROUP).owner(), Owner::Dead);
    }

    #[test]
    fn a_device_whose_maker_died_is_known_by_its_group() {
        assert_eq!(veth(None, LINK_GROUP).owner(), Owner::Unfinished);
    }
}
