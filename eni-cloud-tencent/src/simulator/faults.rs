//! What goes wrong, and when: rules that strike calls in order.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The rules of a simulator. A call meets the first rule that is for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FaultPlan {
    /// The rules; one that has struck often enough is gone.
    pub rules: VecDeque<FaultRule>,
    /// Listings of ENIs show what was that many milliseconds ago.
    pub listing_lag_millis: u64,
}

/// One fault, and the calls it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// The action; without it, every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// So many calls are let pass first.
    #[serde(default)]
    pub skip: u32,
    /// So many calls are struck.
    #[serde(default = "once")]
    pub count: u32,
    /// Of the calls that the rule is for, one in so many is struck, at random.
    #[serde(default = "once")]
    pub one_in: u32,
    /// What happens to them.
    pub fault: Fault,
}

/// What happens to a call that was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
#[non_exhaustive]
pub enum Fault {
    /// `RequestLimitExceeded`; it is not carried out.
    Throttle,
    /// This error; it is not carried out.
    Refuse {
        /// The error's code.
        code: String,
    },
    /// It is carried out and this error answered.
    FailAfter {
        /// The error's code.
        code: String,
    },
    /// It is carried out, and the connection closed without an answer.
    LoseReply,
    /// It is carried out, and the connection closed in the middle of the answer's body.
    Truncate,
    /// It is carried out and answered so many milliseconds later.
    Slow {
        /// How many.
        millis: u64,
    },
    /// An HTTP status and no envelope, as a broken gateway answers.
    Status {
        /// The status.
        status: u16,
        /// It is carried out nevertheless.
        #[serde(default)]
        executed: bool,
    },
    /// Every temporary set of keys has expired.
    ExpireTokens,
    /// It is accepted, and its order never comes to an end: the task runs for ever.
    Stall,
    /// It is accepted, and its order never comes to an end: the task has failed.
    FailTask,
}

fn once() -> u32 {
    1
}

impl FaultPlan {
    /// The fault of a call that was let in.
    pub(super) fn next(&mut self, action: &str, random: u64) -> Option<Fault> {
        let is_for = |rule: &FaultRule| rule.action.as_deref().is_none_or(|name| name == action);
        let index = self.rules.iter().position(is_for)?;
        let rule = &mut self.rules[index];
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        if !random.is_multiple_of(u64::from(rule.one_in.max(1))) {
            return None;
        }
        rule.count = rule.count.saturating_sub(1);
        match rule.count {
            0 => self.rules.remove(index).map(|rule| rule.fault),
            _ => Some(rule.fault.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_in_order_as_often_as_they_say() {
        let text = r#"{"rules": [
            {"action": "A", "skip": 1, "count": 2, "fault": {"kind": "throttle"}},
            {"fault": {"kind": "status", "status": 502}}
        ]}"#;
        let mut plan: FaultPlan = serde_json::from_str(text).unwrap();
        let bad_gateway = Some(Fault::Status {
            status: 502,
            executed: false,
        });
        assert_eq!(plan.next("A", 0), None);
        assert_eq!(plan.next("B", 0), bad_gateway);
        assert_eq!(plan.next("B", 0), None);
        assert_eq!(plan.next("A", 0), Some(Fault::Throttle));
        assert_eq!(plan.next("A", 0), Some(Fault::Throttle));
        assert_eq!(plan.next("A", 0), None);
        assert_eq!(plan, FaultPlan::default());
    }
}
