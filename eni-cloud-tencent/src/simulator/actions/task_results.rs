//! What became of tasks.

use serde_json::json;

use super::{Answer, members};
use crate::simulator::{desk::Desk, parameters::Parameters, refusal::refuse};

impl Desk {
    pub(super) fn describe_vpc_task(&self, p: &Parameters<'_>) -> Answer {
        let id = p.text("TaskId")?;
        let tasks = self.tasks.lock();
        let Some((status, eni)) = tasks.status(id, &self.cloud) else {
            return refuse!("ResourceNotFound", "The task `{id}` does not exist.");
        };
        members(json!({
            "Status": status.name(),
            "Output": "{}",
            "Result": [{"ResourceId": eni.as_str(), "Status": status.name()}],
        }))
    }
}
