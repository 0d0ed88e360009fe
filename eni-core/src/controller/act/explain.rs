//! What people are told at the node.

use super::{ActError, Actor};
use crate::{
    cloud::CloudErrorKind,
    cluster::{Event, Subject},
    controller::{Notice, stuck::Remedy},
    model::{EniId, Node, NodeName},
};

impl Actor {
    fn warn(&self, node: &Node, reason: &'static str, message: String) {
        self.cluster.report(Event {
            subject: Subject::Node(node.name.clone()),
            warning: true,
            reason,
            message,
        });
    }

    /// What a plan found that people must know.
    pub(in crate::controller) fn tell(&self, node: &NodeName, notice: &Notice) {
        tracing::warn!(%node, ?notice, "people are told about the node");
        self.cluster.report(notice.event(node));
    }

    /// Something has been in the hands of the cloud for too long.
    pub(super) fn tell_stuck(&self, node: &Node, eni: &EniId, what: &str, remedy: &Remedy) {
        let done = match remedy {
            Remedy::Replace(_) => "it is deleted, and another is made if it is needed",
            Remedy::Delete(_) => "its deletion is ordered again",
            Remedy::Detach(_) => "it is detached, and attached again if it shall stay",
            Remedy::Unassign(..) => "they are taken off, and others are assigned where some are needed",
            Remedy::Tell => "pods may use it, so it is left alone; look at it in the cloud",
        };
        self.warn(node, "ENIStuck", format!("ENI {eni} {what}; {done}"));
    }

    /// Only people can mend it.
    pub(super) fn explain(&self, node: &Node, error: &ActError) {
        let ActError::Cloud(error) = error else { return };
        let reason = match error.kind {
            CloudErrorKind::Quota => "ENILimit",
            CloudErrorKind::Exhausted { .. } => "SubnetExhausted",
            CloudErrorKind::Denied => "CloudPermissionDenied",
            _ => return,
        };
        self.warn(node, reason, error.to_string());
    }
}
