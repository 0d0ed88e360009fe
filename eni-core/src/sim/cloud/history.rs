//! What listings of ENIs show, and what they showed a while ago where they lag behind.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    orders::{Verdict, refuse},
    state::State,
};
use crate::{
    cloud::{CloudErrorKind, EniFilter},
    model::{Eni, EniId},
};

/// The recent states of every ENI; empty while listings do not lag.
#[derive(Debug, Default)]
pub(super) struct History {
    lag: Duration,
    states: BTreeMap<EniId, VecDeque<(Instant, Option<Eni>)>>,
}

impl History {
    /// Makes listings lag from now on; the state of now stands for all that was before.
    pub(super) fn set_lag<'a>(&mut self, lag: Duration, now: Instant, enis: impl Iterator<Item = &'a Eni>) {
        if lag.is_zero() {
            self.states.clear();
        } else if self.lag.is_zero() {
            self.states = enis
                .map(|eni| (eni.id.clone(), VecDeque::from([(now, Some(eni.clone()))])))
                .collect();
        }
        self.lag = lag;
    }

    /// Whether listings lag.
    pub(super) fn lags(&self) -> bool {
        !self.lag.is_zero()
    }

    /// Remembers that an ENI changed to `eni`, or went.
    pub(super) fn record(&mut self, now: Instant, id: &EniId, eni: Option<&Eni>) {
        if !self.lags() {
            return;
        }
        let states = self
            .states
            .entry(id.clone())
            .or_insert_with(|| VecDeque::from([(now, None)]));
        states.push_back((now, eni.cloned()));
        while states.get(1).is_some_and(|(at, _)| *at + self.lag <= now) {
            states.pop_front();
        }
    }

    /// The ENIs as they were one lag ago.
    pub(super) fn view(&self, now: Instant) -> impl Iterator<Item = &Eni> {
        self.states.values().filter_map(move |states| {
            let then = states
                .iter()
                .rfind(|(at, _)| *at + self.lag <= now)
                .or(states.front());
            then.and_then(|(_, eni)| eni.as_ref())
        })
    }
}

impl State {
    /// The ENIs that match, in order of their ids.
    pub(super) fn list(&self, now: Instant, filter: &EniFilter) -> Verdict<Vec<Eni>> {
        let limit = self.capabilities.describe_batch;
        if matches!(filter, EniFilter::Ids(ids) if ids.len() > limit) {
            return refuse(
                CloudErrorKind::Invalid,
                format!("one listing names at most {limit} ENIs"),
            );
        }
        let matches = |eni: &&Eni| match filter {
            EniFilter::Ids(ids) => ids.contains(&eni.id),
            EniFilter::Instance(id) => eni.instance.as_ref() == Some(id),
            EniFilter::Tags(tags) => tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value)),
        };
        if self.history.lags() {
            return Ok(self.history.view(now).filter(matches).cloned().collect());
        }
        Ok(match filter {
            EniFilter::Ids(ids) => self.lookup(ids.iter().collect::<BTreeSet<_>>()),
            EniFilter::Instance(id) => self
                .instances
                .get(id)
                .map_or(Vec::new(), |on| self.lookup(&on.enis)),
            EniFilter::Tags(_) => self
                .enis
                .values()
                .map(|entry| &entry.eni)
                .filter(matches)
                .cloned()
                .collect(),
        })
    }

    fn lookup<'a>(&self, ids: impl IntoIterator<Item = &'a EniId>) -> Vec<Eni> {
        ids.into_iter()
            .filter_map(|id| self.enis.get(id))
            .map(|entry| entry.eni.clone())
            .collect()
    }
}
