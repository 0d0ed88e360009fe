//! Actions about subnets and instances.

use serde::{Deserialize, Serialize};

use super::{Action, Filter, Product, nullable};

/// Lists subnets; its numbers are strings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeSubnets {
    pub(crate) subnet_ids: Vec<String>,
    pub(crate) offset: String,
    pub(crate) limit: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Subnets {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) subnet_set: Vec<Subnet>,
}

impl Action for DescribeSubnets {
    const NAME: &'static str = "DescribeSubnets";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Subnets;
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Subnet {
    pub(crate) subnet_id: String,
    pub(crate) vpc_id: String,
    pub(crate) zone: String,
    pub(crate) cidr_block: String,
    pub(crate) available_ip_address_count: u64,
}

/// How many ENIs and addresses an instance can carry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeNetworkInterfaceLimit {
    pub(crate) instance_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkInterfaceLimit {
    pub(crate) eni_quantity: i64,
    pub(crate) eni_private_ip_address_quantity: i64,
}

impl Action for DescribeNetworkInterfaceLimit {
    const NAME: &'static str = "DescribeNetworkInterfaceLimit";
    const PRODUCT: Product = Product::Vpc;
    type Answer = NetworkInterfaceLimit;
}

/// Lists instances, by ids or by filters and never by both.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeInstances {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) instance_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<Filter>,
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

/// Values that one filter of [`DescribeInstances`] takes.
pub(crate) const INSTANCE_FILTER_VALUES: usize = 5;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Instances {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) instance_set: Vec<Instance>,
    pub(crate) total_count: Option<usize>,
}

impl Action for DescribeInstances {
    const NAME: &'static str = "DescribeInstances";
    const PRODUCT: Product = Product::Cvm;
    type Answer = Instances;
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Instance {
    pub(crate) instance_id: String,
    pub(crate) placement: Placement,
    pub(crate) virtual_private_cloud: VirtualPrivateCloud,
    pub(crate) instance_state: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Placement {
    pub(crate) zone: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VirtualPrivateCloud {
    pub(crate) vpc_id: String,
}
