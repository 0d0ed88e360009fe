//! An ENI as the cloud shows it, and as the cluster plans it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{EniId, InstanceId, Mac, NodeName, SecurityGroupId, SubnetId, Zone};

/// Whether an ENI came with its instance or was attached later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EniKind {
    /// The instance's own, created and deleted with it; never ours to touch.
    Primary,
    /// Attached to an instance that already runs.
    Secondary,
}

/// Where an ENI stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EniState {
    /// Being created.
    Pending,
    /// Exists, attached to nothing.
    Available,
    /// On its way to an instance.
    Attaching,
    /// On an instance.
    InUse,
    /// On its way off an instance.
    Detaching,
    /// Being deleted.
    Deleting,
}

impl EniState {
    /// Whether the cloud is still at work on it; the next state comes without a call of ours.
    pub fn is_transitional(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Attaching | Self::Detaching | Self::Deleting
        )
    }
}

/// One address of an ENI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EniAddress {
    /// The address.
    pub ip: IpAddr,
    /// The ENI's own address, which it keeps for life and no pod gets.
    pub primary: bool,
    /// Whether the cloud already delivers traffic for it.
    pub ready: bool,
}

/// An ENI as the cloud shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eni {
    /// The cloud's id.
    pub id: EniId,
    /// The name it was created with.
    pub name: String,
    /// The MAC by which a node finds the device.
    pub mac: Mac,
    /// Primary or secondary.
    pub kind: EniKind,
    /// Where it stands.
    pub state: EniState,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Its zone.
    pub zone: Zone,
    /// The instance that has it, is getting it or is losing it.
    pub instance: Option<InstanceId>,
    /// Every address, the primary one included.
    pub addresses: Vec<EniAddress>,
    /// Security groups, by priority.
    pub security_groups: Vec<SecurityGroupId>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Eni {
    /// The address that the ENI keeps for life.
    pub fn primary_address(&self) -> Option<IpAddr> {
        self.addresses
            .iter()
            .find(|address| address.primary)
            .map(|address| address.ip)
    }

    /// The addresses that pods may get.
    pub fn secondary_addresses(&self) -> impl Iterator<Item = &EniAddress> {
        self.addresses.iter().filter(|address| !address.primary)
    }
}

/// What ipamd wants of an ENI of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// It shall exist and be attached to its node.
    Attached,
    /// It shall be detached and deleted.
    Deleted,
}

/// Our own record of an ENI (the kind `VpcENI`): it exists before the cloud's ENI does, so that a
/// creation whose answer was lost is found again, and goes after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EniRecord {
    /// Our name, unique in the cluster and also the cloud ENI's name.
    pub name: String,
    /// The creation's client token, chosen before the call, so that a repetition makes no second ENI.
    pub token: String,
    /// The node it serves.
    pub node: NodeName,
    /// The instance behind that node.
    pub instance: InstanceId,
    /// The subnet it is created in.
    pub subnet: SubnetId,
    /// Secondary addresses that the creation asks for.
    pub secondary: u32,
    /// What we want.
    pub intent: Intent,
    /// The cloud's id, once the creation was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EniId>,
}
