//! What a DEL took down is off the wire, also if an ADD went on beside it.

use tokio::time::Instant;

use crate::sim::world::{event::Event, truth::Truth};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    let Event::Deleted { node, key } = event else {
        return Ok(());
    };
    let machine = truth.machines.get(*node);
    match machine.and_then(|machine| machine.wired.get(*key)) {
        Some(addresses) => Err(format!(
            "{key} on {node} was deleted and is on the wire with {addresses}"
        )),
        None => Ok(()),
    }
}
