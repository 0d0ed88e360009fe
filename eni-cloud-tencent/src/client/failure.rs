//! A request that gave no result, before it is put into the core's words.

use eni_core::{
    cloud::{CloudError, CloudErrorKind},
    model::SubnetId,
};

use super::envelope::Unanswered;
use crate::error::{ApiError, Class};

/// Why a request gave no result.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) action: &'static str,
    pub(crate) cause: Cause,
}

#[derive(Clone, Debug)]
pub(crate) enum Cause {
    /// The API refused.
    Refused(ApiError),
    /// A gateway refused: too many requests.
    Throttled,
    /// Nothing was sent, for want of keys that are of use.
    NoKeys(String),
    /// Whether the cloud did it is unknown.
    NoAnswer {
        message: String,
        request_id: Option<String>,
    },
}

impl Failure {
    pub(crate) fn unanswered(action: &'static str, unanswered: Unanswered) -> Self {
        let cause = match unanswered {
            Unanswered::Refused(error) => Cause::Refused(error),
            Unanswered::Throttled => Cause::Throttled,
            Unanswered::Unreadable { message, request_id } => Cause::NoAnswer { message, request_id },
        };
        Self { action, cause }
    }

    /// An answer that came and cannot be true.
    pub(crate) fn senseless(action: &'static str, message: impl Into<String>) -> Self {
        let cause = Cause::NoAnswer {
            message: message.into(),
            request_id: None,
        };
        Self { action, cause }
    }

    /// What the code of a refusal says; `None` if the API itself did not refuse.
    pub(crate) fn class(&self) -> Option<Class> {
        match &self.cause {
            Cause::Refused(error) => Class::of(&error.code),
            Cause::Throttled => Some(Class::Throttled),
            Cause::NoKeys(_) | Cause::NoAnswer { .. } => None,
        }
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        match &self.cause {
            Cause::Refused(error) => Some(&error.request_id),
            Cause::NoAnswer { request_id, .. } => request_id.as_deref(),
            Cause::Throttled | Cause::NoKeys(_) => None,
        }
    }

    /// The core's error; `subnet` is the one that the request takes addresses from.
    pub(crate) fn about(self, resource: &str, subnet: Option<&SubnetId>) -> CloudError {
        let plain = |kind, message: String| CloudError::new(kind, self.action, resource, message);
        match self.cause {
            Cause::Refused(error) => error.into_cloud_error(self.action, resource, subnet),
            Cause::Throttled => plain(
                CloudErrorKind::Throttled { retry_after: None },
                "a gateway takes no more requests".to_owned(),
            ),
            Cause::NoKeys(message) => plain(CloudErrorKind::Denied, message),
            Cause::NoAnswer { message, request_id } => CloudError {
                request_id,
                ..plain(CloudErrorKind::Unavailable, message)
            },
        }
    }
}
