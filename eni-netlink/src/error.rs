//! Our errors in the terms of the core.

use eni_core::network::NetworkError;

use crate::namespace::NamespaceError;
use crate::socket::{NetlinkError, Refusal};

impl From<Refusal> for NetworkError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { what, errno, detail } = refusal;
        let message = match detail {
            Some(detail) => format!("{errno} ({detail})"),
            None => errno.to_string(),
        };
        Self::Kernel {
            operation: what,
            message,
        }
    }
}

impl From<NamespaceError> for NetworkError {
    fn from(error: NamespaceError) -> Self {
        match error {
            NamespaceError::Missing { path } => Self::NoNamespace {
                netns: path.display().to_string(),
            },
            error => Self::Kernel {
                operation: "network namespace".into(),
                message: error.to_string(),
            },
        }
    }
}

impl From<NetlinkError> for NetworkError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Namespace(error) => error.into(),
            NetlinkError::Refused(refusal) => refusal.into(),
            NetlinkError::Socket { operation, source } => Self::Kernel {
                operation,
                message: source.to_string(),
            },
            error @ NetlinkError::Unsteady { .. } => Self::Kernel {
                operation: "netlink dump".into(),
                message: error.to_string(),
            },
        }
    }
}

/// One error that says what all of them say.
pub(crate) fn all_of(operation: &str, errors: Vec<NetworkError>) -> Result<(), NetworkError> {
    let mut errors = errors.into_iter();
    match (errors.next(), errors.next()) {
        (None, _) => Ok(()),
        (Some(only), None) => Err(only),
        (Some(first), Some(second)) => {
            let texts: Vec<_> = [first, second]
                .into_iter()
                .chain(errors)
                .map(|error| error.to_string())
                .collect();
            Err(NetworkError::Kernel {
                operation: operation.into(),
                message: texts.join("; "),
            })
        }
    }
}
