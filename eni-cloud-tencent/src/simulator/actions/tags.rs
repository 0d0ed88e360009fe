//! The tag service, for ENIs.

use eni_core::model::{Eni, EniId};
use serde_json::{Value, json};

use super::{Answer, members};
use crate::simulator::{
    desk::{Desk, OWNER},
    parameters::Parameters,
};

impl Desk {
    pub(super) fn tag(&self, p: &Parameters<'_>) -> Answer {
        let added = p.pairs("Tags", "TagKey", "TagValue");
        self.retag(p, |eni| eni.tags.extend(added.clone()))
    }

    pub(super) fn untag(&self, p: &Parameters<'_>) -> Answer {
        let removed = p.texts("TagKeys");
        self.retag(p, |eni| {
            eni.tags.retain(|key, _| !removed.contains(&key.as_str()))
        })
    }

    /// Changes the tags of what a request lists; what is no ENI of this cloud is reported as failed.
    fn retag(&self, p: &Parameters<'_>, change: impl Fn(&mut Eni)) -> Answer {
        let mut failed = Vec::new();
        for resource in p.texts("ResourceList") {
            let id = resource.rsplit_once(":eni/").map(|(_, id)| EniId::from(id));
            match id.and_then(|id| self.cloud.eni(&id)) {
                Some(mut eni) => {
                    change(&mut eni);
                    self.cloud.set_tags(&eni.id, eni.tags);
                }
                None => failed.push(json!({
                    "Resource": resource,
                    "Code": "InvalidParameterValue.ResourceDescriptionError",
                    "Message": "There is no such resource.",
                })),
            }
        }
        members(json!({"FailedResources": failed}))
    }

    pub(super) fn get_resources(&self, p: &Parameters<'_>) -> Answer {
        let named = p.texts("ResourceList");
        let filters: Vec<(&str, Vec<&str>)> = p
            .list("TagFilters")
            .filter_map(|filter| {
                let values = filter
                    .get("TagValue")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                Some((
                    filter.get("TagKey")?.as_str()?,
                    values.filter_map(Value::as_str).collect(),
                ))
            })
            .collect();
        let passes = |eni: &Eni| {
            filters.iter().all(|(key, values)| {
                let value = eni.tags.get(*key);
                value.is_some_and(|value| values.is_empty() || values.contains(&value.as_str()))
            })
        };
        let enis = self.cloud.all_enis();
        let mapped: Vec<Value> = enis
            .iter()
            .filter(|eni| passes(eni))
            .map(|eni| (self.resource(eni), eni))
            .filter(|(resource, _)| named.is_empty() || named.contains(&resource.as_str()))
            .map(|(resource, eni)| {
                let tags = eni
                    .tags
                    .iter()
                    .map(|(key, value)| json!({"TagKey": key, "TagValue": value}));
                json!({"Resource": resource, "Tags": tags.collect::<Vec<_>>()})
            })
            .collect();
        members(json!({"PaginationToken": "", "ResourceTagMappingList": mapped}))
    }

    /// The name of an ENI among all resources of all products.
    fn resource(&self, eni: &Eni) -> String {
        format!("qcs::vpc:{}:uin/{OWNER}:eni/{}", self.settings.region, eni.id)
    }
}
