//! Tencent Cloud, as flags and the environment say.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use eni_cloud_tencent::{
    ApiConfig, BuildError, CredentialSource, Credentials, Endpoint, InvalidGateway, RenewedCredentials, Role,
    Site, StaticCredentials, TencentCloud, WebIdentity,
};
use eni_core::env::Environment;

/// What STS and the audit log call the session.
const SESSION: &str = "tke-eni-ipamd";

/// `--cloud tencent`.
#[derive(Clone, Debug, Args)]
pub struct TencentFlags {
    /// The region of the cluster, such as ap-guangzhou.
    #[arg(
        long,
        value_name = "REGION",
        env = "TKE_REGION",
        required_if_eq("cloud", "tencent")
    )]
    pub region: Option<String>,

    /// The site of the account.
    #[arg(long, value_enum, default_value_t = CloudSite::Mainland)]
    pub cloud_site: CloudSite,

    /// The gateway of the API: `nearest`, `regional`, `internal` (in Tencent's network), or the address of another
    /// one, such as a simulator's: http://127.0.0.1:8080.
    #[arg(long, value_name = "ENDPOINT", default_value = "nearest", value_parser = endpoint)]
    pub cloud_endpoint: Endpoint,

    /// Where the keys are from.
    #[arg(long, value_enum, required_if_eq("cloud", "tencent"))]
    pub credentials: Option<KeySource>,

    /// The file of `--credentials file`: a section `[default]` with secret_id and secret_key, as in
    /// ~/.tencentcloud/credentials.
    #[arg(long, value_name = "FILE", required_if_eq("credentials", "file"))]
    pub credentials_file: Option<PathBuf>,

    /// A role that the owner of the keys assumes: qcs::cam::uin/UIN:roleName/NAME.
    #[arg(long, value_name = "ARN")]
    pub assume_role: Option<String>,
}

/// The site of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CloudSite {
    /// cloud.tencent.com
    Mainland,
    /// www.tencentcloud.com
    International,
}

/// Where keys are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeySource {
    /// TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, and TENCENTCLOUD_TOKEN if they are temporary.
    Environment,
    /// A file, read again when it changes.
    File,
    /// The identity that TKE gives the pod: TKE_PROVIDER_ID, TKE_ROLE_ARN and TKE_WEB_IDENTITY_TOKEN_FILE.
    PodIdentity,
    /// The role that is bound to this machine.
    MachineRole,
}

/// Why there is no cloud.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TencentError {
    /// A variable is missing.
    #[error(
        "--credentials {source_name} wants {variable} in the environment; set it, or choose another source"
    )]
    Variable {
        /// The value of `--credentials`.
        source_name: &'static str,
        /// The variable.
        variable: &'static str,
    },
    /// No request can ever be sent.
    #[error(transparent)]
    Client(#[from] BuildError),
}

