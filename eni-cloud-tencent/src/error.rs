//! What the API's error codes mean.
//!
//! A code is `Family` or `Family.Detail`. The whole code is looked up first and its family second,
//! because families lie: `LimitExceeded.ActionLimited` is throttling, `UnauthorizedOperation.PrimaryIp`
//! is no matter of permissions, `InvalidRegion.NotFound` means that nothing is gone. Messages are never
//! looked at: their language and wording change. The codes are those that Tencent's SDKs list for each
//! action, which is not a promise that no others come.

use eni_core::{
    cloud::{CloudError, CloudErrorKind},
    model::SubnetId,
};

/// What a code says, in the API's own distinctions, which are finer than the core's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Not executed: too many calls in this second.
    Throttled,
    /// Not executed: another operation is under way on the same thing; it ends in seconds.
    Busy,
    /// The thing's state excludes the operation.
    State,
    /// The server failed; whether it executed the call is unknown.
    ServerFault,
    /// The subnet has no free address.
    SubnetFull,
    /// A limit of the instance, the ENI, the VPC or the account.
    Quota,
    /// An address that was asked for by value belongs to something else.
    AddressTaken,
    /// The thing that the call is about does not exist.
    Gone,
    /// What the call wants to bring about exists already, perhaps with another owner.
    AlreadySo,
    /// The request is wrong.
    Misuse,
    /// The keys are unknown, expired or do not fit: fresh ones may help.
    Credentials,
    /// The signature's time is more than 300 s off: a clock is wrong.
    Clock,
    /// The account may not do this.
    Denied,
}

impl Class {
    /// The class of a code; `None` for a code of no known family.
    pub fn of(code: &str) -> Option<Self> {
        let family = code.split_once('.').map_or(code, |(family, _)| family);
        Self::of_code(code).or_else(|| Self::of_family(family))
    }

    /// The codes that differ from their family.
    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "LimitExceeded.ActionLimited" => Self::Throttled,

            "OperationDenied.MutexTaskRunning"
            | "UnsupportedOperation.IdempotentProcessing"
            | "UnsupportedOperation.MutexOperationTaskRunning"
            | "UnsupportedOperation.TagAllocate"
            | "UnsupportedOperation.TagFree" => Self::Busy,

            "InvalidAddressId.Blocked"
            | "InvalidParameterValue.AddressAttacked"
            | "InvalidParameterValue.AddressNotApplicable"
            | "InvalidParameterValue.InstanceNormalPublicIpBlocked"
            | "InvalidParameterValue.InvalidInstanceState"
            | "UnsupportedOperation.AddressStatusNotPermit"
            | "UnsupportedOperation.InstanceStateNotSupported"
            | "UnsupportedOperation.InstanceStatusNotPermit"
            | "UnsupportedOperation.InvalidState"
            | "UnsupportedOperation.ResourceIsInvalidState"
            | "UnsupportedOperation.UnpaidOrderAlreadyExists" => Self::State,

            "UnsupportedOperation.DeliveryFailed" => Self::ServerFault,

            "ResourceInsufficient" | "ResourceInsufficient.Subnet" => Self::SubnetFull,

            "FailedOperation.BalanceInsufficient"
            | "InvalidParameterValue.LimitExceeded"
            | "InvalidParameterValue.TagNotAllocatedQuota" => Self::Quota,

            "InvalidParameterValue.AddressIpNotAvailable" => Self::AddressTaken,

            "FailedOperation.AddressEniInfoNotFound"
            | "FailedOperation.MasterEniNotFound"
            | "InvalidAddressId.NotFound"
            | "InvalidInstanceId.NotFound"
            | "InvalidNetworkInterfaceId.NotFound"
            | "InvalidParameterValue.AddressNotFound"
            | "InvalidParameterValue.NetworkInterfaceNotFound"
            | "InvalidParameterValue.ResourceNotExisted"
            | "InvalidParameterValue.ResourceNotFound"
            | "InvalidSecurityGroupId.NotFound"
            | "UnauthorizedOperation.AttachmentNotFound"
            | "UnsupportedOperation.AttachmentNotFound"
            | "UnsupportedOperation.RecordNotExists" => Self::Gone,

            "InvalidInstanceId.AlreadyBindEip"
            | "InvalidParameterValue.AddressAlreadyHasPassThrough"
            | "InvalidParameterValue.InstanceHasWanIP"
            | "InvalidParameterValue.LBAlreadyBindEip"
            | "InvalidPrivateIpAddress.AlreadyBindEip"
            | "UnsupportedOperation.AttachmentAlreadyExists"
            | "UnsupportedOperation.RecordExists" => Self::AlreadySo,

            "AuthFailure.InvalidAuthorization"
            | "FailedOperation.IllegalTagKey"
            | "FailedOperation.IllegalTagValue"
            | "FailedOperation.InvalidRegion"
            | "FailedOperation.TagKeyReserved"
            | "LimitExceeded.NumberOfFilters"
            | "UnauthorizedOperation.PrimaryIp" => Self::Misuse,

            "AuthFailure.InvalidSecretId"
            | "AuthFailure.SecretIdNotFound"
            | "AuthFailure.SignatureFailure"
            | "AuthFailure.TokenFailure"
            | "UnauthorizedOperation.InvalidToken" => Self::Credentials,

            "AuthFailure.SignatureExpire" => Self::Clock,

            "UnsupportedOperation.AccountNotSupported" | "UnsupportedOperation.TagNotPermit" => Self::Denied,

