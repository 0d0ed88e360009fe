//! Our kinds (`networking.tke.cloud.tencent.com/v1`), as far as they are shown; `eni_kube::crd` defines them.

use std::net::IpAddr;

use serde::Deserialize;

/// The part of an object's metadata that is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    /// The object's name.
    pub name: String,
}

/// NodeENIConfig: the pool of the node of the same name.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeConfig {
    /// The node's name.
    pub metadata: Metadata,
    /// What the node is.
    pub spec: NodeSpec,
    /// What ipamd published; `None` until it has.
    pub status: Option<Pool>,
    /// What the agent reported; `None` until it has.
    pub agent: Option<Report>,
}

/// What a node is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// Its instance.
    pub instance: String,
    /// The uid of the Node that this was made for.
    pub node_uid: String,
    /// Its zone.
    #[serde(default)]
    pub zone: String,
}

/// A node's pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// ENIs in service.
    #[serde(default)]
    pub eni_infos: Vec<Eni>,
    /// Addresses that the instance can carry.
    #[serde(default)]
    pub capacity: usize,
    /// Addresses that the node can attain.
    #[serde(default)]
    pub granted: usize,
}

impl Pool {
    /// Addresses that the agent may give out.
    pub fn attached(&self) -> impl Iterator<Item = IpAddr> {
        self.eni_infos
            .iter()
            .flat_map(|eni| &eni.attached)
            .map(|stay| stay.ip)
    }
}

/// An ENI in service.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Eni {
    /// The cloud's id.
    pub id: String,
    /// Its MAC.
    pub mac: String,
    /// Its subnet.
    pub subnet: String,
    /// Addresses for pods.
    #[serde(default)]
    pub attached: Vec<Stay>,
    /// Addresses that ipamd is taking off.
    #[serde(default)]
    pub releasing: Vec<Stay>,
}

/// An address on an ENI.
#[derive(Clone, Debug, Deserialize)]
pub struct Stay {
    /// The address.
    pub ip: IpAddr,
}

/// What an agent reported.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Report {
    /// Addresses offered back.
    #[serde(default)]
    pub withdrawn: Vec<Stay>,
    /// Addresses that cool down, or are owned by sandboxes whose pods are gone.
    #[serde(default)]
    pub held: usize,
    /// Sandboxes that wait.
    #[serde(default)]
    pub short: usize,
    /// Addresses that the node advertises.
    #[serde(default)]
    pub advertised: usize,
}

/// VpcENI: ipamd's record of an ENI.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct EniRecord {
    /// The record's name.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: RecordSpec,
    /// What the cloud answered.
    pub status: Option<RecordStatus>,
}

impl EniRecord {
    /// The cloud's id, once the creation was answered.
    pub fn id(&self) -> Option<&str> {
        self.status.as_ref()?.id.as_deref()
    }
}

/// What is wanted of an ENI.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RecordSpec {
    /// The node that it serves.
    pub node: String,
    /// Its subnet.
    pub subnet: String,
    /// `Attached` or `Deleted`.
    pub intent: String,
}

/// What the cloud answered.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RecordStatus {
    /// The ENI's id.
    #[serde(rename = "eniID")]
    pub id: Option<String>,
}
