//! Actions of the Security Token Service, which give temporary keys.

use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Action, Product};

/// Temporary keys of a role, for whoever may assume it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssumeRole {
    pub(crate) role_arn: String,
    pub(crate) role_session_name: String,
    pub(crate) duration_seconds: u64,
}

impl Action for AssumeRole {
    const NAME: &'static str = "AssumeRole";
    const PRODUCT: Product = Product::Sts;
    type Answer = RoleKeys;
}

/// Temporary keys of a role, for whoever has a token of an identity provider. Not signed.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AssumeRoleWithWebIdentity {
    pub(crate) provider_id: String,
    pub(crate) web_identity_token: String,
    pub(crate) role_arn: String,
    pub(crate) role_session_name: String,
    pub(crate) duration_seconds: u64,
}

impl fmt::Debug for AssumeRoleWithWebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumeRoleWithWebIdentity")
            .field("provider_id", &self.provider_id)
            .field("role_arn", &self.role_arn)
            .finish_non_exhaustive()
    }
}

impl Action for AssumeRoleWithWebIdentity {
    const NAME: &'static str = "AssumeRoleWithWebIdentity";
    const PRODUCT: Product = Product::Sts;
    type Answer = RoleKeys;
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RoleKeys {
    pub(crate) credentials: TemporaryKeys,
    /// Unix time in seconds.
    pub(crate) expired_time: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TemporaryKeys {
    pub(crate) tmp_secret_id: String,
    pub(crate) tmp_secret_key: SecretString,
    pub(crate) token: SecretString,
}
