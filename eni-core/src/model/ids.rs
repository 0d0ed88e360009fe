//! Identifiers as distinct types, cheap to clone: at 150,000 pods one name is held in many maps.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<T: AsRef<str>> From<T> for $name {
            fn from(text: T) -> Self {
                Self(Arc::from(text.as_ref()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A cloud's id of an ENI, such as `eni-1a2b3c4d`.
    EniId
);
id!(
    /// A cloud's id of a virtual machine, such as `ins-1a2b3c4d`.
    InstanceId
);
id!(
    /// A cloud's id of a subnet.
    SubnetId
);
id!(
    /// A cloud's id of a VPC.
    VpcId
);
id!(
    /// A cloud's id of a security group.
    SecurityGroupId
);
id!(
    /// A failure domain of a cloud region; an ENI, its subnet and its instance share one.
    Zone
);
id!(
    /// A cluster node's name.
    NodeName
);
id!(
    /// The unique id that a cluster gives an object for its lifetime.
    Uid
);

/// A random mark of one stay of an address in a node's pool.
///
/// An address that leaves and comes back gets another generation, so that a late message about the
/// first stay can never be taken for one about the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(u32);

impl Generation {
    /// A generation from random bits; 31 of them, so that every JSON reader keeps it exact.
    pub fn from_random(bits: u64) -> Self {
        Self((bits as u32) & 0x7fff_ffff)
    }
}

/// A 48-bit link-layer address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Text that is not six colon-separated pairs of hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a MAC address (expected six hexadecimal pairs such as 20:90:6f:00:00:01)")]
pub struct InvalidMac(String);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMac(text.to_owned());
        let mut bytes = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_reads_what_it_prints() {
        let mac: Mac = "20:90:6F:00:00:01".parse().unwrap();
        assert_eq!(mac.to_string(), "20:90:6f:00:00:01");
    }

    #[test]
    fn mac_refuses_other_shapes() {
        for text in [
            "",
            "20:90:6f:00:00",
            "20:90:6f:00:00:01:02",
            "20:90:6f:00:00:0g",
            "2:90:6f:00:00:011",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
