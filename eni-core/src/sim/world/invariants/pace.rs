//! Cloud calls are bounded in every virtual second.

use tokio::time::Instant;

use crate::sim::world::{event::Event, truth::Truth};

/// Calls a second, plus as many at once after a pause.
const MOST: usize = 50 + 50;

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    match event {
        Event::Call { who, action } if truth.calls.len() > MOST => {
            let calls = truth.calls.len();
            Err(format!("{who} calls {action}, call {calls} within a second"))
        }
        _ => Ok(()),
    }
}
