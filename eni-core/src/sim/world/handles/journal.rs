//! An agent's handle of its node's journal.

use async_trait::async_trait;

use super::{Backend, Call, Handle, Trouble, at_once};
use crate::{
    journal::{Change, Hold, Journal, JournalError, Memory, MemoryJournal},
    model::NodeName,
    sim::world::{Bug, core::World, event::Event, process::Who},
};

/// An agent's handle of its node's journal.
pub(in crate::sim::world) struct SimJournal {
    pub(in crate::sim::world) handle: Handle,
    pub(in crate::sim::world) node: NodeName,
    pub(in crate::sim::world) disk: MemoryJournal,
}

impl SimJournal {
    async fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        resource: String,
        execute: impl FnOnce(&World, &Who) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let call = Call {
            backend: Backend::Journal,
            action,
            resource,
            writes: action == "commit",
        };
        let fail = |_: Trouble| JournalError {
            journal: "in memory".to_owned(),
            message: "the simulation wants it so".to_owned(),
        };
        self.handle.call(call, fail, execute).await
    }
}

#[async_trait]
impl Journal for SimJournal {
    async fn load(&self) -> Result<Memory, JournalError> {
        let disk = self.disk.clone();
        self.ask("load", String::new(), move |world, _| {
            let mut memory = at_once(disk.load())?;
            memory.held.retain(|(_, hold)| match hold {
                Hold::Cooling { .. } => !world.has(Bug::ForgetCooling),
                Hold::Withdrawn => !world.has(Bug::ForgetWithdrawn),
            });
            Ok(memory)
        })
        .await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let (disk, node) = (self.disk.clone(), self.node.clone());
        let resource = changes.iter().map(name).collect::<Vec<_>>().join(", ");
        self.ask("commit", resource, move |world, _| {
            if world.has(Bug::SkipJournal) && changes.iter().any(|change| matches!(change, Change::Own(..))) {
                return Ok(());
            }
            world.observe(&Event::Commit {
                node: &node,
                changes: &changes,
            });
            at_once(disk.commit(changes))
        })
        .await
    }
}

fn name(change: &Change) -> String {
    match change {
        Change::Own(key, allocation) => format!("own {key} {}", allocation.addresses),
        Change::Disown(key) => format!("disown {key}"),
        Change::Hold(entry, Hold::Withdrawn) => format!("withdraw {}", entry.ip),
        Change::Hold(entry, _) => format!("cool {}", entry.ip),
        Change::Unhold(entry) => format!("unhold {}", entry.ip),
        Change::Pool(_) => "pool".to_owned(),
    }
}
