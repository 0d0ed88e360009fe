//! Actions about the addresses of an ENI.

use serde::{Deserialize, Serialize};

use super::{Action, Done, Product, nullable};

/// Addresses that one request may name or ask for.
pub(crate) const BATCH: u32 = 10;

/// Adds IPv4 addresses, either any of the subnet or these.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssignPrivateIpAddresses {
    pub(crate) network_interface_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) private_ip_addresses: Vec<NamedPrivateIpAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secondary_private_ip_address_count: Option<u32>,
    pub(crate) client_token: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssignedPrivateIpAddresses {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) private_ip_address_set: Vec<PrivateIpAddress>,
}

impl Action for AssignPrivateIpAddresses {
    const NAME: &'static str = "AssignPrivateIpAddresses";
    const PRODUCT: Product = Product::Vpc;
    type Answer = AssignedPrivateIpAddresses;
}

/// Removes IPv4 addresses; never the primary one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnassignPrivateIpAddresses {
    pub(crate) network_interface_id: String,
    pub(crate) private_ip_addresses: Vec<NamedPrivateIpAddress>,
}

impl Action for UnassignPrivateIpAddresses {
    const NAME: &'static str = "UnassignPrivateIpAddresses";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Done;
}

/// Moves an IPv4 address to another ENI of its subnet; never the primary one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MigratePrivateIpAddress {
    pub(crate) source_network_interface_id: String,
    pub(crate) destination_network_interface_id: String,
    pub(crate) private_ip_address: String,
}

impl Action for MigratePrivateIpAddress {
    const NAME: &'static str = "MigratePrivateIpAddress";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Done;
}

/// Adds IPv6 addresses, either any of the subnet or these.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssignIpv6Addresses {
    pub(crate) network_interface_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ipv6_addresses: Vec<NamedIpv6Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ipv6_address_count: Option<u32>,
    /// The international site does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssignedIpv6Addresses {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) ipv6_address_set: Vec<Ipv6Address>,
}

impl Action for AssignIpv6Addresses {
    const NAME: &'static str = "AssignIpv6Addresses";
    const PRODUCT: Product = Product::Vpc;
    type Answer = AssignedIpv6Addresses;
}

/// Removes IPv6 addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UnassignIpv6Addresses {
    pub(crate) network_interface_id: String,
    pub(crate) ipv6_addresses: Vec<NamedIpv6Address>,
}

impl Action for UnassignIpv6Addresses {
    const NAME: &'static str = "UnassignIpv6Addresses";
    const PRODUCT: Product = Product::Vpc;
    type Answer = Done;
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NamedPrivateIpAddress {
    pub(crate) private_ip_address: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NamedIpv6Address {
    pub(crate) address: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PrivateIpAddress {
    pub(crate) private_ip_address: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) primary: bool,
    /// AVAILABLE once traffic is delivered; PENDING, MIGRATING or DELETING.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) state: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Ipv6Address {
    pub(crate) address: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) primary: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) state: String,
}
