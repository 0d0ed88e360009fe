//! Tells pods that their address vanished from its ENI.

use std::time::Duration;

use tokio::time::Instant;

use super::Dialogue;
use crate::{
    cluster::{Event, Subject},
    model::{Pod, PoolEni},
};

/// How often a loss is told while it lasts: an event can be dropped where the cluster does not answer, and
/// does not outlive a day in most clusters.
const REMINDER: Duration = Duration::from_secs(300);

impl Dialogue {
    /// Tells of every loss that was not told for a while. It goes by what is lost now, so that a restart
    /// between a loss and its event loses nothing.
    pub(super) async fn report_losses(&mut self) {
        let now = Instant::now();
        let losses = self.service.losses();
        self.told
            .retain(|key, _| losses.iter().any(|(lost, ..)| lost == key));
        let is_due = |told: &Instant| *told + REMINDER <= now;
        let due = losses
            .into_iter()
            .filter(|(key, ..)| self.told.get(key).is_none_or(is_due));
        let due: Vec<_> = due.collect();
        if due.is_empty() {
            return;
        }
        // A watch may be late, and what it brings out of date: nobody deletes a pod for old news.
        let latest = match self.cluster.node_configs().get(self.node.as_str()).await {
            Ok(read) => read.object.pool,
            Err(error) => {
                tracing::info!(node = %self.node, %error, "losses are not told yet");
                return;
            }
        };
        let pods = self.pods.all();
        for (key, owned, ip) in due {
            let back = |eni: &PoolEni| eni.id == owned.eni && eni.attached.iter().any(|entry| entry.ip == ip);
            if latest.enis.iter().any(back) {
                continue;
            }
            let Some(pod) = owned.pod else {
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
