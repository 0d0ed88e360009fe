//! Values only: what the system talks about. No I/O, no async, no decisions.

mod address;
mod address_record;
mod claim;
mod claim_defaults;
mod eni;
mod ids;
mod instance;
mod node;
mod node_config;
mod pod;
mod sandbox;
mod subnet;

pub use address::{Families, Family, PodAddresses};
pub use address_record::AddressRecord;
pub use claim::{Claim, ClaimPhase, ClaimRequest, DeletePolicy, SubnetChoice, Workload};
pub use claim_defaults::ClaimDefaults;
pub use eni::{Eni, EniAddress, EniKind, EniRecord, EniState, Intent};
pub use ids::{
    EniId, Generation, InstanceId, InvalidMac, Mac, NodeName, SecurityGroupId, SubnetId, Uid, VpcId, Zone,
};
pub use instance::{Instance, InstanceState, Limits};
pub use node::Node;
pub use node_config::{AgentReport, NodeConfig, NodePool, NodeSpec, PoolAddress, PoolEni, WarmRange};
pub use pod::{Pod, PodKey, PodPhase};
pub use sandbox::{Allocation, Claimant, Netns, Origin, SandboxKey};
pub use subnet::Subnet;
