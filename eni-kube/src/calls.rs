//! Calls of the API server, each with an end.

use std::{error::Error, time::Duration};

use kube::{
    Client,
    core::{
        Request, Status,
        params::{DeleteParams, GetParams, PostParams},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

/// How long a call for one object may take. The API server itself gives up writing after 34 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A call that did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server says why.
    #[error("{} ({})", .0.message, .0.code)]
    Status(Box<Status>),
    /// The outcome is unknown.
    #[error("{0}")]
    NoAnswer(String),
}

impl CallError {
    /// The HTTP status, if there was an answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            Self::NoAnswer(_) => None,
        }
    }

    /// Whether the same call may succeed later: there was no answer, or the server is not well or has too much to
    /// do. Whether it acted is not known.
    pub(crate) fn is_transient(&self) -> bool {
        self.code().is_none_or(|code| code == 429 || code >= 500)
    }
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status(status),
            other => Self::NoAnswer(chain(&other)),
        }
    }
}

/// An error with what caused it, which the client's own message leaves out.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A client whose calls all end.
#[derive(Clone)]
pub(crate) struct Calls {
    client: Client,
}

impl Calls {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, at: &Request, name: &str) -> Result<T, CallError> {
        self.send(at.get(name, &GetParams::default()), PATIENCE).await
    }

    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        at: &Request,
        object: &impl Serialize,
    ) -> Result<T, CallError> {
        self.send(at.create(&PostParams::default(), json(object)?), PATIENCE)
            .await
    }

    pub(crate) async fn replace<T: DeserializeOwned>(
        &self,
        at: &Request,
        name: &str,
        object: &impl Serialize,
    ) -> Result<T, CallError> {
        self.send(at.replace(name, &PostParams::default(), json(object)?), PATIENCE)
            .await
    }

    pub(crate) async fn delete(
        &self,
        at: &Request,
        name: &str,
        how: &DeleteParams,
    ) -> Result<serde_json::Value, CallError> {
        self.send(at.delete(name, how), PATIENCE).await
    }

    /// Sends a request that was built, or was not.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        patience: Duration,
    ) -> Result<T, CallError> {
        let request = request.map_err(|error| CallError::NoAnswer(chain(&error)))?;
        match timeout(patience, self.client.request(request)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(CallError::NoAnswer(format!(
                "no answer within {} s",
                patience.as_secs()
            ))),
        }
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

fn json(object: &impl Serialize) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(object).map_err(|error| CallError::NoAnswer(chain(&error)))
}
