//! An ENI is created for a record that exists, once, however often the creation is repeated.

use tokio::time::Instant;

use crate::sim::world::{event::Event, event::Order, truth::Truth};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    match event {
        Event::Order {
            who,
            order: Order::Create(request),
        } => match truth.records.get(&request.name) {
            Some(_) => Ok(()),
            None => Err(format!(
                "{who} creates {}, of which no record knows",
                request.name
            )),
        },
        Event::Created(eni) => match truth.created.get(&eni.name).filter(|first| **first != eni.id) {
            Some(first) => Err(format!("{} was created as {first} and as {}", eni.name, eni.id)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}
