//! free + allocated + cooling + withdrawn + lost = the set that the journal has accepted.

use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::sim::world::{event::Event, truth::Truth};

pub(super) fn check(_: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    let Event::Counted { node, counts, pool } = event else {
        return Ok(());
    };
    let entries = pool
        .enis
        .iter()
        .flat_map(|eni| eni.attached.iter().chain(&eni.releasing));
    let accepted: BTreeSet<_> = entries.map(|entry| entry.ip).collect();
    let least = accepted.len();
    // What was lost may have left the pool or still be in it, on its way out.
    if (least..=least + counts.lost).contains(&counts.total()) {
        return Ok(());
    }
    Err(format!("{node} accepted {least} addresses and counts {counts:?}"))
}
