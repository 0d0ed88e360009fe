//! Cloud errors, named by what the caller can do about them.

use std::{fmt, time::Duration};

use crate::model::SubnetId;

/// What a caller can do about a failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudErrorKind {
    /// Too many calls: slow down, then repeat.
    Throttled {
        /// How long the cloud asked to wait, where it did.
        retry_after: Option<Duration>,
    },
    /// The subnet has no free address: use another one.
    Exhausted {
        /// The subnet.
        subnet: SubnetId,
    },
    /// A limit of the instance, the ENI, the VPC or the account: ask for less, or for a higher limit.
    Quota,
    /// The named thing does not exist.
    NotFound,
    /// The thing is in a state, or an operation is under way, that excludes this call: re-read, then
    /// decide again.
    Conflict,
    /// Somebody else has an address that was asked for: another one must do, or its owner must give it up.
    AddressTaken,
    /// The caller lacks a permission: an operator must grant it.
    Denied,
    /// The request itself is wrong: repeating it is useless.
    Invalid,
    /// No answer, or one that says nothing: the outcome is unknown; re-read.
    Unavailable,
    /// Nothing was sent, because no answer could have come before the caller's deadline: try again with
    /// more time.
    NotStarted,
}

impl CloudErrorKind {
    /// What an operator should do, as the end of a sentence.
    fn advice(&self) -> &'static str {
        match self {
            Self::Throttled { .. } => "it is repeated at a lower rate; nothing to do unless it lasts",
            Self::Exhausted { .. } => "add a subnet of this zone, or free addresses in this one",
            Self::Quota => "raise the quota, or lower the number of pods per node",
            Self::NotFound => "the resource is gone; check whether something else deletes it",
            Self::Conflict => "the resource is busy; the state is read again",
            Self::AddressTaken => {
                "look who has the address in this subnet; subnets for pods must be this cluster's alone"
            }
            Self::Denied => "grant the permission for this action",
            Self::Invalid => "the request is wrong; this is a defect or a bad setting",
            Self::Unavailable => "the outcome is unknown; the state is read again",
            Self::NotStarted => {
                "nothing was sent, and it is tried again; if it lasts, look at the rates and at how long the cloud takes"
            }
        }
    }
}

/// A failed cloud call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudError {
    /// What the caller can do.
    pub kind: CloudErrorKind,
    /// The call, such as `attach_eni`, or the cloud's own name for it.
    pub action: &'static str,
    /// The resource the call was about, or empty.
    pub resource: String,
    /// The cloud's words, in English.
    pub message: String,
    /// The cloud's id of the request, for its support.
    pub request_id: Option<String>,
}

impl CloudError {
    /// An error of `action` on `resource`.
    pub fn new(
        kind: CloudErrorKind,
        action: &'static str,
        resource: impl fmt::Display,
        message: impl fmt::Display,
    ) -> Self {
        Self {
            kind,
            action,
            resource: resource.to_string(),
            message: message.to_string(),
            request_id: None,
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.action)?;
        if !self.resource.is_empty() {
            write!(f, " of {}", self.resource)?;
        }
        write!(f, " failed: {}", self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        write!(f, "; {}", self.kind.advice())
    }
}

impl std::error::Error for CloudError {}
