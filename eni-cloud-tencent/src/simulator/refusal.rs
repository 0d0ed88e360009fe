//! Why a request is refused, in the API's words.

use std::borrow::Cow;

/// A code of the API and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
}

/// What an action answers: the members of `Response` beside `RequestId`, or a refusal.
pub(super) type Verdict<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// A parameter or header that must be there is not.
    pub(super) fn missing(name: &str) -> Self {
        Self::new(
            "MissingParameter",
            format!("The request is missing a required parameter `{name}`."),
        )
    }

    /// A parameter that the action does not have.
    pub(super) fn unknown(name: &str) -> Self {
        Self::new(
            "UnknownParameter",
            format!("The parameter `{name}` is not recognized."),
        )
    }
}

/// A refusal with a formatted message.
macro_rules! refuse {
    ($code:expr, $($message:tt)+) => {
        Err($crate::simulator::refusal::Refusal::new($code, format!($($message)+)))
    };
}
pub(super) use refuse;
