//! One request of the API and its answer: signing, sending, reading. It repeats nothing of its own accord, but
//! what was refused for its keys.

mod counts;
mod envelope;
mod failure;
mod skew;
mod tls;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use eni_core::env::Environment;
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
    redirect,
};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

pub use counts::ActionCounts;
pub(crate) use failure::{Cause, Failure};

use crate::{
    Credentials,
    api::{Action, Product},
    credentials::CredentialSource,
    endpoint::{self, Endpoint, InvalidGateway, Site},
    error::Class,
    tc3::{Payload, Request},
};

/// What is sent and signed: no character set may follow it.
const JSON: &str = "application/json";

/// The largest answer that is read. A page of 100 ENIs with 100 addresses each is some 3 MB.
const LARGEST_ANSWER: usize = 32 << 20;

/// How long a connection may be idle: gateways drop one after a minute, and a request that meets that has an
/// unknown outcome.
const IDLE: Duration = Duration::from_secs(20);

/// A client for plain HTTP without a proxy: a simulator's gateway, or the metadata service of a machine.
pub(crate) fn plain(connect_timeout: Duration, timeout: Duration) -> Result<reqwest::Client, BuildError> {
    Ok(http(true, connect_timeout, timeout)?.no_proxy().build()?)
}

fn http(
    plain: bool,
    connect_timeout: Duration,
    timeout: Duration,
) -> Result<reqwest::ClientBuilder, BuildError> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(plain)?)
        .connect_timeout(connect_timeout)
        .timeout(timeout)
        .redirect(redirect::Policy::none())
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(IDLE)
        .http2_keep_alive_timeout(connect_timeout);
    Ok(builder)
}

/// Where the API is, and for which region.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The region of the resources, such as `ap-guangzhou`.
    pub region: String,
    /// The site of the account.
    pub site: Site,
    /// The gateway.
    pub endpoint: Endpoint,
    /// How long a connection may take. 3 s by default.
    pub connect_timeout: Duration,
    /// How long an answer may take, the connection included. 10 s by default; a caller that has less time
    /// drops the call.
    pub timeout: Duration,
}

