//! Tells pods that their address vanished from its ENI.

use std::time::Duration;

use tokio::time::Instant;

use super::Dialogue;
use crate::{
    cluster::{Event, Subject},
    model::Pod,
};

/// How often a loss is told while it lasts: an event can be dropped where the cluster does not answer, and
/// does not outlive a day in most clusters.
const REMINDER: Duration = Duration::from_secs(300);

impl Dialogue {
    /// Tells of every loss that was not told for a while. It goes by what is lost now, so that a restart
    /// between a loss and its event loses nothing.
    pub(super) fn report_losses(&mut self) {
        let now = Instant::now();
        let losses = self.service.losses();
        self.told
            .retain(|key, _| losses.iter().any(|(lost, ..)| lost == key));
        let pods = self.pods.all();
        for (key, owned, ip) in losses {
            let due = self.told.get(&key).is_none_or(|told| *told + REMINDER <= now);
            let Some(pod) = owned.pod.filter(|_| due) else {
                continue;
            };
            // Whoever has its name now, here or elsewhere, has lost nothing.
            let same = |found: &Pod| owned.pod_uid.as_ref().is_none_or(|uid| *uid == found.uid);
            if let Some(pods) = &pods
                && !pods.get(&pod).is_some_and(same)
            {
                continue;
            }
            self.told.insert(key, now);
            self.cluster.report(Event {
                subject: Subject::Pod(pod),
                warning: true,
                reason: "AddressLost",
                message: format!(
                    "address {ip} was removed from its ENI outside this system; delete the pod to get another"
                ),
            });
        }
    }
}
