//! Tasks: what became of an order about an ENI. A task's id is that of the request that began it.

use std::collections::BTreeMap;

use eni_core::{model::EniId, sim::MemoryCloud};

/// Every task, by the id of its request.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    known: BTreeMap<String, Task>,
}

#[derive(Debug)]
struct Task {
    eni: EniId,
    /// The number of the cloud's order, unless it was over at once.
    order: Option<u64>,
    /// How a task stands that never ends.
    stalled: Option<Status>,
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    Success,
    Failed,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
        }
    }
}

impl Tasks {
    /// The order that is under way on `eni` is that of this request.
    pub(super) fn begin(&mut self, request_id: &str, cloud: &MemoryCloud, eni: &EniId) {
        let task = Task {
            eni: eni.clone(),
            order: cloud.under_way(eni).map(|order| order.number),
            stalled: None,
        };
        self.known.insert(request_id.to_owned(), task);
    }

    /// The order of a request never comes to its end, and the task stands so for ever.
    pub(super) fn stall(&mut self, request_id: &str, cloud: &MemoryCloud, status: Status) {
        if let Some(task) = self.known.get_mut(request_id) {
            cloud.drop_order(&task.eni);
            task.stalled = Some(status);
        }
    }

    /// How a task stands, and which ENI it is about.
    pub(super) fn status(&self, id: &str, cloud: &MemoryCloud) -> Option<(Status, &EniId)> {
        let Task { eni, order, stalled } = self.known.get(id)?;
        let current = cloud.under_way(eni).map(|order| order.number);
        if let Some(status) = stalled {
            return Some((*status, eni));
        }
        let status = match order.is_some() && current == *order {
            true => Status::Running,
            false => Status::Success,
        };
        Some((status, eni))
    }
}
