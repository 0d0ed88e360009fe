//! The commands of the CNI specification that the plugins know.

use std::str::FromStr;

use crate::error::{Code, Error};

/// What the runtime wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Put the interface on the wire.
    Add,
    /// Take it off.
    Del,
    /// Compare it with what ADD answered.
    Check,
    /// Say which versions are spoken.
    Version,
}

impl Command {
    /// The variables without which it cannot be carried out.
    pub(crate) fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Version => &[],
        }
    }
}

impl FromStr for Command {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "VERSION" => Ok(Self::Version),
            other => Err(Error::new(
                Code::Environment,
                format!("CNI_COMMAND is `{other}`; this plugin knows ADD, DEL, CHECK and VERSION"),
            )),
        }
    }
}