            _ => return None,
        })
    }

    /// What the rest of a family means. A family of one meaning stands here alone.
    fn of_family(family: &str) -> Option<Self> {
        Some(match family {
            "RequestLimitExceeded" => Self::Throttled,

            "InvalidAddressIdStatus" | "InvalidAddressState" => Self::State,

            "FailedOperation"
            | "InternalError"
            | "InternalServerError"
            | "ResourceUnavailable"
            | "ServiceUnavailable" => Self::ServerFault,

            "AddressQuotaLimitExceeded" | "LimitExceeded" | "ResourceInsufficient" | "ResourcesSoldOut" => {
                Self::Quota
            }

            "ResourceInUse" => Self::AddressTaken,

            "ResourceNotFound" => Self::Gone,

            "ActionOffline"
            | "InvalidAction"
            | "InvalidAddressId"
            | "InvalidFilter"
            | "InvalidFilterValue"
            | "InvalidHostId"
            | "InvalidInstance"
            | "InvalidInstanceId"
            | "InvalidInstanceType"
            | "InvalidNetworkInterfaceId"
            | "InvalidParameter"
            | "InvalidParameterConflict"
            | "InvalidParameterValue"
            | "InvalidPrivateIpAddress"
            | "InvalidRegion"
            | "InvalidRequest"
            | "InvalidSecurityGroupId"
            | "InvalidSgId"
            | "InvalidZone"
            | "MissingParameter"
            | "NoSuchProduct"
            | "NoSuchVersion"
            | "RequestSizeLimitExceeded"
            | "ResponseSizeLimitExceeded"
            | "UnknownParameter"
            | "UnsupportedOperation"
            | "UnsupportedProtocol"
            | "UnsupportedRegion" => Self::Misuse,

            "AuthFailure"
            | "InvalidAccount"
            | "IpInBlacklist"
            | "IpNotInWhitelist"
            | "OperationDenied"
            | "UnauthorizedOperation" => Self::Denied,

            _ => return None,
        })
    }

    /// The core's word for it. A full subnet that the caller cannot name is a matter of quota: the
    /// caller asks for less, or elsewhere.
    pub fn kind(self, subnet: Option<&SubnetId>) -> CloudErrorKind {
        match self {
            Self::Throttled => CloudErrorKind::Throttled { retry_after: None },
            Self::Busy | Self::State | Self::AlreadySo => CloudErrorKind::Conflict,
            Self::AddressTaken => CloudErrorKind::AddressTaken,
            Self::ServerFault => CloudErrorKind::Unavailable,
            Self::SubnetFull => match subnet {
                Some(subnet) => CloudErrorKind::Exhausted {
                    subnet: subnet.clone(),
                },
                None => CloudErrorKind::Quota,
            },
            Self::Quota => CloudErrorKind::Quota,
            Self::Gone => CloudErrorKind::NotFound,
            Self::Misuse => CloudErrorKind::Invalid,
            Self::Credentials | Self::Clock | Self::Denied => CloudErrorKind::Denied,
        }
    }
}

/// A failure as the API reports it in the envelope of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The code, such as `ResourceInsufficient.Subnet`.
    pub code: String,
    /// The message, for people.
    pub message: String,
    /// The request's id.
    pub request_id: String,
}

impl ApiError {
    /// The core's error for a failed `action` on `resource`. `subnet` is the one that the call takes
    /// addresses from. A code of no known family is reported in the log and counts as an unknown outcome.
    pub fn into_cloud_error(
        self,
        action: &'static str,
        resource: &str,
        subnet: Option<&SubnetId>,
    ) -> CloudError {
        let class = Class::of(&self.code).unwrap_or_else(|| {
            let (code, request_id) = (&self.code, &self.request_id);
            tracing::warn!(
                action,
                resource,
                code,
                request_id,
                "unknown error code; outcome unknown"
            );
            Class::ServerFault
        });
        let said = format!("{}: {}", self.code, self.message);
        let message = match missing(class, &self.code, action) {
            Some(missing) => format!("{said} [{missing}]"),
            None => said,
        };
        CloudError {
            request_id: Some(self.request_id).filter(|id| !id.is_empty()),
            ..CloudError::new(class.kind(subnet), action, resource, message)
        }
    }
}

/// The permission or the quota that an operator must look at.
fn missing(class: Class, code: &str, action: &str) -> Option<String> {
    match class {
        Class::Denied => {
            let product = match action {
                "DescribeInstances" => "cvm",
                "AssumeRole" | "AssumeRoleWithWebIdentity" => "sts",
                _ => "vpc",
            };
            Some(format!(
                "the CAM policy of these keys must allow {product}:{action}"
            ))
        }
        Class::Credentials => Some("the keys are unknown, expired or wrong".to_owned()),
        Class::Clock => Some("signatures are good for 300 s: set the clock by NTP".to_owned()),
        Class::Quota => Some(format!("quota: {}", quota(code, action))),
        _ => None,
    }
}

/// Which quota a code is about, as far as the code and the action say.
fn quota(code: &str, action: &str) -> &'static str {
    match (code, action) {
        ("LimitExceeded.NetworkInterfaceLimitExceeded", _) => "ENIs of the VPC (vpc-max-enis)",
        ("LimitExceeded.Address", _) => "IPv6 addresses of the ENI (eni-max-ipv6s)",
        ("InvalidParameterValue.TagNotAllocatedQuota", _) => "tags of the account",
        (_, "AttachNetworkInterface") => {
            "ENIs of the instance, or addresses of an ENI on it (DescribeNetworkInterfaceLimit)"
        }
        (_, "AssignPrivateIpAddresses" | "AssignIpv6Addresses") => {
            "addresses of the ENI, by the instance's size (DescribeNetworkInterfaceLimit)"
        }
        (_, "CreateNetworkInterface") => {
            "ENIs of the VPC (vpc-max-enis) or addresses of an ENI (eni-max-private-ips)"
        }
        _ => "of the account (DescribeVpcLimits)",
    }
}
