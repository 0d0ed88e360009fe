//! An ipamd that takes a short cut, where that is the mistake to be found.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Bug,
    chaos::Chaos,
    handles::{Handle, SimCloud},
    process::Who,
};
use crate::cloud::Cloud;

/// Takes off what agents offered back, at once.
pub(super) async fn run(chaos: Arc<Chaos>) {
    let world = &chaos.world;
    while world.has(Bug::UnassignAtOnce) && !world.is_calm() {
        sleep(Duration::from_millis(200)).await;
        let offered = world.truth(|truth| {
            let offers = truth.configs.values().flat_map(|config| {
                let enis = config.pool.enis.iter();
                enis.flat_map(|eni| eni.attached.iter().map(|entry| (eni.id.clone(), *entry)))
                    .filter(|(_, entry)| config.agent.withdrawn.contains(entry))
            });
            let leader = truth.leader;
            offers.map(|(eni, entry)| (leader, eni, entry.ip)).next()
        });
        if let Some((leader, eni, ip)) = offered {
            let cloud = SimCloud(Handle::new(world, Who::Ipamd(leader)));
            if let Err(error) = cloud.unassign_addresses(&eni, &[ip]).await {
                tracing::debug!(%error, "not this time");
            }
        }
    }
}
