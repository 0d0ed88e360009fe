//! A subnet as the cloud shows it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{SubnetId, VpcId, Zone};

/// A subnet as the cloud shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The cloud's id.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its zone; an ENI of it can go to instances of that zone only.
    pub zone: Zone,
    /// Its address range.
    pub cidr: IpNet,
    /// The router's address in it.
    pub gateway: IpAddr,
    /// Addresses that were free at the last reading.
    pub free: u32,
}