impl ApiConfig {
    /// A region of the mainland site at its nearest gateway.
    pub fn new(region: impl Into<String>) -> Self {
        Self {
            region: region.into(),
            site: Site::default(),
            endpoint: Endpoint::default(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The region is empty or has characters that no region has.
    #[error("`{0}` is not a region; write it as ap-guangzhou")]
    Region(String),
    /// No gateway can be made of the region.
    #[error(transparent)]
    Gateway(#[from] InvalidGateway),
    /// TLS cannot work.
    #[error("TLS cannot be set up: {0}; install the system's CA certificates (package ca-certificates)")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot work.
    #[error("the HTTP client cannot be set up: {0}; look at the proxy settings of the environment")]
    Http(#[from] reqwest::Error),
}

/// A client of the API. Connections are kept and shared.
pub(crate) struct Client {
    http: reqwest::Client,
    region: String,
    pub(crate) site: Site,
    gateways: BTreeMap<Product, Url>,
    environment: Arc<dyn Environment>,
    counts: counts::Counts,
    skew: skew::Skew,
}

impl Client {
    pub(crate) fn new(config: &ApiConfig, environment: Arc<dyn Environment>) -> Result<Self, BuildError> {
        let label = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if config.region.is_empty() || !config.region.chars().all(label) {
            return Err(BuildError::Region(config.region.clone()));
        }
        let (connect, answer) = (config.connect_timeout, config.timeout);
        let http = match config.endpoint.is_plain() {
            true => plain(connect, answer)?,
            false => http(false, connect, answer)?.https_only(true).build()?,
        };
        let gateways = Product::ALL.into_iter().map(|product| {
            let url = config.endpoint.url(product.name(), config.site, &config.region)?;
            Ok((product, url))
        });
        Ok(Self {
            http,
            region: config.region.clone(),
            site: config.site,
            gateways: gateways.collect::<Result<_, InvalidGateway>>()?,
            environment,
            counts: counts::Counts::default(),
            skew: skew::Skew::default(),
        })
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, ActionCounts> {
        self.counts.snapshot()
    }

    /// Sends a request with the keys of `source`. One that is refused for its keys is sent again, once, with
    /// fresh ones if there are any: the API looks at them before it does anything.
    pub(crate) async fn send<A: Action>(
        &self,
        request: &A,
        resource: &str,
        source: &dyn CredentialSource,
    ) -> Result<A::Answer, Failure> {
        let keys = async || {
            let keys = source.current().await;
            keys.map_err(|error| Failure {
                action: A::NAME,
                cause: Cause::NoKeys(error.to_string()),
            })
        };
        let first = keys().await?;
        let failure = match self.send_once(request, resource, Some(&first)).await {
            Err(failure) if failure.class() == Some(Class::Credentials) => failure,
            result => return result,
        };
        source.refused(&first).await;
        let second = keys().await?;
        match Arc::ptr_eq(&first, &second) {
            true => Err(failure),
            false => self.send_once(request, resource, Some(&second)).await,
        }
    }

    /// Sends a request once; without keys it goes unsigned, which the API takes for a web identity alone.
    pub(crate) async fn send_once<A: Action>(
        &self,
        request: &A,
        resource: &str,
        keys: Option<&Credentials>,
    ) -> Result<A::Answer, Failure> {
        let span = tracing::debug_span!("tencent", action = A::NAME, resource, request_id = Empty);
        let sent = Instant::now();
        let result = self.exchange(request, keys).instrument(span.clone()).await;
        let took = sent.elapsed();
        self.counts.note(A::NAME, took, &result);
        match &result {
            Ok(_) => span.in_scope(|| tracing::debug!(?took, "request answered")),
            Err(failure) => {
                record(&span, failure.request_id());
                span.in_scope(|| tracing::debug!(?took, ?failure, "request failed"));
            }
        }
        result
    }

    async fn exchange<A: Action>(
        &self,
        request: &A,
        keys: Option<&Credentials>,
    ) -> Result<A::Answer, Failure> {
        let fail = |cause| Failure {
            action: A::NAME,
            cause,
        };
        let body = serde_json::to_vec(request).map_err(|error| {
            Failure::senseless(A::NAME, format!("the request cannot be written: {error}"))
        })?;
        let url = &self.gateways[&A::PRODUCT];
        let headers = self.headers::<A>(url, &body, keys).map_err(|header| {
            fail(Cause::NoKeys(format!(
                "the header {header} would have characters that none may"
            )))
        })?;
        let sending = self.http.post(url.clone()).headers(headers).body(body).send();
        let mut response = sending.await.map_err(|error| fail(no_answer(error)))?;

        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        self.skew.note(date, self.environment.now());
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| fail(no_answer(error.without_url())))?
        {
            if answer.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Failure::senseless(
                    A::NAME,
                    "the answer is larger than any of this API",
                ));
            }
            answer.extend_from_slice(&chunk);
        }
        self.read::<A>(status, &answer)
    }

    fn read<A: Action>(&self, status: StatusCode, body: &[u8]) -> Result<A::Answer, Failure> {
        match envelope::open(status, body) {
            Ok((answer, request_id)) => {
                record(&Span::current(), request_id.as_deref());
                Ok(answer)
            }
            Err(unanswered) => {
                let mut failure = Failure::unanswered(A::NAME, unanswered);
                if failure.class() == Some(Class::Clock)
                    && let Cause::Refused(error) = &mut failure.cause
                {
                    error.message = format!("{} ({})", error.message, self.skew.describe());
                }
                Err(failure)
            }
        }
    }

    /// The headers that the official clients send, or the name of one that cannot be sent.
    fn headers<A: Action>(
        &self,
        url: &Url,
        body: &[u8],
        keys: Option<&Credentials>,
    ) -> Result<HeaderMap, &'static str> {
        let now = self.environment.now();
        let signature = keys.map(|keys| {
            let request = Request {
                method: "POST",
                host: &endpoint::host(url),
                content_type: JSON,
                extra_headers: &[],
                query: "",
                payload: Payload::Signed(body),
                timestamp: now,
                service: A::PRODUCT.name(),
            };
            request.authorization(keys)
        });
        let mut headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static(JSON)),
            (
                USER_AGENT,
                HeaderValue::from_static(concat!("eni-cloud-tencent/", env!("CARGO_PKG_VERSION"))),
            ),
            (
                HeaderName::from_static("x-tc-language"),
                HeaderValue::from_static("en-US"),
            ),
            (
                HeaderName::from_static("x-tc-action"),
                HeaderValue::from_static(A::NAME),
            ),
            (
                HeaderName::from_static("x-tc-version"),
                HeaderValue::from_static(A::PRODUCT.version()),
            ),
            (
                HeaderName::from_static("x-tc-timestamp"),
                HeaderValue::from(now.as_second()),
            ),
        ]);
        let mut put = |name: &'static str, text: &str| -> Result<(), &'static str> {
            let mut value = HeaderValue::from_str(text).map_err(|_| name)?;
            value.set_sensitive(matches!(name, "x-tc-token" | "authorization"));
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        put("x-tc-region", &self.region)?;
        if let Some(token) = keys.and_then(Credentials::token) {
            put("x-tc-token", token.expose_secret())?;
        }
        put("authorization", signature.as_deref().unwrap_or("SKIP"))?;
        Ok(headers)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("region", &self.region)
            .field("site", &self.site)
            .field("vpc", &self.gateways[&Product::Vpc].as_str())
            .finish_non_exhaustive()
    }
}

fn record(span: &Span, request_id: Option<&str>) {
    if let Some(id) = request_id {
        span.record("request_id", id);
    }
}

/// Nobody knows what was done. The causes say what the first line hides.
fn no_answer(error: reqwest::Error) -> Cause {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Cause::NoAnswer {
        message,
        request_id: None,
    }
}
