//! The calls that a cloud takes, as values.

use std::fmt;

/// One method of [`Cloud`](super::Cloud) that reaches the cloud: what limits, durations and counts are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Call {
    /// [`Cloud::instances`](super::Cloud::instances)
    Instances,
    /// [`Cloud::limits`](super::Cloud::limits)
    Limits,
    /// [`Cloud::subnets`](super::Cloud::subnets)
    Subnets,
    /// [`Cloud::enis`](super::Cloud::enis)
    Enis,
    /// [`Cloud::create_eni`](super::Cloud::create_eni)
    CreateEni,
    /// [`Cloud::attach_eni`](super::Cloud::attach_eni)
    AttachEni,
    /// [`Cloud::detach_eni`](super::Cloud::detach_eni)
    DetachEni,
    /// [`Cloud::delete_eni`](super::Cloud::delete_eni)
    DeleteEni,
    /// [`Cloud::assign_addresses`](super::Cloud::assign_addresses)
    AssignAddresses,
    /// [`Cloud::unassign_addresses`](super::Cloud::unassign_addresses)
    UnassignAddresses,
    /// [`Cloud::migrate_address`](super::Cloud::migrate_address)
    MigrateAddress,
}

impl Call {
    /// Every call, in the order of its discriminant.
    pub const ALL: [Self; 11] = [
        Self::Instances,
        Self::Limits,
        Self::Subnets,
        Self::Enis,
        Self::CreateEni,
        Self::AttachEni,
        Self::DetachEni,
        Self::DeleteEni,
        Self::AssignAddresses,
        Self::UnassignAddresses,
        Self::MigrateAddress,
    ];

    /// The method's name, as errors and counts have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Limits => "limits",
            Self::Subnets => "subnets",
            Self::Enis => "enis",
            Self::CreateEni => "create_eni",
            Self::AttachEni => "attach_eni",
            Self::DetachEni => "detach_eni",
            Self::DeleteEni => "delete_eni",
            Self::AssignAddresses => "assign_addresses",
            Self::UnassignAddresses => "unassign_addresses",
            Self::MigrateAddress => "migrate_address",
        }
    }

    /// It changes nothing in the cloud, so that a repetition is always harmless.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Instances | Self::Limits | Self::Subnets | Self::Enis)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
