//! Tells pods that their address vanished from its ENI.

use std::time::Duration;

use tokio::time::Instant;

use super::Dialogue;
use crate::cluster::{Event, Subject};

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
        for (key, pod, ip) in losses {
            let due = self.told.get(&key).is_none_or(|told| *told + REMINDER <= now);
            let Some(pod) = pod.filter(|_| due) else { continue };
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
