//! No order is about an ENI that is not ours.

use tokio::time::Instant;

use crate::sim::world::{event::Event, truth::Truth};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    let Event::Order { who, order } = event else {
        return Ok(());
    };
    let foreign = order
        .eni()
        .filter(|eni| truth.enis.get(*eni).is_some_and(|fact| !fact.ours));
    match foreign {
        Some(eni) => Err(format!(
            "{who} gives an order about {eni}, which is not ours: {order:?}"
        )),
        None => Ok(()),
    }
}
