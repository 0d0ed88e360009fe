//! Reading the cloud: all of our ENIs now and then, those with an order under way more often.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{Inventory, State, run::Run, seen::Seen};
use crate::{
    cloud::{Cloud, CloudResult, EniFilter, Lane},
    model::{Eni, EniId},
};

/// How long an ENI that is gone is remembered: its record is dealt with in less.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Inventory {
    /// Reads all of our ENIs and the subnets. A listing that fails changes nothing.
    pub(in crate::controller) async fn audit(&self) -> CloudResult<()> {
        let asked = Instant::now();
        let all = EniFilter::Tags(self.tags.clone());
        let listed = self.pacer.on(Lane::Audit).enis(&all).await?;
        let mut listed = by_id(listed);
        {
            let mut state = self.state.lock();
            let known: Vec<_> = state.enis.keys().cloned().collect();
            for id in known {
                let eni = listed.remove(&id);
                state.change(&id, |seen| seen.learn(eni, asked));
            }
            for (id, eni) in listed {
                state.enis.insert(id.clone(), Seen::unknown(asked));
                state.change(&id, |seen| seen.learn(Some(eni), asked));
            }
            state.drop_remains(asked);
            state.audited = Some(asked);
            let again = |audits: Run| audits.again(asked);
            state.audits = Some(state.audits.map_or(Run::first(asked), again));
        }
        self.subnets.refresh(&self.pacer.on(Lane::Audit), asked).await
    }

    /// When the last complete listing began, and our ENIs as they are known since; what a listing lacked or
    /// is being deleted is left out.
    pub(in crate::controller) fn listed(&self) -> Option<(Instant, Vec<Eni>)> {
        let state = self.state.lock();
        let present = state.enis.values().filter(|seen| seen.is_present());
        let present = present.filter_map(|seen| seen.eni.clone()).collect();
        Some((state.audited?, present))
    }

    /// Reads a batch of the ENIs with an order under way whose turn it is, those first that were not read
    /// for longest. Returns those that changed and those that make no progress for `patience`, each with
    /// its name where that is known.
    pub(in crate::controller) async fn poll(
        &self,
        patience: Duration,
    ) -> CloudResult<Vec<(EniId, Option<String>)>> {
        let asked = Instant::now();
        let ids = self.due(asked);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // What was begun is finished before more is begun; a tenth of the default budget is enough for it.
        let listed = self.on(Lane::Waiting).enis(&EniFilter::Ids(ids.clone())).await?;
        let mut listed = by_id(listed);
        let now = Instant::now();
        let mut state = self.state.lock();
        let changed = ids.into_iter().filter_map(|id| {
            // It may have been forgotten meanwhile.
            state.enis.get(&id)?;
            let listed = listed.remove(&id);
            state.change(&id, |seen| {
                let changed = seen.learn(listed, asked);
                let late = seen.is_stuck(patience, now);
                let name = seen.eni.as_ref().map(|eni| eni.name.clone());
                (changed || late).then(|| (id.clone(), name))
            })
        });
        Ok(changed.collect())
    }

    /// Whose turn it is to be read.
    fn due(&self, now: Instant) -> Vec<EniId> {
        let mut state = self.state.lock();
        let due = state.in_flight.iter().filter_map(|id| {
            let seen = state.enis.get(id)?;
            (seen.next_reading(self.poll_interval) <= now).then(|| (seen.asked, id.clone()))
        });
        let mut due: Vec<_> = due.collect();
        let batch = self.capabilities().describe_batch.max(1);
        // A call is worth it for a whole batch, or when the last one is long enough ago.
        let recent = state
            .polled
            .is_some_and(|polled| polled + self.poll_interval > now);
        if due.is_empty() || (recent && due.len() < batch) {
            return Vec::new();
        }
        state.polled = Some(now);
        due.sort_unstable();
        due.truncate(batch);
        let due: Vec<_> = due.into_iter().map(|(_, id)| id).collect();
        // Also if the reading fails: it is asked again after its pause, not at once.
        for id in &due {
            state.change(id, |seen| seen.asked = now);
        }
        due
    }
}

impl State {
    /// Drops what was kept of ENIs that have been gone for long and that no record asked to forget.
    fn drop_remains(&mut self, now: Instant) {
        let old = |seen: &Seen| seen.gone_since().is_some_and(|since| since + REMEMBERED <= now);
        let gone = self.enis.extract_if(.., |_, seen| old(seen));
        for (id, seen) in gone.collect::<Vec<_>>() {
            self.relocate(&id, &seen.holds(), &BTreeSet::new());
        }
        self.by_name.retain(|_, id| self.enis.contains_key(id));
    }
}

fn by_id(listed: Vec<Eni>) -> BTreeMap<EniId, Eni> {
    listed.into_iter().map(|eni| (eni.id.clone(), eni)).collect()
}
