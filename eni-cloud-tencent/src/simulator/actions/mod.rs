//! The actions, by the things they are about.

mod addresses;
mod instances;
mod interfaces;
mod listings;
mod places;
mod sts;
mod tags;
mod task_results;

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
        "AssumeRole" | "AssumeRoleWithWebIdentity" => desk.assume_role(p),
        "AttachNetworkInterface" => desk.attach(p, request_id).await,
        "AssignIpv6Addresses" => desk.assign_v6(p, request_id).await,
        "AssignPrivateIpAddresses" => desk.assign_v4(p, request_id).await,
        "CreateAndAttachNetworkInterface" => desk.create_and_attach(p, request_id).await,
        "CreateNetworkInterface" => desk.create(p, request_id).await,
        "DeleteNetworkInterface" => desk.delete(p, request_id).await,
        "DescribeInstances" => desk.describe_instances(p).await,
        "DescribeNetworkInterfaceLimit" => desk.describe_limit(p),
        "DescribeNetworkInterfaces" => desk.describe_enis(p).await,
        "DescribeSubnets" => desk.describe_subnets(p).await,
        "DescribeVpcTaskResult" => desk.describe_vpc_task(p),
        "DescribeVpcs" => desk.describe_vpcs(p),
        "DescribeZones" => desk.describe_zones(),
        "DetachNetworkInterface" => desk.detach(p, request_id).await,
        "GetCallerIdentity" => desk.caller_identity(),
        "GetResources" => desk.get_resources(p),
        "MigrateNetworkInterface" => desk.migrate_eni(p, request_id).await,
        "MigratePrivateIpAddress" => desk.migrate_address(p, request_id).await,
        "ModifyNetworkInterfaceAttribute" => desk.modify_eni(p),
        "ModifyPrivateIpAddressesAttribute" => desk.modify_addresses(p),
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
