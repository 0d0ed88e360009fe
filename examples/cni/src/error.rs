//! A failed call as the runtime reads it.

use std::{error, fmt};

use serde_json::{Value, json};

use crate::version::SpecVersion;

/// The CNI specification's error codes, and from 100 our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The plugin does not speak the configuration's version, or the command is younger than it.
    IncompatibleVersion,
    /// The sandbox does not exist; nothing is left to be cleaned up.
    UnknownContainer,
    /// A `CNI_*` variable is missing or invalid.
    Environment,
    /// Something could not be read or written.
    Io,
    /// Standard input is not JSON.
    Decoding,
    /// A value of the configuration is invalid.
    Config,
    /// The runtime should try again later.
    TryAgainLater,
    /// STATUS: an ADD would not be served.
    NotAvailable,
    /// STATUS: nor may pods that run reach everything.
    Limited,
    /// 100: the agent refuses; its sentence says what to do.
    Refused,
    /// 101: the kernel's networking could not be changed.
    Kernel,
    /// 102: CHECK found the interface not as ADD left it.
    Differs,
    /// What a delegated plugin answered.
    Delegated(u64),
}

impl Code {
    fn number(self) -> u64 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnknownContainer => 3,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decoding => 6,
            Self::Config => 7,
            Self::TryAgainLater => 11,
            Self::NotAvailable => 50,
            Self::Limited => 51,
            Self::Refused => 100,
            Self::Kernel => 101,
            Self::Differs => 102,
            Self::Delegated(code) => code,
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Error {
    pub(crate) code: Code,
    msg: String,
    details: String,
}

impl Error {
    /// An error with one sentence for the operator.
    pub(crate) fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// An invalid value of the configuration.
    pub(crate) fn config(key: &str, complaint: impl fmt::Display) -> Self {
        Self::new(
            Code::Config,
            format!("invalid network configuration: key `{key}` {complaint}"),
        )
    }

    /// The same under another code.
    pub(crate) fn with_code(self, code: Code) -> Self {
        Self { code, ..self }
    }

    /// Adds to the details.
    pub(crate) fn details(mut self, details: impl AsRef<str>) -> Self {
        if !self.details.is_empty() {
            self.details.push_str("; ");
        }
        self.details.push_str(details.as_ref());
        self
    }

    /// Adds an error that came up while cleaning up after this one.
    pub(crate) fn and(self, cleanup: Result<(), Self>) -> Self {
        match cleanup {
            Ok(()) => self,
            Err(error) => self.details(format!("cleaning up failed too: {error}")),
        }
    }

    /// What the runtime reads.
    pub(crate) fn to_json(&self, version: SpecVersion) -> Value {
        json!({
            "cniVersion": version.to_string(),
            "code": self.code.number(),
            "msg": self.msg,
            "details": self.details,
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        match self.details.as_str() {
            "" => Ok(()),
            details => write!(f, " ({details})"),
        }
    }
}

impl error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_reads_code_sentence_and_details() {
        let cleanup = Err(Error::new(Code::Kernel, "no"));
        let error = Error::config("mtu", "is 7").details("a").and(cleanup).and(Ok(()));
        assert_eq!(
            error.to_json(SpecVersion::V0_4_0),
            json!({
                "cniVersion": "0.4.0",
                "code": 7,
                "msg": "invalid network configuration: key `mtu` is 7",
                "details": "a; cleaning up failed too: no",
            })
        );
    }
}
