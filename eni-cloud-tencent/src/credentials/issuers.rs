//! Who gives out temporary keys: the Security Token Service, and the metadata service of a machine.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_core::env::Environment;
use jiff::Timestamp;
use reqwest::{StatusCode, Url};
use secrecy::SecretString;
use serde::Deserialize;

use super::{CredentialSource, Credentials, CredentialsError};
use crate::{
    api::{AssumeRole, AssumeRoleWithWebIdentity, RoleKeys},
    client::{self, ApiConfig, BuildError, Client, Failure},
    endpoint::Gateway,
};

/// Gives out keys.
#[async_trait]
pub(super) trait Issuer: fmt::Debug + Send + Sync {
    async fn issue(&self) -> Result<Issued, CredentialsError>;
}

/// Keys and how long they are good.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) keys: Credentials,
    pub(super) expires: Option<Timestamp>,
    /// When to look again, if that is not a matter of their life.
    pub(super) look_again: Option<Duration>,
}

/// A role and how it is assumed.
#[derive(Clone, Debug)]
pub struct Role {
    /// `qcs::cam::uin/UIN:roleName/NAME`.
    pub arn: String,
    /// What the audit log calls this session: 2 to 128 letters, digits and any of `+=,.@_-`.
    pub session: String,
    /// The life of the keys; 2 hours by default, 12 at most.
    pub life: Duration,
}

impl Role {
    /// The role for two hours at a time.
    pub fn new(arn: impl Into<String>, session: impl Into<String>) -> Self {
        Self {
            arn: arn.into(),
            session: session.into(),
            life: Duration::from_secs(7_200),
        }
    }
}

/// The identity of a pod, as TKE tells it in the environment.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    /// TKE_PROVIDER_ID
    pub provider: String,
    /// TKE_WEB_IDENTITY_TOKEN_FILE
    pub token_file: PathBuf,
    /// TKE_ROLE_ARN
    pub role: Role,
}

#[derive(Debug)]
pub(super) struct AssumedRole {
    client: Client,
    keys: Arc<dyn CredentialSource>,
    role: Role,
}

impl AssumedRole {
    pub(super) fn new(
        api: &ApiConfig,
        keys: Arc<dyn CredentialSource>,
        role: Role,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, BuildError> {
        let client = Client::new(api, environment)?;
        Ok(Self { client, keys, role })
    }
}

#[async_trait]
impl Issuer for AssumedRole {
    async fn issue(&self) -> Result<Issued, CredentialsError> {
        let request = AssumeRole {
            role_arn: self.role.arn.clone(),
            role_session_name: self.role.session.clone(),
            duration_seconds: self.role.life.as_secs(),
        };
        issued(
            self.client
                .send(&request, &self.role.arn, self.keys.as_ref())
                .await,
            &self.role,
        )
    }
}

#[derive(Debug)]
pub(super) struct WebIdentityRole {
    client: Client,
    identity: WebIdentity,
}

impl WebIdentityRole {
    pub(super) fn new(
        api: &ApiConfig,
        identity: WebIdentity,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, BuildError> {
        let client = Client::new(api, environment)?;
        Ok(Self { client, identity })
    }
}

#[async_trait]
impl Issuer for WebIdentityRole {
    async fn issue(&self) -> Result<Issued, CredentialsError> {
        let WebIdentity {
            provider,
            token_file,
            role,
        } = &self.identity;
        let token = tokio::fs::read_to_string(token_file).await.map_err(|error| {
            let file = token_file.display();
            CredentialsError(format!(
                "{file}: {error}; mount the service account's token there"
            ))
        })?;
        let request = AssumeRoleWithWebIdentity {
            provider_id: provider.clone(),
            web_identity_token: token.trim().to_owned(),
            role_arn: role.arn.clone(),
            role_session_name: role.session.clone(),
            duration_seconds: role.life.as_secs(),
        };
        issued(self.client.send_once(&request, &role.arn, None).await, role)
    }
}

fn issued(answer: Result<RoleKeys, Failure>, role: &Role) -> Result<Issued, CredentialsError> {
    let answer = answer.map_err(|failure| CredentialsError(failure.about(&role.arn, None).to_string()))?;
    let keys = answer.credentials;
    Ok(Issued {
        keys: Credentials::new(keys.tmp_secret_id, keys.tmp_secret_key).with_token(keys.token),
        expires: Some(expiry(answer.expired_time)?),
        look_again: None,
    })
}

fn expiry(seconds: i64) -> Result<Timestamp, CredentialsError> {
    Timestamp::from_second(seconds).map_err(|error| CredentialsError(format!("keys without an end: {error}")))
}

/// Where every machine finds its metadata. Source: Tencent Cloud's documentation, "Instance metadata".
const METADATA: &str = "http://metadata.tencentyun.com";

/// The largest page of metadata that is read; keys are some 2 kB.
const LARGEST_PAGE: usize = 64 << 10;

pub(super) struct MachineRole {
    http: reqwest::Client,
    directory: Url,
}

impl MachineRole {
    pub(super) fn new(gateway: Option<Gateway>) -> Result<Self, BuildError> {
        let gateway = match gateway {
            Some(gateway) => gateway,
            None => METADATA.parse()?,
        };
        let mut directory = gateway.into_url();
        directory.set_path("/latest/meta-data/cam/security-credentials/");
        Ok(Self {
            http: client::plain(Duration::from_secs(1), Duration::from_secs(3))?,
            directory,
        })
    }

    async fn page(&self, name: &str) -> Result<String, CredentialsError> {
        let fail = |what: &dyn fmt::Display| CredentialsError(format!("{}{name}: {what}", self.directory));
        let url = self.directory.join(name).map_err(|error| fail(&error))?;
        let mut answer = self
            .http
            .get(url)
            .send()
            .await
            .map_err(|error| fail(&error.without_url()))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(fail(&"this machine has no role; bind one to the instance")),
            status => return Err(fail(&status)),
        }
        let mut page = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| fail(&error.without_url()))? {
            page.extend_from_slice(&chunk);
            if page.len() > LARGEST_PAGE {
                return Err(fail(&"the page is no metadata"));
            }
        }
        String::from_utf8(page).map_err(|_| fail(&"the page is no text"))
    }
}

impl fmt::Debug for MachineRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MachineRole")
            .field(&self.directory.as_str())
            .finish()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MachineKeys {
    code: String,
    tmp_secret_id: String,
    tmp_secret_key: SecretString,
    token: SecretString,
    expired_time: i64,
}

#[async_trait]
impl Issuer for MachineRole {
    async fn issue(&self) -> Result<Issued, CredentialsError> {
        let roles = self.page("").await?;
        let role = roles.lines().map(str::trim).find(|line| !line.is_empty());
        let role = role
            .ok_or_else(|| CredentialsError("this machine has no role; bind one to the instance".into()))?;
        let page = self.page(role).await?;
        // The error of the parser could show a part of the page.
        let keys: MachineKeys = serde_json::from_str(&page).map_err(|error| {
            CredentialsError(format!("the keys of {role} are unreadable at {}", error.column()))
        })?;
        if keys.code != "Success" {
            return Err(CredentialsError(format!(
                "the keys of {role}: {}; look at the role",
                keys.code
            )));
        }
        Ok(Issued {
            keys: Credentials::new(keys.tmp_secret_id, keys.tmp_secret_key).with_token(keys.token),
            expires: Some(expiry(keys.expired_time)?),
            look_again: None,
        })
    }
}
