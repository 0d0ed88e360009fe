//! The duties that concern the whole cluster rather than one node, beside the nodes' workers.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedSender,
    time::{MissedTickBehavior, interval},
};

use super::{act::Actor, instances::Instances};
use crate::{cloud::Cloud, model::NodeName, policy::LISTING_LAG};

/// The duties that concern the whole cluster.
pub(super) struct Duties {
    pub(super) instances: Instances,
}

impl Duties {
    pub(super) fn new(cloud: Arc<dyn Cloud>, actor: Arc<Actor>) -> Self {
        let instances = Instances::new(cloud, actor.index.clone(), &actor.config);
        Self { instances }
    }

    /// Runs until it is dropped, and names the nodes that must be looked at again.
    pub(super) async fn run(&self, mark: UnboundedSender<NodeName>) {
        let mut instances = paced(LISTING_LAG);
        loop {
            let touched = tokio::select! {
                biased;
                _ = instances.tick() => self.instances.round().await,
            };
            for name in touched {
                if mark.send(name).is_err() {
                    return;
                }
            }
        }
    }
}

fn paced(period: Duration) -> tokio::time::Interval {
    let mut paced = interval(period);
    paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
    paced
}
