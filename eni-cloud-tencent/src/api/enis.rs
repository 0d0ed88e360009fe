//! Actions about ENIs.

use serde::{Deserialize, Serialize};

use super::{Action, Done, Filter, Ipv6Address, PrivateIpAddress, Product, Tag, nullable};

/// Makes a secondary ENI; it starts in the state PENDING.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetworkInterface {
    pub(crate) vpc_id: String,
    pub(crate) subnet_id: String,
    /// 60 bytes at most.
    pub(crate) network_interface_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) security_group_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secondary_private_ip_address_count: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) network_interface: NetworkInterface,
}

impl Action for CreateNetworkInterface {
    const NAME: &'static str = "CreateNetworkInterface";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Created;
}

/// Attaches an ENI. Its client token is left out: the order is judged by the ENI's state, and a token that was
/// used before the ENI was detached would answer for the next attachment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttachNetworkInterface {
    pub(crate) network_interface_id: String,
    pub(crate) instance_id: String,
}

impl Action for AttachNetworkInterface {
    const NAME: &'static str = "AttachNetworkInterface";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Done;
}

/// Detaches an ENI.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DetachNetworkInterface {
    pub(crate) network_interface_id: String,
    pub(crate) instance_id: String,
}

impl Action for DetachNetworkInterface {
    const NAME: &'static str = "DetachNetworkInterface";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Done;
}

/// Deletes an ENI that is attached to nothing, with its addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteNetworkInterface {
    pub(crate) network_interface_id: String,
}

impl Action for DeleteNetworkInterface {
    const NAME: &'static str = "DeleteNetworkInterface";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Done;
}

/// Lists ENIs, a page at a time.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNetworkInterfaces {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<Filter>,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkInterfaces {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) network_interface_set: Vec<NetworkInterface>,
    pub(crate) total_count: Option<usize>,
}

impl Action for DescribeNetworkInterfaces {
    const NAME: &'static str = "DescribeNetworkInterfaces";
    const PRODUCT: Product = Product::Vpc;
    type Answer = NetworkInterfaces;
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkInterface {
    pub(crate) network_interface_id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) network_interface_name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) subnet_id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) zone: String,
    /// Upper case.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) mac_address: String,
    /// PENDING, AVAILABLE (attached or not), ATTACHING, DETACHING or DELETING.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) state: String,
    /// What tells an instance's own ENI; `EniType` is not to be trusted.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) primary: bool,
    #[serde(default)]
    pub(crate) attachment: Option<Attachment>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) private_ip_address_set: Vec<PrivateIpAddress>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) ipv6_address_set: Vec<Ipv6Address>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) group_set: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) tag_set: Vec<Tag>,
}

impl NetworkInterface {
    /// The instance that has it, is getting it or is losing it.
    pub(crate) fn instance(&self) -> Option<&str> {
        let id = self.attachment.as_ref()?.instance_id.as_deref();
        id.filter(|id| !id.is_empty())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Attachment {
    pub(crate) instance_id: Option<String>,
}
