//! A virtual machine, and how much network it can carry.

use serde::{Deserialize, Serialize};

use super::{InstanceId, VpcId, Zone};

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceState {
    /// Starting, running or rebooting.
    Running,
    /// Shut down; its ENIs stay attached and can be detached.
    Stopped,
    /// Gone, or on its way there.
    Terminated,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The cloud's id.
    pub id: InstanceId,
    /// Its zone.
    pub zone: Zone,
    /// Its VPC.
    pub vpc: VpcId,
    /// Where it stands.
    pub state: InstanceState,
}

/// What the cloud lets one instance carry. Both figures count the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// ENIs, the primary ENI included.
    pub enis: u32,
    /// IPv4 addresses on one ENI, its primary address included.
    pub addresses_per_eni: u32,
}

impl Limits {
    /// ENIs that can be added to the primary one.
    pub fn secondary_enis(self) -> u32 {
        self.enis.saturating_sub(1)
    }

    /// Addresses that pods can have on one ENI.
    pub fn secondary_addresses(self) -> u32 {
        self.addresses_per_eni.saturating_sub(1)
    }

    /// Pods that the instance can carry on secondary ENIs: (ENIs - 1) x (addresses - 1).
    pub fn pods(self) -> u32 {
        self.secondary_enis().saturating_mul(self.secondary_addresses())
    }
}
