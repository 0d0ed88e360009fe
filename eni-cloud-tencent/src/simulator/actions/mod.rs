//! The actions, by the things they are about.

mod addresses;
mod eips;
mod groups;
mod instances;
mod interfaces;
mod listings;
mod places;
mod sts;
mod tags;
mod task_results;
mod used;

use eni_core::cloud::{CloudError, CloudErrorKind};
use serde_json::{Map, Value};

use super::{
    desk::Desk,
    parameters::Parameters,
    refusal::{Refusal, Verdict, refuse},
    schema::Action,
};

/// What an action answers.
pub(super) type Answer = Verdict<Map<String, Value>>;

/// Carries out an action whose parameters the schema has accepted.
pub(super) async fn call(desk: &Desk, name: &str, parameters: &Parameters<'_>, request_id: &str) -> Answer {
    let p = parameters;
    match name {
        "AllocateAddresses" => desk.allocate_eips(p),
        "AssignIpv6Addresses" => desk.assign_v6(p, request_id).await,
        "AssignPrivateIpAddresses" => desk.assign_v4(p, request_id).await,
        "AssociateAddress" => desk.associate_eip(p),
        "AssociateNetworkInterfaceSecurityGroups" => desk.associate_groups(p),
        "AssumeRole" | "AssumeRoleWithWebIdentity" => desk.assume_role(p),
        "AttachNetworkInterface" => desk.attach(p, request_id).await,
        "CreateAndAttachNetworkInterface" => desk.create_and_attach(p, request_id).await,
        "CreateNetworkInterface" => desk.create(p, request_id).await,
        "CreateReserveIpAddresses" => desk.create_reserves(p),
        "DeleteNetworkInterface" => desk.delete(p, request_id).await,
        "DeleteReserveIpAddresses" => desk.delete_reserves(p),
        "DescribeAddressQuota" => desk.describe_eip_quota(),
        "DescribeAddresses" => desk.describe_eips(p),
        "DescribeInstances" => desk.describe_instances(p).await,
        "DescribeNetworkInterfaceLimit" => desk.describe_limit(p),
        "DescribeNetworkInterfaces" => desk.describe_enis(p).await,
        "DescribeReserveIpAddresses" => desk.describe_reserves(p),
        "DescribeSecurityGroups" => desk.describe_groups(p),
        "DescribeSubnets" => desk.describe_subnets(p).await,
        "DescribeTaskResult" => desk.describe_eip_task(p),
        "DescribeUsedIpAddress" => desk.describe_used_ips(p),
        "DescribeVpcPrivateIpAddresses" => desk.describe_private_ips(p),
        "DescribeVpcTaskResult" => desk.describe_vpc_task(p),
        "DescribeVpcs" => desk.describe_vpcs(p),
        "DescribeZones" => desk.describe_zones(),
        "DetachNetworkInterface" => desk.detach(p, request_id).await,
        "DisassociateAddress" => desk.disassociate_eip(p),
        "DisassociateNetworkInterfaceSecurityGroups" => desk.disassociate_groups(p),
        "GetCallerIdentity" => desk.caller_identity(),
        "GetResources" => desk.get_resources(p),
        "MigrateNetworkInterface" => desk.migrate_eni(p, request_id).await,
        "MigratePrivateIpAddress" => desk.migrate_address(p, request_id).await,
        "ModifyAddressAttribute" => desk.modify_eip(p),
        "ModifyNetworkInterfaceAttribute" => desk.modify_eni(p),
        "ModifyPrivateIpAddressesAttribute" => desk.modify_addresses(p),
        "ReleaseAddresses" => desk.release_eips(p),
        "TagResources" => desk.tag(p),
        "UnTagResources" => desk.untag(p),
        "UnassignIpv6Addresses" => desk.unassign(p, request_id, "Ipv6Addresses", "Address").await,
        "UnassignPrivateIpAddresses" => {
            desk.unassign(p, request_id, "PrivateIpAddresses", "PrivateIpAddress")
                .await
        }
        _ => refuse!(
            "UnsupportedOperation",
            "The simulator does not carry out `{name}`."
        ),
    }
}

/// The members of a `json!` object.
fn members(value: Value) -> Answer {
    match value {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

/// The memory cloud's refusal in the words of an action.
fn refusal(action: &Action, error: CloudError) -> Refusal {
    let code = match error.kind {
        CloudErrorKind::Throttled { .. } => "RequestLimitExceeded",
        CloudErrorKind::Exhausted { .. } => "ResourceInsufficient.Subnet",
        CloudErrorKind::Quota => "LimitExceeded",
        CloudErrorKind::NotFound => "ResourceNotFound",
        CloudErrorKind::Conflict => action.code(&[
            "UnsupportedOperation.MutexOperationTaskRunning",
            "UnsupportedOperation.InvalidState",
            "UnsupportedOperation",
        ]),
        CloudErrorKind::AddressTaken => action.code(&["ResourceInUse.Address", "ResourceInUse"]),
        CloudErrorKind::Denied => "UnauthorizedOperation",
        CloudErrorKind::Invalid => action.code(&[
            "InvalidParameterValue.Range",
            "InvalidParameterValue",
            "UnsupportedOperation",
        ]),
        _ => "InternalError",
    };
    Refusal::new(code, error.message)
}
