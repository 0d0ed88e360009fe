//! Elastic public addresses.

use eni_core::model::{EniId, EniKind, InstanceId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answer, members};
use crate::simulator::{
    desk::Desk,
    eips::{Binding, DAILY, Eip, QUOTA, Status},
    listing::{Filters, page},
    parameters::Parameters,
    refusal::{Refusal, Verdict, refuse},
    render::tags,
};

/// The filters of DescribeAddresses (API documentation), tags apart.
const FILTERS: &[&str] = &[
    "address-id",
    "address-name",
    "address-ip",
    "address-status",
    "instance-id",
    "private-ip-address",
    "network-interface-id",
    "is-arrears",
];

impl Desk {
    pub(super) fn allocate_eips(&self, p: &Parameters<'_>) -> Answer {
        let count = p
            .members
            .get("AddressCount")
            .map_or(Some(1), Value::as_u64)
            .unwrap_or(0) as usize;
        if !(1..=QUOTA).contains(&count) {
            return refuse!("InvalidParameterValue.Range", "`AddressCount` is out of range.");
        }
        let bandwidth = p.number("InternetMaxBandwidthOut").unwrap_or(1);
        let created = self.environment.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let name = p.optional("AddressName").unwrap_or_default();
        let mut eips = self.eips();
        if eips.allocated() + count > DAILY {
            return refuse!(
                "AddressQuotaLimitExceeded.DailyAllocate",
                "{DAILY} addresses were applied for today."
            );
        }
        if eips.all().count() + count > QUOTA {
            return refuse!(
                "AddressQuotaLimitExceeded",
                "The account has {QUOTA} addresses, its quota."
            );
        }
        let about = Eip::asked(name, bandwidth, p.pairs("Tags", "Key", "Value"), created);
        let ids: Vec<String> = (0..count).map(|_| eips.allocate(about.clone())).collect();
        let task = eips.begin(
            &ids,
            Status::Creating,
            None,
            Instant::now(),
            self.settings.eip_orders,
        );
        members(json!({"AddressSet": ids, "TaskId": task.to_string()}))
    }

    pub(super) fn associate_eip(&self, p: &Parameters<'_>) -> Answer {
        let binding = self.binding(p)?;
        let mut eips = self.eips();
        let eip = idle(p, eips.get(p.text("AddressId")?))?;
        if eip.status != Status::Unbound {
            return refuse!(
                "UnsupportedOperation.AddressStatusNotPermit",
                "`{}` is {}.",
                eip.id,
                eip.status.name()
            );
        }
        let taken = |other: &Eip| {
            other
                .binding
                .as_ref()
                .is_some_and(|held| (&held.eni, held.private) == (&binding.eni, binding.private))
        };
        if let Some(other) = eips.all().find(|other| taken(other)) {
            let code = match p.optional("InstanceId") {
                Some(_) => "InvalidInstanceId.AlreadyBindEip",
                None => "InvalidPrivateIpAddress.AlreadyBindEip",
            };
            return refuse!(code, "{} has `{}`.", binding.private, other.id);
        }
        let id = eip.id.clone();
        let task = eips.begin(
            &[id],
            Status::Binding,
            Some(&binding),
            Instant::now(),
            self.settings.eip_orders,
        );
        members(json!({"TaskId": task.to_string()}))
    }

    /// What a request wants an address to be bound to: an instance, or an address of an ENI.
    fn binding(&self, p: &Parameters<'_>) -> Verdict<Binding> {
        let (eni, private) = match (
            p.optional("InstanceId"),
            p.optional("NetworkInterfaceId"),
            p.optional("PrivateIpAddress"),
        ) {
            (Some(id), None, None) => {
                let enis = self.cloud.enis_of(&InstanceId::from(id));
                let primary = enis.into_iter().find(|eni| eni.kind == EniKind::Primary);
                let found = primary.and_then(|eni| Some((eni.primary_address()?, eni)));
                let (ip, eni) = found.ok_or_else(|| {
                    Refusal::new("InvalidInstanceId.NotFound", format!("`{id}` does not exist."))
                })?;
                (eni, ip)
            }
            (None, Some(id), Some(ip)) => {
                let eni = self.cloud.eni(&EniId::from(id));
                let eni = eni.ok_or_else(|| {
                    Refusal::new(
                        "InvalidNetworkInterfaceId.NotFound",
                        format!("`{id}` does not exist."),
                    )
                })?;
                let held = eni.addresses.iter().find(|address| address.ip.to_string() == ip);
                let Some(ip) = held.map(|address| address.ip) else {
                    return refuse!(
                        "InvalidParameterValue.PrivateIpAddressNotMatch",
                        "{ip} is not on `{id}`."
                    );
                };
                (eni, ip)
            }
            (None, None, None) => {
                return refuse!(
                    "InvalidParameterValue.MissingAssociateEntity",
                    "There is nothing to bind to."
                );
            }
            (Some(_), ..) => {
                return refuse!(
                    "InvalidParameterConflict",
                    "It is an instance or a network interface."
                );
            }
            _ => {
                return refuse!(
                    "InvalidParameterValue.Combination",
                    "`NetworkInterfaceId` and `PrivateIpAddress` go together."
                );
            }
        };
        Ok(Binding {
            eni: eni.id,
            instance: eni.instance,
            private,
        })
    }

