//! Instances and what they can carry.

use std::collections::BTreeMap;

use eni_core::{
    cloud::Cloud,
    model::{Eni, EniId, EniKind, Instance, InstanceId, InstanceState, Limits},
};
use serde_json::{Value, json};

use super::{Answer, members, refusal};
use crate::simulator::{
    catalogue,
    desk::Desk,
    listing::{Filters, page},
    parameters::Parameters,
    refusal::refuse,
};

impl Desk {
    /// Instances that do not exist are left out, as CVM does.
    pub(super) async fn describe_instances(&self, p: &Parameters<'_>) -> Answer {
        let known = [
            "zone",
            "project-id",
            "vpc-id",
            "subnet-id",
            "instance-id",
            "instance-name",
            "instance-state",
            "private-ip-address",
            "instance-type",
        ];
        let filters = Filters::of(p, &known)?;
        let ids = p.texts("InstanceIds");
        let mut found = self.cloud.all_instances();
        found.retain(|(instance, _)| ids.is_empty() || ids.contains(&instance.id.as_str()));
        found.retain(|(instance, limits)| {
            filters.pass(&BTreeMap::new(), |name| match name {
                "zone" => vec![instance.zone.to_string()],
                "vpc-id" => vec![instance.vpc.to_string()],
                "subnet-id" => self
                    .primary(instance)
                    .iter()
                    .map(|eni| eni.subnet.to_string())
                    .collect(),
                "instance-id" | "instance-name" => vec![instance.id.to_string()],
                "instance-state" => vec![state(instance.state).to_owned()],
                "instance-type" => vec![catalogue::fitting(*limits).name.to_owned()],
                "private-ip-address" => self.primary(instance).iter().filter_map(address).collect(),
                _ => vec!["0".to_owned()],
            })
        });
        // The call goes through the cloud as every other does, with its time and its faults.
        let named: Vec<InstanceId> = found.iter().map(|(instance, _)| instance.id.clone()).collect();
        self.cloud
            .instances(&named)
            .await
            .map_err(|error| refusal(p.action, error))?;
        let (total, shown) = page(p, found)?;
        let shown: Vec<Value> = shown
            .iter()
            .map(|(instance, limits)| self.render_instance(instance, *limits))
            .collect();
        members(json!({"InstanceSet": shown, "TotalCount": total}))
    }

    fn primary(&self, instance: &Instance) -> Option<Eni> {
        let enis = self.cloud.enis_of(&instance.id);
        enis.into_iter().find(|eni| eni.kind == EniKind::Primary)
    }

    fn render_instance(&self, instance: &Instance, limits: Limits) -> Value {
        let primary = self.primary(instance);
        let addresses: Vec<String> = primary.iter().filter_map(address).collect();
        let size = catalogue::fitting(limits);
        json!({
            "Placement": {"Zone": instance.zone.as_str(), "ProjectId": 0},
            "InstanceId": instance.id.as_str(),
            "InstanceName": instance.id.as_str(),
            "InstanceType": size.name,
            "CPU": size.cores,
            "Memory": size.memory,
            "RestrictState": "NORMAL",
            "InstanceState": state(instance.state),
            "InstanceChargeType": "POSTPAID_BY_HOUR",
            "PrivateIpAddresses": addresses,
            "PublicIpAddresses": null,
            "VirtualPrivateCloud": {
                "VpcId": instance.vpc.as_str(),
                "SubnetId": primary.as_ref().map_or("", |eni| eni.subnet.as_str()),
                "AsVpcGateway": false,
            },
            "SecurityGroupIds": primary.iter().flat_map(|eni| &eni.security_groups).map(|group| group.as_str()).collect::<Vec<_>>(),
            "Tags": [],
            "CreatedTime": "2026-01-01T00:00:00Z",
            "Uuid": "",
        })
    }

    /// The quota of an instance, which may also be named by one of its ENIs.
    pub(super) fn describe_limit(&self, p: &Parameters<'_>) -> Answer {
        let id = p.text("InstanceId")?;
        let instance = match id.starts_with("eni-") {
            true => self.cloud.eni(&EniId::from(id)).and_then(|eni| eni.instance),
            false => Some(InstanceId::from(id)),
        };
        let found = instance.and_then(|id| self.cloud.instance(&id));
        let Some((_, limits)) = found.filter(|(instance, _)| instance.state != InstanceState::Terminated)
        else {
            return refuse!(
                p.action.code(&["InvalidInstanceId.NotFound", "ResourceNotFound"]),
                "`{id}` does not exist."
            );
        };
        members(json!({
            "EniQuantity": limits.enis,
            "EniPrivateIpAddressQuantity": limits.addresses_per_eni,
            "ExtendEniQuantity": 0,
            "ExtendEniPrivateIpAddressQuantity": 0,
            "SubEniQuantity": 0,
            "SubEniPrivateIpAddressQuantity": 0,
        }))
    }
}

fn address(eni: &Eni) -> Option<String> {
    eni.primary_address().map(|ip| ip.to_string())
}

fn state(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Running => "RUNNING",
        InstanceState::Stopped => "STOPPED",
        InstanceState::Terminated => "TERMINATING",
    }
}
