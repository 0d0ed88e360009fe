//! What a runtime was told that a sandbox has, the sandbox keeps: until its DEL, or until it is dead.

use tokio::time::Instant;

use crate::{
    journal::Change,
    sim::world::{event::Event, truth::Truth},
};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    match event {
        Event::Acknowledge { node, key, addresses } => {
            let machine = truth.machines.get(*node);
            let owned = machine.and_then(|machine| machine.owned.get(*key));
            match owned {
                Some(owned) if owned.addresses == *addresses => Ok(()),
                Some(owned) => Err(format!("{key} is told {addresses} and owns {}", owned.addresses)),
                None => Err(format!(
                    "{key} is told {addresses}, of which the journal of {node} knows nothing"
                )),
            }
        }
        Event::Commit { changes, .. } => changes.iter().try_for_each(|change| {
            let (key, now) = match change {
                Change::Disown(key) => (key, None),
                Change::Own(key, allocation) => (key, Some(allocation.addresses)),
                _ => return Ok(()),
            };
            let Some(fact) = truth.sandboxes.get(&key.container) else {
                return Ok(());
            };
            match fact.acknowledged.filter(|_| fact.alive && !fact.deleted) {
                Some(told) if Some(told) != now => Err(format!(
                    "{key} lives with {told} and its addresses become {now:?}"
                )),
                _ => Ok(()),
            }
        }),
        _ => Ok(()),
    }
}
