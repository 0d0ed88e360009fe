//! What people must be told about a node.

use crate::{
    cluster::{Event, Subject},
    model::{EniId, InstanceId, NodeName, Zone},
    policy::InvalidWarmRange,
};

/// Something about a node that only people can mend, or that they should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// No configured subnet of the node's zone has room for what its pods need.
    Starved(Option<Zone>),
    /// The node's own warm range makes no sense and is ignored.
    InvalidWarmRange(InvalidWarmRange),
    /// An ENI of the node belongs to an earlier instance of its name that may still be alive.
    Stranded {
        /// The ENI, if its creation was answered.
        eni: Option<EniId>,
        /// Our record of it.
        record: String,
        /// The instance it is for.
        old: InstanceId,
        /// The node's instance now.
        new: Option<InstanceId>,
    },
}

impl Notice {
    /// The event that tells it at the node.
    pub fn event(&self, node: &NodeName) -> Event {
        Event {
            subject: Subject::Node(node.clone()),
            warning: true,
            reason: self.reason(),
            message: self.message(),
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Starved(_) => "SubnetExhausted",
            Self::InvalidWarmRange(_) => "InvalidWarmRange",
            Self::Stranded { .. } => "ENIOfFormerInstance",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Starved(zone) => {
                let zone = zone.as_ref().map_or("unknown", Zone::as_str);
                format!(
                    "no configured subnet of zone {zone} has room for the pods of this node; add a subnet of \
                     this zone, or free addresses"
                )
            }
            Self::InvalidWarmRange(invalid) => invalid.to_string(),
            Self::Stranded {
                eni,
                record,
                old,
                new,
            } => {
                let eni = eni.as_ref().map_or(record.as_str(), EniId::as_str);
                let new = new.as_ref().map_or("unknown", InstanceId::as_str);
                format!(
                    "ENI {eni} was made for instance {old}, the node now runs on {new}; the ENI stays until \
                     {old} is terminated; terminate it, or detach the ENI by hand"
                )
            }
        }
    }
}
