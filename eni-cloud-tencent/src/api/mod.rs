//! The actions that are used, with the fields that are used. Requests never send null or a field that the action
//! does not have, which the API refuses; answers may lack what is nullable and have what is new.

mod addresses;
mod enis;
mod places;
mod roles;
mod wire;

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use addresses::*;
pub(crate) use enis::*;
pub(crate) use places::*;
pub(crate) use roles::*;
pub(crate) use wire::*;

/// A request that is an action of the API.
pub(crate) trait Action: Serialize + Sync {
    /// The header `X-TC-Action`.
    const NAME: &'static str;
    /// Whose action it is.
    const PRODUCT: Product;
    /// What comes back.
    type Answer: DeserializeOwned + Send;
}

/// A product of Tencent Cloud, each with hosts and a version of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    Vpc,
    Cvm,
    Sts,
}

impl Product {
    pub(crate) const ALL: [Self; 3] = [Self::Vpc, Self::Cvm, Self::Sts];

    /// The first label of its host, which its signatures name too.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Cvm => "cvm",
            Self::Sts => "sts",
        }
    }

    /// The header `X-TC-Version`.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Vpc | Self::Cvm => "2017-03-12",
            Self::Sts => "2018-08-13",
        }
    }
}
