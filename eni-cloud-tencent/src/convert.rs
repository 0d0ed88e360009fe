//! The API's objects in the core's words.

use std::net::{IpAddr, Ipv4Addr};

use eni_core::model::{
    self, EniAddress, EniId, EniKind, EniState, InstanceId, InstanceState, Limits, Mac, SecurityGroupId,
    SubnetId, VpcId, Zone,
};
use ipnet::IpNet;

use crate::api;

/// An ENI. What this version cannot read is an error rather than a guess: a state that was taken for another
/// could cost a pod its address.
pub(crate) fn eni(eni: api::NetworkInterface) -> Result<model::Eni, String> {
    let instance = eni.instance().map(InstanceId::from);
    let id = eni.network_interface_id;
    let state = match (eni.state.as_str(), &instance) {
        ("PENDING", _) => EniState::Pending,
        // An attached ENI is AVAILABLE too.
        ("AVAILABLE", Some(_)) => EniState::InUse,
        ("AVAILABLE", None) => EniState::Available,
        ("ATTACHING", _) => EniState::Attaching,
        ("DETACHING", _) => EniState::Detaching,
        ("DELETING", _) => EniState::Deleting,
        (other, _) => return Err(format!("{id} is in the state `{other}`, which is not known")),
    };
    let mac: Mac = eni
        .mac_address
        .parse()
        .map_err(|error| format!("{id}: {error}"))?;
    let v4 = eni.private_ip_address_set.into_iter().map(v4);
    let v6 = eni.ipv6_address_set.into_iter().map(v6);
    let addresses: Result<Vec<_>, String> = v4.chain(v6).collect();
    Ok(model::Eni {
        addresses: addresses.map_err(|error| format!("{id}: {error}"))?,
        id: EniId::from(id),
        name: eni.network_interface_name,
        mac,
        kind: match eni.primary {
            true => EniKind::Primary,
            false => EniKind::Secondary,
        },
        state,
        subnet: SubnetId::from(eni.subnet_id),
        zone: Zone::from(eni.zone),
        instance,
        security_groups: eni.group_set.iter().map(SecurityGroupId::from).collect(),
        tags: eni.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect(),
    })
}

fn v4(address: api::PrivateIpAddress) -> Result<EniAddress, String> {
    Ok(EniAddress {
        ip: ip(&address.private_ip_address)?,
        primary: address.primary,
        ready: address.state == "AVAILABLE",
    })
}

/// IPv6 addresses are all for pods, as far as the core is concerned: an ENI has one primary address.
fn v6(address: api::Ipv6Address) -> Result<EniAddress, String> {
    Ok(EniAddress {
        ip: ip(&address.address)?,
        primary: false,
        ready: address.state == "AVAILABLE" && !address.primary,
    })
}

/// An address.
pub(crate) fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address"))
}

/// A subnet. Its gateway is the first address of its range.
pub(crate) fn subnet(subnet: api::Subnet) -> Result<model::Subnet, String> {
    let cidr: IpNet = subnet
        .cidr_block
        .parse()
        .map_err(|_| format!("`{}` is not a range of addresses", subnet.cidr_block))?;
    let IpAddr::V4(network) = cidr.network() else {
        return Err(format!("`{cidr}` is not a range of IPv4"));
    };
    Ok(model::Subnet {
        id: SubnetId::from(subnet.subnet_id),
        vpc: VpcId::from(subnet.vpc_id),
        zone: Zone::from(subnet.zone),
        cidr,
        gateway: IpAddr::V4(Ipv4Addr::from_bits(network.to_bits() | 1)),
        free: u32::try_from(subnet.available_ip_address_count).unwrap_or(u32::MAX),
    })
}

/// An instance. A state that is not known is one in which the machine exists.
pub(crate) fn instance(instance: api::Instance) -> model::Instance {
    let state = match instance.instance_state.as_str() {
        "STOPPED" => InstanceState::Stopped,
        "LAUNCH_FAILED" | "SHUTDOWN" | "TERMINATING" => InstanceState::Terminated,
        _ => InstanceState::Running,
    };
    model::Instance {
        id: InstanceId::from(instance.instance_id),
        zone: Zone::from(instance.placement.zone),
        vpc: VpcId::from(instance.virtual_private_cloud.vpc_id),
        state,
    }
}

