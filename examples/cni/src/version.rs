//! The versions of the CNI specification that the plugins speak.

use std::{fmt, str::FromStr};

use crate::error::{Code, Error};

/// A version of the CNI specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpecVersion {
    /// 0.3.1
    V0_3_1,
    /// 0.4.0: adds CHECK.
    V0_4_0,
    /// 1.0.0: a result's addresses no longer say their family.
    V1_0_0,
    /// 1.1.0: a result's interfaces say their MTU; adds STATUS and GC.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first.
    pub(crate) const ALL: [Self; 4] = [Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest version.
    pub(crate) const NEWEST: Self = Self::V1_1_0;

    fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl FromStr for SpecVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|version| version.as_str() == text);
        known.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            Error::new(
                Code::IncompatibleVersion,
                format!("cniVersion {text} is not supported"),
            )
            .details(format!("supported versions: {all}"))
        })
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints_and_is_ordered() {
        for version in SpecVersion::ALL {
            assert_eq!(version.to_string().parse::<SpecVersion>().unwrap(), version);
        }
        assert!(SpecVersion::ALL.is_sorted());
        assert_eq!(SpecVersion::ALL.last(), Some(&SpecVersion::NEWEST));
    }

    #[test]
    fn refuses_others_and_lists_its_own() {
        for text in ["", "0.1.0", "0.2.0", "0.3.0", "1.1", "1.1.0 ", "v1.0.0", "2.0.0"] {
            let error = text
                .parse::<SpecVersion>()
                .unwrap_err()
                .to_json(SpecVersion::NEWEST);
            assert_eq!(error["code"], 1);
            assert_eq!(error["details"], "supported versions: 0.3.1, 0.4.0, 1.0.0, 1.1.0");
        }
    }
}
