//! Security groups, as far as ENIs have them.

use std::collections::BTreeMap;

use eni_core::model::{Eni, EniId, EniKind, SecurityGroupId};
use serde_json::{Value, json};

use super::{Answer, members};
use crate::simulator::{
    desk::Desk,
    listing::{Filters, by_ids, page},
    parameters::Parameters,
    refusal::{Verdict, refuse},
};

impl Desk {
    /// The groups that a request names, all of which must exist.
    pub(super) fn groups(&self, p: &Parameters<'_>) -> Verdict<Vec<SecurityGroupId>> {
        let known = &self.settings.security_groups;
        let find = |id: &str| known.iter().find(|group| *group == id).map(SecurityGroupId::from);
        by_ids(p, &p.texts("SecurityGroupIds"), find)
    }

    pub(super) fn associate_groups(&self, p: &Parameters<'_>) -> Answer {
        let added = self.groups(p)?;
        self.change_groups(p, |groups| {
            groups.extend(
                added
                    .iter()
                    .filter(|group| !groups.contains(group))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
        })
    }

    pub(super) fn disassociate_groups(&self, p: &Parameters<'_>) -> Answer {
        let removed = self.groups(p)?;
        self.change_groups(p, |groups| groups.retain(|group| !removed.contains(group)))
    }

    fn change_groups(&self, p: &Parameters<'_>, change: impl Fn(&mut Vec<SecurityGroupId>)) -> Answer {
        let mut enis: Vec<Eni> = by_ids(p, &p.texts("NetworkInterfaceIds"), |id| {
            self.cloud.eni(&EniId::from(id))
        })?;
        if let Some(primary) = enis.iter().find(|eni| eni.kind == EniKind::Primary) {
            return refuse!(
                "UnsupportedOperation",
                "`{}` is a primary network interface.",
                primary.id
            );
        }
        for eni in &mut enis {
            change(&mut eni.security_groups);
            self.cloud
                .set_security_groups(&eni.id, eni.security_groups.clone());
        }
        members(json!({}))
    }

    pub(super) fn describe_groups(&self, p: &Parameters<'_>) -> Answer {
        let filters = Filters::of(p, &["security-group-id", "security-group-name", "project-id"])?;
        let known = &self.settings.security_groups;
        let ids = p.texts("SecurityGroupIds");
        let mut found: Vec<&String> = match ids.is_empty() {
            true => known.iter().collect(),
            false => by_ids(p, &ids, |id| known.iter().find(|group| *group == id))?,
        };
        found.retain(|id| {
            filters.pass(&BTreeMap::new(), |name| match name {
                "project-id" => vec!["0".to_owned()],
                _ => vec![(*id).clone()],
            })
        });
        let (total, shown) = page(p, found)?;
        let show = |id: &String| {
            json!({
                "SecurityGroupId": id,
                "SecurityGroupName": id,
                "SecurityGroupDesc": "",
                "ProjectId": "0",
                "IsDefault": id == "sg-default",
                "CreatedTime": self.settings.since,
                "TagSet": [],
                "UpdateTime": self.settings.since,
            })
        };
        let shown: Vec<Value> = shown.into_iter().map(show).collect();
        members(json!({"SecurityGroupSet": shown, "TotalCount": total}))
    }
}
