//! What the agent tells ipamd: what it offers back, what it holds, who waits, and what it advertises.

use super::Dialogue;
use crate::{
    cluster::modify,
    model::{AgentReport, PoolAddress},
};

impl Dialogue {
    /// Publishes what ipamd cannot see; whether it is published.
    pub(super) async fn report(&mut self, due: bool) -> bool {
        let Some(published) = &self.published else {
            return true;
        };
        let attached =
            |entry: &PoolAddress| published.pool.enis.iter().any(|eni| eni.attached.contains(entry));
        let report = AgentReport {
            withdrawn: self.service.withdrawn().into_iter().filter(attached).collect(),
            held: u32::try_from(self.service.counts().cooling + self.orphans()).unwrap_or(u32::MAX),
            // Who waits for a claim is known by the claim.
            short: match published.pool.by_claim {
                true => 0,
                false => u32::try_from(*self.service.waiting().borrow()).unwrap_or(u32::MAX),
            },
            advertised: self.advertised(published),
        };
        let before = &published.agent;
        let urgent = report.withdrawn != before.withdrawn
            || (report.short > 0) != (before.short > 0)
            // What a lowered grant frees is given to others only after this.
            || report.advertised < before.advertised
            // What is raised is told to the kubelet only after this.
            || (self.advertisement.is_some() && report.advertised > before.advertised);
        if report == *before || !(urgent || due) {
            return true;
        }
        let store = self.cluster.node_configs();
        let written = modify(&*store, self.node.as_str(), |config| {
            let changed = config.agent != report && config.spec.instance == self.instance;
            if changed {
                config.agent.clone_from(&report);
            }
            changed
        });
        match written.await {
            Ok(read) => {
                self.learn_agent(read.object.agent);
                true
            }
            Err(error) => {
                tracing::info!(node = %self.node, %error, "the report is not published yet");
                false
            }
        }
    }

    /// Takes over what was written of the report; pools come by the watch, in order.
    pub(super) fn learn_agent(&mut self, agent: AgentReport) {
        if let Some(published) = &mut self.published {
            published.agent = agent;
        }
    }

    /// Owners whose pods are gone.
    pub(super) fn orphans(&self) -> usize {
        let state = self.service.state.lock();
        self.pods.orphans(state.pool.owners().map(|(_, owned)| owned))
    }
}
