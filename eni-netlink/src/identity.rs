//! Names and marks: what our devices are called, and by what we know that something is ours.

use std::fmt;

use eni_core::model::{Mac, PodKey, SandboxKey};
use sha1::{Digest, Sha1};

/// The rtnetlink protocol number on every route, rule and neighbour of ours.
///
/// Private: assigned neither in `linux/rtnetlink.h` (RTPROT_*) nor in the `rt_protos` of iproute2 and
/// FRR.
pub const PROTOCOL: u8 = 0xE1;

/// The link group of our pod devices (`ip link show group 225`). It marks them from the moment they
/// exist, before their alias does.
pub const LINK_GROUP: u32 = 0xE1;

/// The link group of our pod devices that are out of service and wait for their deletion.
pub const DEAD_GROUP: u32 = 0xE2;

/// A routing table of an ENI is this plus the ENI's interface index.
///
/// TKE's VPC-CNI since v3.8.0; the earlier 2000 met table 2004 of Cilium's proxy.
pub const TABLE_BASE: u32 = 4000;

/// The same before v3.8.0 of TKE's VPC-CNI, which numbered tables from 2000.
///
/// Such tables and rules of its making bear no mark of ours and are its own (the exception:
/// [`crate::earlier`]); with our mark they are ours.
pub(crate) const EARLIER_TABLE_BASE: u32 = 2000;

/// The priority of rules that lead to a pod. TKE's VPC-CNI.
pub const TO_POD: u32 = 512;

/// The priority of rules that lead from a pod, or from an ENI's own address, into the ENI's table.
///
/// TKE's VPC-CNI. 1024, between the two, belongs to `tke-bridge-agent`, which deletes rules there.
pub const FROM_POD: u32 = 1536;

/// The interface that carries the pod's default route.
pub(crate) const PRIMARY_INTERFACE: &str = "eth0";

const ALIAS_MARK: &str = "eni";

/// The routing table of the ENI with this interface index.
pub fn table_of(index: u32) -> u32 {
    TABLE_BASE + index
}

/// The interface index of the ENI that a table was made for; `None` if the table is no ENI's.
pub(crate) fn index_of(table: u32) -> Option<u32> {
    [TABLE_BASE, EARLIER_TABLE_BASE]
        .into_iter()
        .find(|base| table > *base)
        .map(|base| table - base)
}

/// The name of the node's end of a pod interface: `eni` and 11 hexadecimal digits of the SHA-1 of
/// `namespace.pod`, as TKE's VPC-CNI does, which lets its users' tools find the device.
///
/// Interfaces other than `eth0` are hashed in; without a pod the container's id stands for it. The name
/// is a label, never a key: a newer sandbox of the same pod has the same one.
pub fn host_name(pod: Option<&PodKey>, key: &SandboxKey) -> String {
    let mut text = match pod {
        Some(pod) => format!("{}.{}", pod.namespace, pod.name),
        None => key.container.to_string(),
    };
    if &*key.interface != PRIMARY_INTERFACE {
        // No pod's name has a slash, so that no other pod's eth0 is called the same.
        text.push('/');
        text.push_str(&key.interface);
    }
    let hash = Sha1::digest(text);
    let digits: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("eni{}", &digits[..11])
}

/// The name of a device that waits for its deletion; it leaves its own to the pod's next sandbox.
pub(crate) fn dead_name(index: u32) -> String {
    format!("enidead{index:x}")
}

/// The alias of the node's end of a pod interface, which says whose it is.
pub fn alias(key: &SandboxKey) -> String {
    format!("{ALIAS_MARK}/{}/{}/{}", key.network, key.container, key.interface)
}

/// Reads what [`alias`] wrote; `None` for everything else.
pub fn alias_owner(alias: &str) -> Option<SandboxKey> {
    let mut parts = alias.split('/');
    let (mark, network, container, interface) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let ours = mark == ALIAS_MARK && parts.next().is_none();
    ours.then(|| SandboxKey::new(network, container, interface))
}

/// An end of a pod interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The node's.
    Host,
    /// The pod's.
    Pod,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Pod => "pod",
        })
    }
}

/// The MAC of one end: locally administered, and derived from the key, so that a repeated ADD and a
/// CHECK know what it must be.
pub(crate) fn mac(key: &SandboxKey, end: End) -> Mac {
    let hash = Sha1::digest(format!("{key}/{end}"));
    // Bit 1 of the first byte: locally administered. Bit 0: multicast.
    Mac([hash[0] & 0xfc | 0x02, hash[1], hash[2], hash[3], hash[4], hash[5]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(interface: &str) -> SandboxKey {
        SandboxKey::new("tke", "0a1b2c", interface)
    }

    #[test]
    fn a_name_seen_on_a_live_cluster() {
        let pod = PodKey::new("kube-system", "csi-cbs-controller-7788964bc-lsfw5");
        assert_eq!(host_name(Some(&pod), &key("eth0")), "eni07eaad73233");
    }

    #[test]
    fn every_interface_and_every_container_has_a_name_of_its_own_that_fits() {
        let pod = PodKey::new("default", "web-0");
        let other = SandboxKey::new("tke", "ffff", "eth0");
        let names = [
            host_name(Some(&pod), &key("eth0")),
            host_name(Some(&pod), &key("net1")),
            host_name(None, &key("eth0")),
            host_name(None, &key("net1")),
            host_name(None, &other),
        ];
        for (i, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 14, "{name} must fit IFNAMSIZ");
            assert!(!names[..i].contains(name), "{name} twice");
        }
    }

    #[test]
    fn an_alias_reads_back_and_nothing_else_does() {
        assert_eq!(alias_owner(&alias(&key("eth0"))), Some(key("eth0")));
        for foreign in [
            "",
            "eni",
            "eni/a/b",
            "eni/a/b/c/d",
            "tap/a/b/c",
            "uplink to rack 7",
        ] {
            assert_eq!(alias_owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_table_tells_its_enis_index() {
        assert_eq!(index_of(table_of(7)), Some(7));
        assert_eq!(index_of(2007), Some(7));
        for other in [0, 253, 254, 255, 1000, 2000] {
            assert_eq!(index_of(other), None, "{other}");
        }
    }

    #[test]
    fn macs_are_local_unicast_stable_and_distinct() {
        let host = mac(&key("eth0"), End::Host);
        let pod = mac(&key("eth0"), End::Pod);
        assert_eq!(host.0[0] & 0x03, 0x02);
        assert_eq!(pod.0[0] & 0x03, 0x02);
        assert_ne!(host, pod);
        assert_eq!(host, mac(&key("eth0"), End::Host));
        assert_ne!(host, mac(&key("net1"), End::Host));
    }
}
