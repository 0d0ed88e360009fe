//! What nobody asked to remove is removed only if nobody can need it: a pod's addresses when the sandbox is
//! dead and the pod is gone, an ENI when no record wants it.

use tokio::time::Instant;

use crate::{
    journal::Change,
    model::{EniId, Intent},
    sim::world::{event::Event, event::Order, truth::Truth},
};

pub(super) fn check(truth: &Truth, event: &Event<'_>, _: Instant) -> Result<(), String> {
    match event {
        Event::Commit { node, changes } => changes.iter().try_for_each(|change| {
            let Change::Disown(key) = change else {
                return Ok(());
            };
            let asked = truth
                .sandboxes
                .get(&key.container)
                .is_none_or(|fact| fact.deleted);
            match asked || truth.is_unneeded(key) {
                true => Ok(()),
                false => Err(format!(
                    "{key} on {node} loses its addresses without a DEL, and is needed"
                )),
            }
        }),
        Event::Order {
            order: Order::Detach(eni) | Order::Delete(eni),
            ..
        } => unwanted(truth, eni),
        _ => Ok(()),
    }
}

fn unwanted(truth: &Truth, eni: &EniId) -> Result<(), String> {
    // Of what no agent was told nobody can use anything: an attachment that does not end is undone, also one
    // that has just ended after all.
    let on_instance = truth.enis.get(eni).is_some_and(|fact| fact.instance.is_some());
    if !on_instance || truth.published(eni).is_none() {
        return Ok(());
    }
    let mut records = truth.records.values();
    let record = records.find(|record| record.id.as_ref() == Some(eni) && record.intent == Intent::Attached);
    let live = record.filter(|record| {
        let machine = truth.machines.get(&record.node);
        machine.is_some_and(|machine| machine.instance == record.instance)
    });
    match live {
        Some(record) => Err(format!(
            "{eni} is taken away, and the record {} wants it",
            record.name
        )),
        None => Ok(()),
    }
}
