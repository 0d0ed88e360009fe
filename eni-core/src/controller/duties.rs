//! The duties that concern the whole cluster rather than one node, beside the nodes' workers.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{act::Actor, collect::EniCollector, grants::Grants, instances::Instances};
use crate::{
    cloud::{Lane, Pacer},
    gc::Collector,
    model::NodeName,
    policy::LISTING_LAG,
};

/// How often it is looked whether something calls for other grants; that costs no call either.
const DEAL: Duration = Duration::from_secs(3);
/// How often it is looked whether the audit brought a new listing to judge; that costs no call.
const COLLECTION: Duration = Duration::from_secs(60);

/// The duties that concern the whole cluster.
pub(super) struct Duties {
    pub(super) instances: Arc<Instances>,
    pub(super) grants: Grants,
    leaks: EniCollector,
    actor: Arc<Actor>,
}

impl Duties {
    pub(super) fn new(pacer: &Arc<Pacer>, actor: &Arc<Actor>) -> Self {
        let cloud = || pacer.on(Lane::Collection);
        let instances = Arc::new(Instances::new(cloud(), actor.desk.clone(), &actor.config));
        Self {
            grants: Grants::new(actor.clone(), instances.clone()),
            instances,
            leaks: EniCollector::new(cloud(), actor.clone()),
            actor: actor.clone(),
        }
    }

    /// Runs until it is dropped; the nodes that must be looked at again are due.
    pub(super) async fn run(&self) {
        let mut instances = paced(LISTING_LAG);
        let mut grants = paced(DEAL);
        let mut leaks = paced(COLLECTION);
        loop {
            let touched = tokio::select! {
                biased;
                _ = instances.tick() => self.instances.round().await,
                _ = grants.tick() => self.grants.round().await,
                _ = leaks.tick() => self.collect().await,
            };
            if !touched.is_empty() {
                self.actor.desk.change(|_| touched);
            }
        }
    }

    /// The records that this changes are told by their watch.
    async fn collect(&self) -> Vec<NodeName> {
        match self.leaks.collect().await {
            Ok(sweep) => {
                sweep.reclaimed.iter().for_each(|line| tracing::info!("{line}"));
                for line in &sweep.failed {
                    tracing::warn!("a leaked ENI is not deleted yet: {line}");
                }
            }
            Err(error) => tracing::warn!(%error, "no leaked ENI is looked for now"),
        }
        Vec::new()
    }
}

fn paced(period: Duration) -> tokio::time::Interval {
    let mut paced = interval(period);
    paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
    paced
}
