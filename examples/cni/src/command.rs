//! The commands of the CNI specification that the plugins know.

use std::{fmt, str::FromStr};

use crate::{
    error::{Code, Error},
    version::SpecVersion,
};

/// What the runtime wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Put the interface on the wire.
    Add,
    /// Take it off.
    Del,
    /// Compare it with what ADD answered.
    Check,
    /// Say whether an ADD would be served.
    Status,
    /// Take back what belongs to none of the attachments that the runtime knows.
    Gc,
    /// Say which versions are spoken.
    Version,
}

impl Command {
    /// The variables without which it cannot be carried out.
    pub(crate) fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Status | Self::Gc | Self::Version => &[],
        }
    }

    /// Whether it is about one interface of a sandbox, rather than about the network.
    pub(crate) fn is_about_an_interface(self) -> bool {
        matches!(self, Self::Add | Self::Del | Self::Check)
    }

    /// The version of the specification that it came with.
    pub(crate) fn since(self) -> SpecVersion {
        match self {
            Self::Add | Self::Del | Self::Version => SpecVersion::V0_3_1,
            Self::Check => SpecVersion::V0_4_0,
            Self::Status | Self::Gc => SpecVersion::V1_1_0,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        })
    }
}

impl FromStr for Command {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "STATUS" => Ok(Self::Status),
            "GC" => Ok(Self::Gc),
            "VERSION" => Ok(Self::Version),
            other => Err(Error::new(
                Code::Environment,
                format!(
                    "CNI_COMMAND is `{other}`; this plugin knows ADD, DEL, CHECK, STATUS, GC and VERSION"
                ),
            )),
        }
    }
}
