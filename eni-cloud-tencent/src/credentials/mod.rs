//! The keys that requests are signed with, and where they come from.

mod issuers;
mod renewed;
mod stored;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use secrecy::SecretString;

pub use issuers::{Role, WebIdentity};
pub use renewed::RenewedCredentials;

/// A key pair, long-lived or temporary. One value is one consistent set: a refresh replaces it whole.
///
/// Neither its `Debug` nor any error of this crate shows the key or the token.
#[derive(Clone)]
pub struct Credentials {
    secret_id: String,
    secret_key: SecretString,
    token: Option<SecretString>,
}

impl Credentials {
    /// A long-lived key pair.
    pub fn new(secret_id: impl Into<String>, secret_key: impl Into<SecretString>) -> Self {
        Self {
            secret_id: secret_id.into(),
            secret_key: secret_key.into(),
            token: None,
        }
    }

    /// The same keys as part of a temporary set, which the header `X-TC-Token` completes.
    pub fn with_token(self, token: impl Into<SecretString>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// Those of the environment: TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, with TENCENTCLOUD_TOKEN if
    /// they are temporary, as Tencent's own tools read them. `None` if one of the first two is missing or empty.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let variable = |name| variable(name).filter(|text| !text.is_empty());
        let keys = Self::new(
            variable("TENCENTCLOUD_SECRET_ID")?,
            variable("TENCENTCLOUD_SECRET_KEY")?,
        );
        Some(match variable("TENCENTCLOUD_TOKEN") {
            Some(token) => keys.with_token(token),
            None => keys,
        })
    }

    /// The public half, which names the key in logs and requests.
    pub fn secret_id(&self) -> &str {
        &self.secret_id
    }

    /// The text of the header `X-TC-Token`, which a temporary set needs.
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// The secret half.
    pub(crate) fn secret_key(&self) -> &SecretString {
        &self.secret_key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("secret_id", &self.secret_id)
            .field("temporary", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// Where keys come from. What it gives is one consistent set, whatever is renewed meanwhile.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// Keys that are good now. A source that gives the same keys twice gives the same pointer.
    async fn current(&self) -> Result<Arc<Credentials>, CredentialsError>;

    /// The cloud refused these keys: others are wanted, if there can be any.
    async fn refused(&self, keys: &Arc<Credentials>);
}

/// There are no keys: why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no keys to sign with: {0}")]
pub struct CredentialsError(pub String);

/// Keys that never change.
#[derive(Clone, Debug)]
pub struct StaticCredentials(Arc<Credentials>);

impl StaticCredentials {
    /// These keys.
    pub fn new(credentials: Credentials) -> Self {
        Self(Arc::new(credentials))
    }
}

#[async_trait]
impl CredentialSource for StaticCredentials {
    async fn current(&self) -> Result<Arc<Credentials>, CredentialsError> {
        Ok(self.0.clone())
    }

    async fn refused(&self, _: &Arc<Credentials>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_the_environment_or_are_none() {
        let read = |set: &'static [(&str, &str)]| {
            Credentials::from_environment(move |name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        const BOTH: &[(&str, &str)] = &[("TENCENTCLOUD_SECRET_ID", "a"), ("TENCENTCLOUD_SECRET_KEY", "b")];
        assert!(read(BOTH).is_some_and(|keys| keys.secret_id() == "a" && keys.token().is_none()));
        assert!(read(&BOTH[..1]).is_none());
        assert!(read(&[("TENCENTCLOUD_SECRET_ID", "a"), ("TENCENTCLOUD_SECRET_KEY", "")]).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::new("AKID-public", "hush-key").with_token("hush-token");
        for text in [format!("{credentials:?}"), format!("{credentials:#?}")] {
            assert!(text.contains("AKID-public"), "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
    }
}
