//! Which ENIs in the cloud are ours and belong to nothing any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Eni, EniId, EniKind, EniRecord, EniState, InstanceId, NodeName};

/// For how long we must have seen an ENI unattached and without a record, by our own clock, before it counts
/// as leaked. It covers the longest time between the creation of an ENI and its attachment.
pub const LEAK_AGE: Duration = Duration::from_secs(600);
/// Leaked ENIs that one round may delete. A mistake shows before it is large, and rounds come with the
/// audits.
pub const LEAKS_PER_ROUND: usize = 10;

/// Suspicions against ENIs, kept from one complete listing to the next.
#[derive(Debug, Default)]
pub struct Leaks {
    /// The first and the last of the listings in a row that showed it unattached and without a record.
    suspects: BTreeMap<EniId, (Instant, Instant)>,
}

/// What one complete listing leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Attached to an instance that is a node's: each gets a record, for a pod may use it.
    pub adopt: Vec<(Eni, NodeName)>,
    /// Attached to an instance that is no node's: left alone, and told.
    pub astray: Vec<(EniId, InstanceId)>,
    /// Leaked, unless a reading of it alone says otherwise right before it is deleted.
    pub condemned: Vec<EniId>,
}

impl Leaks {
    /// Judges what a complete listing of ENIs with our tags showed that began at `begun`.
    ///
    /// `records` are all of our records, read after that listing: a record is older than its ENI, so an ENI
    /// that was listed and has no record now never gets one. `hosts` are the instances that are nodes.
    pub fn judge(
        &mut self,
        begun: Instant,
        listed: &[Eni],
        records: &[EniRecord],
        hosts: &BTreeMap<InstanceId, NodeName>,
    ) -> Judgement {
        let ids: BTreeSet<_> = records.iter().filter_map(|record| record.id.as_ref()).collect();
        let unanswered = records.iter().filter(|record| record.id.is_none());
        let names: BTreeSet<_> = unanswered.map(|record| record.name.as_str()).collect();
        let mut judgement = Judgement::default();
        let mut suspects = BTreeMap::new();
        for eni in listed {
            let claimed = ids.contains(&eni.id) || names.contains(eni.name.as_str());
            if claimed || eni.kind != EniKind::Secondary {
                continue;
            }
            match (eni.state, &eni.instance) {
                (EniState::InUse, Some(instance)) => match hosts.get(instance) {
                    Some(node) => judgement.adopt.push((eni.clone(), node.clone())),
                    None => judgement.astray.push((eni.id.clone(), instance.clone())),
                },
                (EniState::Available, None) => {
                    let first = self.suspects.get(&eni.id).map_or(begun, |(first, _)| *first);
                    suspects.insert(eni.id.clone(), (first, begun));
                }
                // The cloud is at work on it: it is not what it was, nor yet what it will be.
                _ => {}
            }
        }
        self.suspects = suspects;
        let ripe = self
            .suspects
            .iter()
            .filter(|(_, (first, last))| *last >= *first + LEAK_AGE);
        judgement.condemned = ripe.map(|(id, _)| id.clone()).take(LEAKS_PER_ROUND).collect();
        judgement
    }

    /// How many ENIs are under suspicion.
    pub fn suspected(&self) -> usize {
        self.suspects.len()
    }
}

/// Whether a reading of one ENI alone, right before it is deleted, confirms that nobody uses it.
pub fn confirms_leak(eni: &Eni, tags: &BTreeMap<String, String>) -> bool {
    let ours = !tags.is_empty() && tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value));
    let idle = eni.state == EniState::Available && eni.instance.is_none();
    ours && idle && eni.kind == EniKind::Secondary
}
