//! NodeENIConfig.

use std::{collections::BTreeMap, net::IpAddr};

use eni_core::model::{
    AgentReport, EniId, Mac, NodeConfig, NodePool, NodeSpec, PoolAddress, PoolEni, SubnetId, Uid,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{name, part};
use crate::crd::{GROUP, NODE_LABEL, VERSION};

/// `status`: the pool, with TKE's names for its parts.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    eni_infos: Vec<EniInfo>,
    maximum: u32,
    capacity: u32,
    #[serde(default)]
    granted: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_claim: bool,
}

#[derive(Serialize, Deserialize)]
struct EniInfo {
    id: EniId,
    mac: Mac,
    subnet: SubnetId,
    #[serde(rename = "subnetCIDR")]
    cidr: IpNet,
    gateway: IpAddr,
    primary: IpAddr,
    attached: Vec<PoolAddress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releasing: Vec<PoolAddress>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reserved: BTreeMap<IpAddr, Uid>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evicting: Vec<IpAddr>,
}

/// An operator's setting that makes no sense is read as it is: the core judges it, and goes on without it.
pub(crate) fn read(object: &Value) -> Result<NodeConfig, String> {
    let spec: NodeSpec = part(object, "spec")?;
    let status: Option<Status> = part(object, "status")?;
    let agent: Option<AgentReport> = part(object, "agent")?;
    Ok(NodeConfig {
        name: name(object)?.into(),
        spec,
        pool: status.map(NodePool::from).unwrap_or_default(),
        agent: agent.unwrap_or_default(),
    })
}

pub(crate) fn write(config: &NodeConfig) -> Value {
    let pool = &config.pool;
    let mut status = json!(Status::from(pool.clone()));
    status["eniCount"] = json!(pool.enis.len());
    status["addressCount"] = json!(pool.attached());
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "NodeENIConfig",
        "metadata": {"name": config.name, "labels": {NODE_LABEL: config.name}},
        "spec": config.spec,
        "status": status,
        "agent": config.agent,
    })
}

/// Without an agent's report that says nothing: who looks at the object sees that no agent has reported yet.
pub(crate) fn fresh(config: &NodeConfig) -> Value {
    let mut object = write(config);
    if config.agent == AgentReport::default()
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("agent");
    }
    object
}

impl From<Status> for NodePool {
    fn from(status: Status) -> Self {
        Self {
            enis: status.eni_infos.into_iter().map(PoolEni::from).collect(),
            maximum: status.maximum,
            capacity: status.capacity,
            granted: status.granted,
            by_claim: status.by_claim,
        }
    }
}

impl From<NodePool> for Status {
    fn from(pool: NodePool) -> Self {
        Self {
            eni_infos: pool.enis.into_iter().map(EniInfo::from).collect(),
            maximum: pool.maximum,
            capacity: pool.capacity,
            granted: pool.granted,
            by_claim: pool.by_claim,
        }
    }
}

impl From<EniInfo> for PoolEni {
    fn from(info: EniInfo) -> Self {
        Self {
            id: info.id,
            mac: info.mac,
            subnet: info.subnet,
            cidr: info.cidr,
            gateway: info.gateway,
            primary: info.primary,
            attached: info.attached,
            releasing: info.releasing,
            reserved: info.reserved,
            evicting: info.evicting,
        }
    }
}

impl From<PoolEni> for EniInfo {
    fn from(eni: PoolEni) -> Self {
        Self {
            id: eni.id,
            mac: eni.mac,
            subnet: eni.subnet,
            cidr: eni.cidr,
            gateway: eni.gateway,
            primary: eni.primary,
            attached: eni.attached,
            releasing: eni.releasing,
            reserved: eni.reserved,
            evicting: eni.evicting,
        }
    }
}
