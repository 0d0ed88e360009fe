//! Listings of ENIs.

use eni_core::{
    cloud::{Cloud, EniFilter},
    model::{Eni, EniKind, InstanceId},
};
use serde_json::{Value, json};

use super::{Answer, members, refusal};
use crate::simulator::{
    desk::Desk,
    listing::{Filters, by_ids, page},
    parameters::Parameters,
};

/// The filters of DescribeNetworkInterfaces (API documentation), tags apart.
const FILTERS: &[&str] = &[
    "vpc-id",
    "subnet-id",
    "network-interface-id",
    "attachment.instance-id",
    "groups.security-group-id",
    "network-interface-name",
    "network-interface-description",
    "address-ip",
    "address-ipv6",
    "ip-exact-match",
    "is-primary",
    "eni-type",
];

impl Desk {
    pub(super) async fn describe_enis(&self, p: &Parameters<'_>) -> Answer {
        let ids = p.texts("NetworkInterfaceIds");
        let filters = Filters::of(p, FILTERS)?;
        let ask = match (ids.as_slice(), filters.values("attachment.instance-id")) {
            ([], Some([instance])) => EniFilter::Instance(InstanceId::from(instance)),
            ([], _) => EniFilter::Tags(Default::default()),
            (ids, _) => EniFilter::Ids(ids.iter().copied().map(Into::into).collect()),
        };
        let listed = self
            .cloud
            .enis(&ask)
            .await
            .map_err(|error| refusal(p.action, error))?;
        let found = match ids.is_empty() {
            true => listed
                .into_iter()
                .filter(|eni| self.passes(&filters, eni))
                .collect(),
            false => by_ids(p, &ids, |id| {
                listed.iter().find(|eni| eni.id.as_str() == id).cloned()
            })?,
        };
        let (total, shown) = page(p, found)?;
        let shown: Vec<Value> = shown.iter().map(|eni| self.render(eni)).collect();
        members(json!({"NetworkInterfaceSet": shown, "TotalCount": total}))
    }

    fn passes(&self, filters: &Filters<'_>, eni: &Eni) -> bool {
        let description = || {
            let notes = self.notes.lock();
            notes
                .get(&eni.id)
                .map(|notes| notes.description.clone())
                .unwrap_or_default()
        };
        filters.pass(&eni.tags, |name| match name {
            "vpc-id" => vec![self.cloud.vpc().to_string()],
            "subnet-id" => vec![eni.subnet.to_string()],
            "network-interface-id" => vec![eni.id.to_string()],
            "attachment.instance-id" => eni.instance.iter().map(ToString::to_string).collect(),
            "groups.security-group-id" => eni.security_groups.iter().map(ToString::to_string).collect(),
            "network-interface-name" => vec![eni.name.clone()],
            "network-interface-description" => vec![description()],
            "address-ip" | "address-ipv6" => addresses(filters, name, eni),
            "is-primary" => {
                let primary = eni.kind == EniKind::Primary;
                vec![primary.to_string(), primary.to_string().to_uppercase()]
            }
            "eni-type" => vec![u8::from(eni.kind == EniKind::Primary).to_string()],
            // It only says how `address-ip` is meant.
            _ => filters
                .values(name)
                .into_iter()
                .flatten()
                .map(ToString::to_string)
                .collect(),
        })
    }
}

/// An ENI's addresses, as a filter sees them. A single address is the end of one unless `ip-exact-match`
/// says otherwise: "1.2" finds 10.0.1.2.
fn addresses(filters: &Filters<'_>, name: &str, eni: &Eni) -> Vec<String> {
    let exact = filters.values("ip-exact-match").is_some();
    let own = eni.addresses.iter().map(|address| address.ip.to_string());
    match filters.values(name) {
        Some([end]) if !exact => own
            .filter(|ip| ip.ends_with(end))
            .map(|_| (*end).to_owned())
            .collect(),
        _ => own.collect(),
    }
}
