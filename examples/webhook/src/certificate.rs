//! The certificate by which the API server knows this webhook: made once, kept in a Secret that all replicas read,
//! and told to the MutatingWebhookConfiguration.

use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, jsonptr::PointerBuf};
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::options::Options;

/// The key of the certificate in a Secret of the type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
/// The key of its private key there.
const KEY: &str = "tls.key";
/// The annotation of the Secret that says what name the certificate is made out to.
const SERVER_NAME: &str = "tke.cloud.tencent.com/server-name";
/// How often somebody else's write may come between a reading of the Secret and ours.
const ATTEMPTS: usize = 5;

/// A certificate, which signs itself, and its key; both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, which is also what to trust.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why there is no certificate that the API server trusts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The Secret.
    #[error("the Secret {name}: {source}; allow get, create and update of it")]
    Secret {
        /// Its name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// Others change the Secret all the time.
    #[error("the Secret {0} is changed by somebody whenever it is written; end whoever does that")]
    Contended(String),
    /// None can be made.
    #[error("no certificate for {name}: {source}; give --server-name the name of the Service, or an address")]
    Generation {
        /// Whom it was to be made out to.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// The MutatingWebhookConfiguration.
    #[error(
        "the MutatingWebhookConfiguration {name}: {source}; apply its manifest, and allow get and patch of it"
    )]
    Configuration {
        /// Its name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
}

/// The certificate of the Secret; one that is missing or made out to another name is made anew.
pub async fn obtain(client: &Client, options: &Options) -> Result<Identity, CertificateError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &options.namespace);
    let failed = |source| CertificateError::Secret {
        name: options.secret.clone(),
        source,
    };
    for _ in 0..ATTEMPTS {
        let found = secrets.get_opt(&options.secret).await.map_err(failed)?;
        if let Some(identity) = found
            .as_ref()
            .and_then(|secret| read(secret, &options.server_name))
        {
            return Ok(identity);
        }
        let identity = generate(&options.server_name)?;
        let version = found.and_then(|secret| secret.metadata.resource_version);
        let secret = written(options, &identity, version.clone());
        let how = PostParams::default();
        let result = match version {
            Some(_) => secrets.replace(&options.secret, &how, &secret).await,
            None => secrets.create(&how, &secret).await,
        };
        match result {
            Ok(_) => return Ok(identity),
            // Another replica was faster: its certificate is everybody's.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Err(CertificateError::Contended(options.secret.clone()))
}

fn read(secret: &Secret, server_name: &str) -> Option<Identity> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let data = secret.data.as_ref()?;
    let identity = Identity {
        certificate: data.get(CERTIFICATE)?.0.clone(),
        key: data.get(KEY)?.0.clone(),
    };
    (annotations.get(SERVER_NAME)? == server_name).then_some(identity)
}

fn written(options: &Options, identity: &Identity, version: Option<String>) -> Secret {
    let data = [(CERTIFICATE, &identity.certificate), (KEY, &identity.key)];
    Secret {
        metadata: ObjectMeta {
            name: Some(options.secret.clone()),
            annotations: Some([(SERVER_NAME.to_owned(), options.server_name.clone())].into()),
            resource_version: version,
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            data.map(|(key, pem)| (key.to_owned(), ByteString(pem.clone())))
                .into(),
        ),
        ..Secret::default()
    }
}

/// One that does not end: who deletes the Secret and restarts the webhook has another.
fn generate(server_name: &str) -> Result<Identity, CertificateError> {
    let made = rcgen::generate_simple_self_signed([server_name.to_owned()]);
    let made = made.map_err(|source| CertificateError::Generation {
        name: server_name.to_owned(),
        source,
    })?;
    Ok(Identity {
        certificate: made.cert.pem().into_bytes(),
        key: made.signing_key.serialize_pem().into_bytes(),
    })
}

/// Tells the API server to trust the certificate; whether it did not before.
pub async fn publish(
    client: &Client,
    options: &Options,
    identity: &Identity,
) -> Result<bool, CertificateError> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let failed = |source| CertificateError::Configuration {
        name: options.configuration.clone(),
        source,
    };
    let found = configurations.get(&options.configuration).await.map_err(failed)?;
    let trusted = ByteString(identity.certificate.clone());
    let webhooks = found.webhooks.iter().flatten().enumerate();
    let outdated = webhooks.filter(|(_, webhook)| webhook.client_config.ca_bundle.as_ref() != Some(&trusted));
    let operation = |place: usize| {
        let place = place.to_string();
        let path = ["webhooks", place.as_str(), "clientConfig", "caBundle"];
        PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(path),
            value: json!(trusted),
        })
    };
    let operations: Vec<_> = outdated.map(|(place, _)| operation(place)).collect();
    if operations.is_empty() {
        return Ok(false);
    }
    let patch = Patch::Json::<Secret>(JsonPatch(operations));
    let how = PatchParams::default();
    let patched = configurations.patch(&options.configuration, &how, &patch);
    patched.await.map_err(failed)?;
    Ok(true)
}
