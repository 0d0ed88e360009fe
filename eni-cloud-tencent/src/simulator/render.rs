//! Shows ENIs as the API does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use eni_core::{
    model::{Eni, EniAddress, EniKind, EniState},
    sim::UnderWay,
};
use serde_json::{Value, json};

use super::desk::{Desk, Notes, OWNER};

impl Desk {
    /// An ENI as listings show it.
    pub(super) fn render(&self, eni: &Eni) -> Value {
        let notes = self.notes.lock().get(&eni.id).cloned().unwrap_or_default();
        let order = self.cloud.under_way(&eni.id);
        let public: BTreeMap<IpAddr, (String, Ipv4Addr)> = self
            .eips()
            .all()
            .filter_map(|eip| {
                let binding = eip.binding.as_ref().filter(|binding| binding.eni == eni.id)?;
                Some((binding.private, (eip.id.clone(), eip.ip)))
            })
            .collect();
        let addresses = |v4: bool| -> Vec<Value> {
            let of_family = eni.addresses.iter().filter(|address| address.ip.is_ipv4() == v4);
            of_family
                .map(|address| {
                    let mut shown = self.address(address, &notes, order.as_ref());
                    if let Some((id, ip)) = public.get(&address.ip) {
                        shown["AddressId"] = json!(id);
                        shown["PublicIpAddress"] = json!(ip.to_string());
                    }
                    shown
                })
                .collect()
        };
        json!({
            "NetworkInterfaceId": eni.id.as_str(),
            "NetworkInterfaceName": eni.name,
            "NetworkInterfaceDescription": notes.description,
            "SubnetId": eni.subnet.as_str(),
            "VpcId": self.cloud.vpc().as_str(),
            "GroupSet": eni.security_groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
            "Primary": eni.kind == EniKind::Primary,
            "MacAddress": eni.mac.to_string().to_uppercase(),
            "State": state(eni.state),
            "NetworkInterfaceState": if eni.state == EniState::InUse { "INUSE" } else { state(eni.state) },
            "PrivateIpAddressSet": addresses(true),
            "Ipv6AddressSet": addresses(false),
            "Attachment": eni.instance.as_ref().map(|instance| json!({
                "InstanceId": instance.as_str(),
                "DeviceIndex": notes.device,
                "InstanceAccountId": OWNER,
                "AttachTime": notes.attached,
            })),
            "Zone": eni.zone.as_str(),
            "CreatedTime": notes.created,
            "TagSet": tags(&eni.tags),
            "EniType": u8::from(eni.kind == EniKind::Primary),
            "Business": "cvm",
            "CdcId": "",
            "AttachType": 0,
            "ResourceId": "",
            "QosLevel": "DEFAULT",
        })
    }

    /// An ENI as the answer to its creation shows it: before zone and time are known.
    pub(super) fn render_new(&self, eni: &Eni) -> Value {
        let mut value = self.render(eni);
        for name in ["Zone", "CreatedTime"] {
            value[name] = json!("");
        }
        value
    }

    fn address(&self, address: &EniAddress, notes: &Notes, order: Option<&UnderWay>) -> Value {
        let ip = address.ip;
        let leaving = order.is_some_and(|order| order.leaving.contains(&ip));
        let migrating = order.is_some_and(|order| order.migrating == Some(ip));
        let state = match address.ready {
            _ if migrating => "MIGRATING",
            _ if leaving => "DELETING",
            true => "AVAILABLE",
            false => "PENDING",
        };
        let description = notes.addresses.get(&ip).map_or("", String::as_str);
        address_value(ip, address.primary, state, description)
    }
}

/// An address as it is shown at once when it was assigned.
pub(super) fn pending(ip: IpAddr, primary: bool, description: &str) -> Value {
    address_value(ip, primary, "PENDING", description)
}

fn address_value(ip: IpAddr, primary: bool, state: &str, description: &str) -> Value {
    let name = if ip.is_ipv4() {
        "PrivateIpAddress"
    } else {
        "Address"
    };
    let mut value = json!({
        name: ip.to_string(),
        "Primary": primary,
        "AddressId": "",
        "Description": description,
        "IsWanIpBlocked": false,
        "State": state,
    });
    if ip.is_ipv4() {
        value["PublicIpAddress"] = json!("");
        value["QosLevel"] = json!("DEFAULT");
    }
    value
}

/// Tags as every product but the tag service shows them.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter()
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect()
}

/// An attached ENI is as available as a free one; only `NetworkInterfaceState` tells them apart.
fn state(state: EniState) -> &'static str {
    match state {
        EniState::Pending => "PENDING",
        EniState::Available | EniState::InUse => "AVAILABLE",
        EniState::Attaching => "ATTACHING",
        EniState::Detaching => "DETACHING",
        EniState::Deleting => "DELETING",
    }
}
