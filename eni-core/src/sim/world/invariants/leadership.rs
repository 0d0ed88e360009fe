//! No order that takes something away reaches the cloud on behalf of an ipamd that was replaced.

use tokio::time::Instant;

use crate::sim::world::{event::Event, truth::Truth};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    match event {
        Event::Order { who, order } if order.is_destructive() && !truth.leads(who) => Err(format!(
            "{who} was replaced by ipamd-{} and its order arrives: {order:?}",
            truth.leader
        )),
        _ => Ok(()),
    }
}
