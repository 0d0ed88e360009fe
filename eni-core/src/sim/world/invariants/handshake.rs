//! ipamd releases exactly what the agent offered back in this stay, and what nobody owns.

use tokio::time::Instant;

use crate::{
    model::{NodeName, SandboxKey},
    sim::world::{event::Event, truth::Truth},
};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    let Event::Configured { who, before, after } = event else {
        return Ok(());
    };
    let Some(before) = before else { return Ok(()) };
    for eni in &after.pool.enis {
        let known = before.pool.enis.iter().find(|known| known.id == eni.id);
        for entry in &eni.releasing {
            if known.is_some_and(|known| known.releasing.contains(entry)) {
                continue;
            }
            if !before.agent.withdrawn.contains(entry) {
                return Err(format!(
                    "{who} releases {} of {}, which the agent of {} did not offer back in this stay",
                    entry.ip, eni.id, after.name
                ));
            }
            // What others took off this ENI may be another one's by now.
            let here = |(node, _): &&(NodeName, SandboxKey)| *node == after.name;
            if let Some((node, key)) = truth.owners.get(&entry.ip).filter(here) {
                return Err(format!("{who} releases {}, which {key} on {node} owns", entry.ip));
            }
        }
    }
    Ok(())
}
