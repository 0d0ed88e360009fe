//! Binding a pod to its node, in the scheduler's place.

use std::time::Duration;

use eni_core::model::Pod;
use k8s_openapi::api::core::v1;
use kube::{
    Client,
    core::{
        Request,
        params::{GetParams, PostParams},
    },
};
use serde_json::{Value, json};

use super::BindingArgs;
use crate::{
    calls::{CallError, Calls},
    pod,
};

/// Why a pod is not bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It is gone, or another bears its name.
    #[error("the pod with uid {0} does not exist any more")]
    Gone(String),
    /// It has a node already.
    #[error("it is bound to {0} already")]
    Elsewhere(String),
    /// The API server refuses: it is not bound.
    #[error("the API server refuses: {0}")]
    Refused(String),
    /// Nobody knows whether it is bound; the pod will show it.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

impl BindError {
    /// Whether the binding did certainly not come about.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

/// Binds pods by the API server.
#[derive(Clone, Debug)]
pub struct Binder {
    calls: Calls,
    patience: Duration,
}

impl Binder {
    /// One whose calls take at most `patience` each.
    pub fn new(client: Client, patience: Duration) -> Self {
        Self {
            calls: Calls::new(client),
            patience,
        }
    }

    /// The pod of a binding as it is now.
    ///
    /// # Errors
    ///
    /// If it is another, has another node, or cannot be read. One that has this node already is bound.
    pub async fn pod(&self, args: &BindingArgs) -> Result<Pod, BindError> {
        let get = pods(args).get(&args.pod_name, &GetParams::default());
        let found: Result<v1::Pod, _> = self.calls.send(get, self.patience).await;
        let found = match found {
            Ok(found) => pod(&found).map_err(|error| BindError::Refused(error.to_string()))?,
            Err(error) if error.code() == Some(404) => return Err(BindError::Gone(args.pod_uid.clone())),
            Err(error) => return Err(BindError::Refused(error.to_string())),
        };
        match &found.node {
            // API servers before 1.22 do not compare the uid of a binding.
            _ if found.uid.as_str() != args.pod_uid => Err(BindError::Gone(args.pod_uid.clone())),
            Some(node) if node.as_str() != args.node => Err(BindError::Elsewhere(node.to_string())),
            _ => Ok(found),
        }
    }

    /// Posts the binding. Whoever asks twice is told the same.
    ///
    /// # Errors
    ///
    /// Why it did not come about, or that nobody knows.
    pub async fn bind(&self, args: &BindingArgs) -> Result<(), BindError> {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"namespace": args.pod_namespace, "name": args.pod_name, "uid": args.pod_uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": args.node},
        });
        let post = pods(args).create_subresource(
            "binding",
            &args.pod_name,
            &PostParams::default(),
            binding.to_string().into_bytes(),
        );
        let posted: Result<Value, CallError> = self.calls.send(post, self.patience).await;
        let Err(error) = posted else {
            return Ok(());
        };
        if !error.is_transient() && error.code() != Some(409) {
            return Err(BindError::Refused(error.to_string()));
        }
        // A conflict may be our own first attempt, and an answer may have been lost.
        match self.pod(args).await {
            Ok(found) if found.node.is_some() => Ok(()),
            Ok(_) if error.code() == Some(409) => Err(BindError::Refused(error.to_string())),
            Ok(_) => Err(BindError::Unknown(error.to_string())),
            Err(other @ (BindError::Gone(_) | BindError::Elsewhere(_))) => Err(other),
            Err(_) => Err(BindError::Unknown(error.to_string())),
        }
    }
}

fn pods(args: &BindingArgs) -> Request {
    Request::new(format!("/api/v1/namespaces/{}/pods", args.pod_namespace))
}
