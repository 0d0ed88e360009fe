//! What an instance can carry, and what somebody else has put on it.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Inventory;
use crate::{
    cloud::{Cloud, CloudResult, EniFilter, Lane},
    model::{EniId, EniKind, InstanceId, Limits},
};

/// What an instance can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::controller) struct Capacity {
    /// What the cloud declares; kept in the node's object, so that it is asked for once.
    pub(in crate::controller) declared: Limits,
    /// What is left for us: slots that others' ENIs take are not.
    pub(in crate::controller) usable: Limits,
}

/// What is known of an instance's capacity beyond the node's object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Finding {
    /// As the cloud declared it, until the node's object says the same.
    declared: Option<Limits>,
    /// The cloud refused what should have fitted: everything is to be read again.
    suspect: bool,
    /// Others' ENIs on it, and when they were counted.
    foreign: Option<(u32, Instant)>,
}

impl Inventory {
    /// What an instance can carry. The cloud is asked only if `persisted` is nothing, or after a refusal.
    pub(in crate::controller) async fn capacity(
        &self,
        instance: &InstanceId,
        persisted: Option<Limits>,
        ours: &BTreeSet<EniId>,
    ) -> CloudResult<Capacity> {
        let now = Instant::now();
        let finding = self.finding(instance, now);
        let declared = match finding.declared.or(persisted) {
            Some(limits) if !finding.suspect => limits,
            _ => self.on(Lane::Growth).limits(instance).await?,
        };
        let foreign = match finding.foreign {
            _ if finding.suspect => Some((self.foreign(instance, ours).await?, now)),
            foreign => foreign,
        };
        let finding = Finding {
            declared: Some(declared),
            suspect: false,
            foreign: foreign.filter(|(count, _)| *count > 0),
        };
        let findings = &mut self.state.lock().findings;
        if finding.declared == persisted && finding.foreign.is_none() {
            findings.remove(instance);
        } else {
            findings.insert(instance.clone(), finding);
        }
        let others = foreign.map_or(0, |(count, _)| count);
        let usable = Limits {
            enis: declared.enis.saturating_sub(others),
            ..declared
        };
        Ok(Capacity { declared, usable })
    }

    /// Others' ENIs are believed to be there for one interval of audits: whether they went is found out by
    /// one more refusal at most.
    fn finding(&self, instance: &InstanceId, now: Instant) -> Finding {
        let mut finding = self
            .state
            .lock()
            .findings
            .get(instance)
            .copied()
            .unwrap_or_default();
        let believed = |(_, counted): &(u32, Instant)| *counted + self.audit_interval > now;
        finding.foreign = finding.foreign.filter(believed);
        finding
    }

    /// Secondary ENIs on an instance that are not ours.
    async fn foreign(&self, instance: &InstanceId, ours: &BTreeSet<EniId>) -> CloudResult<u32> {
        let listed = self
            .on(Lane::Growth)
            .enis(&EniFilter::Instance(instance.clone()))
            .await?;
        let foreign = listed
            .iter()
            .filter(|eni| eni.kind == EniKind::Secondary && !ours.contains(&eni.id));
        let count = u32::try_from(foreign.count()).unwrap_or(u32::MAX);
        if count > 0 {
            tracing::warn!(%instance, count, "ENIs of somebody else take slots of the instance");
        }
        Ok(count)
    }

    /// The cloud refused an order for want of room on an instance.
    pub(in crate::controller) fn suspect(&self, instance: &InstanceId) {
        self.state
            .lock()
            .findings
            .entry(instance.clone())
            .or_default()
            .suspect = true;
    }
}
