//! What people are told at the node.

use super::{ActError, Actor};
use crate::{
    cloud::CloudErrorKind,
    cluster::{Event, Subject},
    controller::stuck::Remedy,
    model::{EniId, Node, NodeConfig},
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

    /// Its zone has run out of addresses.
    pub(in crate::controller) fn starved(&self, node: &Node) {
        let zone = node.zone.as_ref().map_or("", |zone| zone.as_str());
        tracing::warn!(node = %node.name, zone, "no subnet of the zone has room for what the node needs");
        let message = format!(
            "no configured subnet of zone {zone} has room for the pods of this node; add a subnet of this zone, or \
             free addresses"
        );
        self.warn(node, "SubnetExhausted", message);
    }

    /// The object without what an operator wrote into it and what makes no sense.
    pub(in crate::controller) fn sanitized(&self, node: &Node, mut config: NodeConfig) -> NodeConfig {
        if let Some(warm) = config.spec.warm.take_if(|warm| warm.min > warm.max) {
            let message = format!(
                "the NodeENIConfig asks for {} to {} idle addresses; the first must not exceed the second; the \
                 cluster's range applies until it is corrected",
                warm.min, warm.max
            );
            self.warn(node, "InvalidWarmRange", message);
        }
        config
    }

    /// Something has been in the hands of the cloud for too long.
    pub(super) fn tell_stuck(&self, node: &Node, eni: &EniId, what: &str, remedy: &Remedy) {
        let done = match remedy {
            Remedy::Replace(_) => "it is deleted, and another is made if it is needed",
            Remedy::Delete(_) => "its deletion is ordered again",
            Remedy::Detach(_) => "it is detached, and attached again if it shall stay",
            Remedy::Unassign(..) => "they are taken off, and others are assigned",
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