/// The limits of an instance, which count the primary ENI and each ENI's primary address.
pub(crate) fn limits(limit: &api::NetworkInterfaceLimit) -> Result<Limits, String> {
    let read = |what: &str, number: i64| {
        u32::try_from(number).map_err(|_| format!("the limit of {what} is {number}"))
    };
    Ok(Limits {
        enis: read("ENIs", limit.eni_quantity)?,
        addresses_per_eni: read("addresses", limit.eni_private_ip_address_quantity)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<model::Eni, String> {
        eni(serde_json::from_value(value).expect("an object of the API"))
    }

    fn example(state: &str, attachment: serde_json::Value) -> serde_json::Value {
        json!({
            "NetworkInterfaceId": "eni-1a2b3c4d", "NetworkInterfaceName": "one", "SubnetId": "subnet-1",
            "VpcId": "vpc-1", "Zone": "ap-guangzhou-3", "MacAddress": "20:90:6F:2A:11:3D", "State": state,
            "Primary": false, "EniType": 1, "Attachment": attachment, "Ipv6AddressSet": null, "CdcId": null,
            "PrivateIpAddressSet": [
                {"PrivateIpAddress": "10.0.0.5", "Primary": true, "State": "AVAILABLE", "Description": ""},
                {"PrivateIpAddress": "10.0.0.6", "Primary": false, "State": "PENDING"},
                {"PrivateIpAddress": "10.0.0.7", "State": "DELETING"},
            ],
            "GroupSet": ["sg-1"], "TagSet": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": null}],
        })
    }

    #[test]
    fn an_eni_is_in_use_when_it_is_available_and_attached() {
        let on = json!({"InstanceId": "ins-1", "DeviceIndex": 1});
        let states = [
            ("PENDING", json!(null), EniState::Pending),
            ("AVAILABLE", json!(null), EniState::Available),
            ("AVAILABLE", json!({"InstanceId": ""}), EniState::Available),
            ("AVAILABLE", on.clone(), EniState::InUse),
            ("ATTACHING", on.clone(), EniState::Attaching),
            ("DETACHING", on, EniState::Detaching),
            ("DELETING", json!(null), EniState::Deleting),
        ];
        for (state, attachment, expected) in states {
            assert_eq!(
                read(example(state, attachment)).unwrap().state,
                expected,
                "{state}"
            );
        }
    }

    #[test]
    fn an_eni_is_read_whole() {
        let eni = read(example("AVAILABLE", json!({"InstanceId": "ins-1"}))).unwrap();
        assert_eq!(eni.kind, EniKind::Secondary);
        assert_eq!(eni.mac, Mac([0x20, 0x90, 0x6f, 0x2a, 0x11, 0x3d]));
        assert_eq!(eni.instance, Some(InstanceId::from("ins-1")));
        assert_eq!(eni.primary_address(), Some("10.0.0.5".parse().unwrap()));
        let ready: Vec<_> = eni.addresses.iter().map(|address| address.ready).collect();
        assert_eq!(ready, [true, false, false]);
        assert_eq!(eni.tags["a"], "b");
        assert_eq!(eni.tags["c"], "");
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_the_eni() {
        let mut address = example("AVAILABLE", json!(null));
        address["PrivateIpAddressSet"][1]["PrivateIpAddress"] = json!("10.0.0.256");
        let mut mac = example("AVAILABLE", json!(null));
        mac["MacAddress"] = json!(null);
        for value in [example("FROZEN", json!(null)), address, mac] {
            assert!(read(value).unwrap_err().contains("eni-1a2b3c4d"));
        }
    }

    #[test]
    fn the_gateway_is_the_first_address() {
        let subnet = subnet(api::Subnet {
            subnet_id: "subnet-1".into(),
            vpc_id: "vpc-1".into(),
            zone: "z".into(),
            cidr_block: "10.0.4.0/22".into(),
            available_ip_address_count: u64::MAX,
        })
        .unwrap();
        assert_eq!(subnet.gateway.to_string(), "10.0.4.1");
        assert_eq!(subnet.free, u32::MAX);
    }
}
