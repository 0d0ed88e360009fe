//! What ADD answers, and what CHECK and delegated plugins hand over: the CNI result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use eni_core::{
    model::{Family, PodAddresses},
    network::Wired,
};
use eni_netlink::{V4_ROUTER, V6_ROUTER};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::version::SpecVersion;

/// A CNI result in the shape of the newest version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CniResult {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) interfaces: Vec<Interface>,
    #[serde(default)]
    pub(crate) ips: Vec<Ip>,
    #[serde(default)]
    pub(crate) routes: Vec<Route>,
    #[serde(default)]
    pub(crate) dns: Map<String, Value>,
}

/// A device that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    /// The network namespace; none for the node's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<String>,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ip {
    /// Its family, which versions before 1.0.0 demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Which of the interfaces has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<usize>,
    pub(crate) address: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    dst: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

impl CniResult {
    /// What an IPAM plugin answers: addresses and routes, no interfaces.
    pub(crate) fn addresses(addresses: PodAddresses) -> Self {
        let mut result = Self::default();
        for address in addresses.iter() {
            let (router, everywhere) = match Family::of(address) {
                Family::V4 => (V4_ROUTER, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                Family::V6 => (V6_ROUTER, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            };
            result.ips.push(Ip {
                version: None,
                interface: None,
                address: IpNet::from(address),
                gateway: Some(router),
            });
            let dst = IpNet::new(everywhere, 0).expect("no prefix is shorter");
            result.routes.push(Route {
                dst,
                gw: Some(router),
            });
        }
        result
    }

    /// The same with the two ends of the wire that carries them.
    pub(crate) fn on_wire(mut self, wired: &Wired, interface: &str, netns: &str, mtu: u32) -> Self {
        self.interfaces = vec![
            Interface {
                name: wired.host_name.clone(),
                mac: wired.host_mac.to_string(),
                mtu: Some(mtu),
                sandbox: None,
            },
            Interface {
                name: interface.to_owned(),
                mac: wired.pod_mac.to_string(),
                mtu: Some(mtu),
                sandbox: Some(netns.to_owned()),
            },
        ];
        for ip in &mut self.ips {
            ip.interface = Some(1);
        }
        self
    }

    /// Reads a result of any version from 0.3.0.
    pub(crate) fn read(result: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value(result)
    }

    /// Writes the result as a version demands it.
    pub(crate) fn to_json(&self, version: SpecVersion) -> Value {
        let mut result = self.clone();
        for ip in &mut result.ips {
            let family = if ip.address.addr().is_ipv4() { "4" } else { "6" };
            ip.version = (version < SpecVersion::V1_0_0).then(|| family.to_owned());
        }
        if version < SpecVersion::V1_1_0 {
            result
                .interfaces
                .iter_mut()
                .for_each(|interface| interface.mtu = None);
        }
        let mut json = serde_json::to_value(result).expect("text keys and plain values are always JSON");
        json["cniVersion"] = version.to_string().into();
        json
    }

    /// Whether it has this interface in this sandbox.
    pub(crate) fn has_interface(&self, name: &str, netns: &str) -> bool {
        self.interfaces
            .iter()
            .any(|interface| interface.name == name && interface.sandbox.as_deref() == Some(netns))
    }

    /// The addresses that belong to an interface of this sandbox, or to none in particular.
    pub(crate) fn addresses_of(&self, interface: &str, netns: &str) -> impl Iterator<Item = IpAddr> {
        self.ips
            .iter()
            .filter(
                move |ip| match ip.interface.and_then(|index| self.interfaces.get(index)) {
                    Some(owner) => owner.name == interface && owner.sandbox.as_deref() == Some(netns),
                    None => true,
                },
            )
            .map(|ip| ip.address.addr())
    }
}

#[cfg(test)]
mod tests {
    use eni_core::model::Mac;
    use serde_json::json;

    use super::*;

    fn wired() -> CniResult {
        let ends = Wired {
            host_name: "eni07eaad73233".to_owned(),
            host_mac: Mac([2, 0, 0, 0, 0, 1]),
            pod_mac: Mac([2, 0, 0, 0, 0, 2]),
        };
        let address: IpAddr = "10.0.0.7".parse().unwrap();
        CniResult::addresses(address.into()).on_wire(&ends, "eth0", "/run/netns/x", 1500)
    }

    #[test]
    fn each_version_has_its_shape() {
        let old = |version: &str| {
            json!({
                "cniVersion": version,
                "interfaces": [
                    {"name": "eni07eaad73233", "mac": "02:00:00:00:00:01"},
                    {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"},
                ],
                "ips": [{"version": "4", "interface": 1, "address": "10.0.0.7/32", "gateway": "169.254.1.1"}],
                "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}],
                "dns": {},
            })
        };
        assert_eq!(wired().to_json(SpecVersion::V0_3_1), old("0.3.1"));
        assert_eq!(wired().to_json(SpecVersion::V0_4_0), old("0.4.0"));
        let mut expected = old("1.0.0");
        expected["ips"][0].as_object_mut().unwrap().remove("version");
        assert_eq!(wired().to_json(SpecVersion::V1_0_0), expected);
        expected["cniVersion"] = json!("1.1.0");
        expected["interfaces"][0]["mtu"] = json!(1500);
        expected["interfaces"][1]["mtu"] = json!(1500);
        assert_eq!(wired().to_json(SpecVersion::V1_1_0), expected);
    }

    #[test]
    fn an_ipam_result_has_no_interfaces() {
        let both: PodAddresses = ["10.0.0.7".parse().unwrap(), "fd00::7".parse::<IpAddr>().unwrap()]
            .into_iter()
            .collect();
        assert_eq!(
            CniResult::addresses(both).to_json(SpecVersion::V0_4_0),
            json!({
                "cniVersion": "0.4.0",
                "ips": [
                    {"version": "4", "address": "10.0.0.7/32", "gateway": "169.254.1.1"},
                    {"version": "6", "address": "fd00::7/128", "gateway": "fe80::1"},
                ],
                "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0", "gw": "fe80::1"}],
                "dns": {},
            })
        );
    }

    #[test]
    fn reads_every_version_it_writes() {
        for version in SpecVersion::ALL {
            let read = CniResult::read(wired().to_json(version)).unwrap();
            assert_eq!(
                read.to_json(SpecVersion::V0_3_1),
                wired().to_json(SpecVersion::V0_3_1)
            );
        }
    }

    #[test]
    fn reads_what_others_answer() {
        let host_local = json!({
            "cniVersion": "1.0.0",
            "ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}],
            "routes": [{"dst": "0.0.0.0/0", "priority": 5}], "dns": {"nameservers": ["1.2.3.4"]},
        });
        let result = CniResult::read(host_local).unwrap();
        assert_eq!(result.ips[0].address.addr().to_string(), "10.0.0.2");
        assert!(CniResult::read(json!({"interfaces": [{"name": "a", "mac": "m", "sandbox": ""}]})).is_ok());
        assert!(CniResult::read(json!({"ips": [{"address": "10.0.0.2"}]})).is_err());
    }

    #[test]
    fn other_interfaces_addresses_are_not_ours() {
        let mut result = wired();
        result.ips.push(Ip {
            interface: Some(0),
            ..result.ips[0].clone()
        });
        result.ips.push(Ip {
            interface: None,
            ..result.ips[0].clone()
        });
        result.ips.push(Ip {
            interface: Some(9),
            ..result.ips[0].clone()
        });
        assert_eq!(result.addresses_of("eth0", "/run/netns/x").count(), 3);
        assert_eq!(result.addresses_of("eth0", "/run/netns/y").count(), 2);
        assert_eq!(result.addresses_of("eth1", "/run/netns/x").count(), 2);
    }
}