/// The cloud. Nothing is sent yet. `variable` reads the environment.
pub fn cloud(
    flags: &TencentFlags,
    environment: Arc<dyn Environment>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<TencentCloud, TencentError> {
    let api = ApiConfig {
        site: match flags.cloud_site {
            CloudSite::Mainland => Site::Mainland,
            CloudSite::International => Site::International,
        },
        endpoint: flags.cloud_endpoint.clone(),
        ..ApiConfig::new(flags.region.clone().unwrap_or_default())
    };
    if let Endpoint::At(gateway) = &api.endpoint {
        tracing::warn!(?gateway, "the cloud is not Tencent's own gateway");
    }
    let mut keys = keys(flags, &api, &environment, variable)?;
    if let Some(arn) = &flags.assume_role {
        let role = Role::new(arn, SESSION);
        keys = Arc::new(RenewedCredentials::assumed_role(
            &api,
            keys,
            role,
            environment.clone(),
        )?);
    }
    Ok(TencentCloud::new(&api, keys, environment)?)
}

fn keys(
    flags: &TencentFlags,
    api: &ApiConfig,
    environment: &Arc<dyn Environment>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Arc<dyn CredentialSource>, TencentError> {
    let wanted = |source_name, name| {
        let set = variable(name).filter(|text| !text.is_empty());
        set.ok_or(TencentError::Variable {
            source_name,
            variable: name,
        })
    };
    Ok(match flags.credentials {
        Some(KeySource::File) => {
            let file = flags.credentials_file.clone().unwrap_or_default();
            Arc::new(RenewedCredentials::file(file, environment.clone()))
        }
        Some(KeySource::PodIdentity) => {
            let name = "pod-identity";
            let identity = WebIdentity {
                provider: wanted(name, "TKE_PROVIDER_ID")?,
                token_file: wanted(name, "TKE_WEB_IDENTITY_TOKEN_FILE")?.into(),
                role: Role::new(wanted(name, "TKE_ROLE_ARN")?, SESSION),
            };
            Arc::new(RenewedCredentials::web_identity(
                api,
                identity,
                environment.clone(),
            )?)
        }
        Some(KeySource::MachineRole) => {
            Arc::new(RenewedCredentials::machine_role(None, environment.clone())?)
        }
        Some(KeySource::Environment) | None => {
            for name in ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"] {
                wanted("environment", name)?;
            }
            let keys = Credentials::from_environment(&variable).ok_or(TencentError::Variable {
                source_name: "environment",
                variable: "TENCENTCLOUD_SECRET_ID",
            })?;
            Arc::new(StaticCredentials::new(keys))
        }
    })
}

fn endpoint(text: &str) -> Result<Endpoint, InvalidGateway> {
    Ok(match text {
        "nearest" => Endpoint::Nearest,
        "regional" => Endpoint::Regional,
        "internal" => Endpoint::Internal,
        other => Endpoint::At(other.parse()?),
    })
}

#[cfg(test)]
mod tests {
    use eni_core::env::SystemEnvironment;

    use super::*;
    use crate::options::Options;

    fn flags(more: &[&str]) -> Result<TencentFlags, clap::Error> {
        let usual = [
            "tke-eni-ipamd",
            "--clusterid=cls-1",
            "--subnets=subnet-a",
            "--cloud=tencent",
        ];
        Options::read(usual.iter().chain(more)).map(|options| options.cloud.tencent)
    }

    /// The client, with the simulator's kind of gateway, which needs no certificates.
    fn made(more: &[&str], set: &[(&str, &str)]) -> Result<TencentCloud, TencentError> {
        let usual = ["--region=ap-guangzhou", "--cloud-endpoint=http://127.0.0.1:1"];
        let flags = flags(&[&usual[..], more].concat()).unwrap();
        let variable = |name: &str| {
            set.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        cloud(&flags, SystemEnvironment::shared(), variable)
    }

    #[test]
    fn region_and_keys_must_be_named() {
        let region = flags(&["--credentials=machine-role"]);
        let both = flags(&["--region=ap-guangzhou", "--credentials=file"]);
        let none = flags(&["--region=ap-guangzhou"]);
        // A region may come from the environment of the test.
        if std::env::var_os("TKE_REGION").is_none() {
            assert!(region.unwrap_err().to_string().contains("--region"));
        }
        assert!(both.unwrap_err().to_string().contains("--credentials-file"));
        assert!(none.unwrap_err().to_string().contains("--credentials"));
    }

    #[test]
    fn a_gateway_is_a_word_or_an_address() {
        let read = |text: &str| {
            let endpoint = format!("--cloud-endpoint={text}");
            flags(&["--region=r", "--credentials=environment", &endpoint]).map(|flags| flags.cloud_endpoint)
        };
        assert_eq!(read("regional").unwrap(), Endpoint::Regional);
        let gateway = "http://127.0.0.1:8080".parse().unwrap();
        assert_eq!(read("http://127.0.0.1:8080").unwrap(), Endpoint::At(gateway));
        assert!(
            read("127.0.0.1:8080")
                .unwrap_err()
                .to_string()
                .contains("write it as http://")
        );
    }

    #[test]
    fn each_source_of_keys_says_which_variable_it_lacks() {
        let keys = [("TENCENTCLOUD_SECRET_ID", "a"), ("TENCENTCLOUD_SECRET_KEY", "b")];
        let identity = [
            ("TKE_PROVIDER_ID", "a"),
            ("TKE_WEB_IDENTITY_TOKEN_FILE", "b"),
            ("TKE_ROLE_ARN", "c"),
        ];
        for (source, set) in [("environment", &keys[..]), ("pod-identity", &identity[..])] {
            let flag = format!("--credentials={source}");
            made(&[&flag], set).unwrap();
            for left_out in 0..set.len() {
                let mut less = set.to_vec();
                let (name, _) = less.remove(left_out);
                let error = made(&[&flag], &less).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains(source), "{error}");
            }
        }
        made(&["--credentials=machine-role"], &[]).unwrap();
        made(
            &[
                "--credentials=file",
                "--credentials-file=/keys",
                "--assume-role=qcs::cam::uin/1:roleName/a",
            ],
            &[],
        )
        .unwrap();
    }
}