    pub(super) fn disassociate_eip(&self, p: &Parameters<'_>) -> Answer {
        let mut eips = self.eips();
        let eip = idle(p, eips.get(p.text("AddressId")?))?;
        if !matches!(eip.status, Status::Bound | Status::BoundToEni) {
            return refuse!(
                "InvalidAddressIdStatus.NotPermit",
                "`{}` is {}.",
                eip.id,
                eip.status.name()
            );
        }
        let id = eip.id.clone();
        let task = eips.begin(
            &[id],
            Status::Unbinding,
            None,
            Instant::now(),
            self.settings.eip_orders,
        );
        members(json!({"TaskId": task.to_string()}))
    }

    pub(super) fn release_eips(&self, p: &Parameters<'_>) -> Answer {
        let mut eips = self.eips();
        let mut ids = Vec::new();
        for id in p.texts("AddressIds") {
            let eip = idle(p, eips.get(id))?;
            if eip.status != Status::Unbound {
                return refuse!(
                    "UnsupportedOperation.AddressStatusNotPermit",
                    "`{id}` is {}.",
                    eip.status.name()
                );
            }
            ids.push(id.to_owned());
        }
        let task = eips.begin(
            &ids,
            Status::Offlining,
            None,
            Instant::now(),
            self.settings.eip_orders,
        );
        members(json!({"TaskId": task.to_string()}))
    }

    pub(super) fn describe_eips(&self, p: &Parameters<'_>) -> Answer {
        let filters = Filters::of(p, FILTERS)?;
        let eips = self.eips();
        let ids = p.texts("AddressIds");
        let mut found: Vec<&Eip> = match ids.is_empty() {
            true => eips.all().collect(),
            // This listing leaves out what does not exist.
            false => ids.iter().filter_map(|id| eips.get(id)).collect(),
        };
        found.retain(|eip| {
            let bound = eip.binding.as_ref();
            filters.pass(&eip.tags, |name| match name {
                "address-id" => vec![eip.id.clone()],
                "address-name" => vec![eip.name.clone()],
                "address-ip" => vec![eip.ip.to_string()],
                "address-status" => vec![eip.status.name().to_owned()],
                "instance-id" => bound
                    .and_then(|on| on.instance.as_ref())
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                "private-ip-address" => bound.iter().map(|on| on.private.to_string()).collect(),
                "network-interface-id" => bound.iter().map(|on| on.eni.to_string()).collect(),
                _ => vec!["FALSE".to_owned(), "false".to_owned()],
            })
        });
        let (total, shown) = page(p, found)?;
        let shown: Vec<Value> = shown.into_iter().map(show).collect();
        members(json!({"AddressSet": shown, "TotalCount": total}))
    }

    pub(super) fn modify_eip(&self, p: &Parameters<'_>) -> Answer {
        let mut eips = self.eips();
        let id = idle(p, eips.get(p.text("AddressId")?))?.id.clone();
        if let Some(name) = p.optional("AddressName") {
            eips.rename(&id, name);
        }
        members(json!({}))
    }

    pub(super) fn describe_eip_quota(&self) -> Answer {
        let eips = self.eips();
        let row = |name: &str, current: usize, limit: usize| json!({"QuotaId": name, "QuotaCurrent": current, "QuotaLimit": limit});
        let rows = [
            row("TOTAL_EIP_QUOTA", eips.all().count(), QUOTA),
            row("DAILY_EIP_APPLY", eips.allocated(), DAILY),
        ];
        members(json!({"QuotaSet": rows}))
    }

    pub(super) fn describe_eip_task(&self, p: &Parameters<'_>) -> Answer {
        let task = p.number("TaskId").ok_or_else(|| Refusal::missing("TaskId"))?;
        match self.eips().is_over(task, Instant::now()) {
            Some(over) => {
                members(json!({"TaskId": task, "Result": if over { "SUCCESS" } else { "RUNNING" }}))
            }
            None => refuse!("InvalidParameter", "The task {task} does not exist."),
        }
    }
}

/// The address, if it is there and nothing is under way on it.
fn idle<'a>(p: &Parameters<'_>, eip: Option<&'a Eip>) -> Verdict<&'a Eip> {
    let Some(eip) = eip else {
        return refuse!(
            p.action.code(&["InvalidAddressId.NotFound"]),
            "There is no such address."
        );
    };
    match eip.is_idle() {
        true => Ok(eip),
        false => refuse!(
            p.action.code(&["OperationDenied.MutexTaskRunning"]),
            "A task on `{}` is running.",
            eip.id
        ),
    }
}

fn show(eip: &Eip) -> Value {
    let bound = eip.binding.as_ref();
    json!({
        "AddressId": eip.id,
        "AddressName": eip.name,
        "AddressStatus": eip.status.name(),
        "AddressIp": eip.ip.to_string(),
        "InstanceId": bound.and_then(|on| on.instance.as_ref()).map_or("", |id| id.as_str()),
        "NetworkInterfaceId": bound.map_or("", |on| on.eni.as_str()),
        "PrivateAddressIp": bound.map(|on| on.private.to_string()).unwrap_or_default(),
        "CreatedTime": eip.created,
        "IsArrears": false,
        "IsBlocked": false,
        "IsEipDirectConnection": false,
        "AddressType": "EIP",
        "CascadeRelease": false,
        "InternetServiceProvider": "BGP",
        "Bandwidth": eip.bandwidth,
        "InternetChargeType": "TRAFFIC_POSTPAID_BY_HOUR",
        "TagSet": tags(&eip.tags),
    })
}
