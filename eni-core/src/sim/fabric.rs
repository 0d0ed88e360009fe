//! The data plane behind a memory cloud.

use std::net::IpAddr;

use crate::model::{Eni, EniId, InstanceId};

/// One change of what the cloud delivers, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FabricChange {
    /// An ENI exists; the addresses it came with are delivered once it is attached.
    EniCreated {
        /// The ENI.
        eni: Eni,
    },
    /// An ENI is on an instance: its device appears there.
    EniAttached {
        /// The ENI with all of its addresses.
        eni: Eni,
        /// The instance.
        instance: InstanceId,
    },
    /// An ENI is off its instance: its device is gone there.
    EniDetached {
        /// The ENI.
        eni: EniId,
        /// The instance it was on.
        instance: InstanceId,
    },
    /// An ENI that exists has one more address.
    AddressAssigned {
        /// The ENI.
        eni: EniId,
        /// The address.
        ip: IpAddr,
    },
    /// An ENI has one address less.
    AddressUnassigned {
        /// The ENI.
        eni: EniId,
        /// The address.
        ip: IpAddr,
    },
    /// An ENI is gone, with all of its addresses.
    EniDeleted {
        /// The ENI.
        eni: EniId,
    },
}

/// Carries out what a memory cloud decides about the data plane.
///
/// # Contract
///
/// `apply` is called in order, once for each change, at the moment of the change, and before any caller of
/// the cloud can see it. It may block. It must not call the cloud.
pub trait Fabric: Send + Sync {
    /// Carries out one change.
    fn apply(&self, change: &FabricChange);
}
