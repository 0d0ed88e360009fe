//! The Lease object: reads, and writes by compare-and-swap.

use std::sync::Arc;

use eni_core::env::Environment;
use kube::core::Request;
use serde_json::{Value, json};

use super::ElectionOptions;
use crate::calls::{CallError, Calls};

/// The lease of an election, as one candidate writes it.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) calls: Calls,
    pub(super) options: ElectionOptions,
    pub(super) environment: Arc<dyn Environment>,
}

/// Who has the lease after a write.
pub(super) enum Written {
    /// We have; the object as it is now.
    Ours(Value),
    /// Somebody else wrote it meanwhile.
    Theirs,
}

impl Lease {
    /// The lease, if there is one.
    pub(super) async fn read(&self) -> Result<Option<Value>, CallError> {
        match self.calls.get(&self.requests(), &self.options.name).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the lease that was read, unless somebody wrote it since.
    pub(super) async fn take(&self, read: Option<Value>) -> Result<Written, CallError> {
        let Some(mut lease) = read else {
            let mut lease = json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.options.name, "namespace": self.options.namespace},
                "spec": {"leaseTransitions": 0},
            });
            self.hold(&mut lease, true);
            let created = self.calls.create(&self.requests(), &lease).await;
            return written(created);
        };
        let transitions = lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0);
        lease["spec"]["leaseTransitions"] = json!((transitions + 1).min(i32::MAX as u64));
        self.hold(&mut lease, true);
        self.replace(&lease).await
    }

    /// Renews the lease that was written last.
    pub(super) async fn renew(&self, last: &Value) -> Result<Written, CallError> {
        self.rewrite(last, |lease| self.hold(lease, false)).await
    }

    /// Says that nobody has it.
    pub(super) async fn give_up(&self, last: &Value) -> Result<Written, CallError> {
        let free = |lease: &mut Value| {
            lease["spec"]["holderIdentity"] = json!("");
            lease["spec"]["leaseDurationSeconds"] = json!(1);
            lease["spec"]["renewTime"] = json!(self.now());
        };
        self.rewrite(last, free).await
    }

    /// Changes the lease as it was written last. Where it was written since and is still ours, by a renewal of ours
    /// without an answer or by a stranger's mark, it is changed as it now is.
    async fn rewrite(&self, last: &Value, change: impl Fn(&mut Value)) -> Result<Written, CallError> {
        let mut lease = last.clone();
        change(&mut lease);
        if let Written::Ours(written) = self.replace(&lease).await? {
            return Ok(Written::Ours(written));
        }
        match self.read().await? {
            Some(mut lease) if lease["spec"]["holderIdentity"] == self.options.identity => {
                change(&mut lease);
                self.replace(&lease).await
            }
            // Also a lease that was deleted: another may have taken and lost it since.
            _ => Ok(Written::Theirs),
        }
    }

    fn hold(&self, lease: &mut Value, begins: bool) {
        let now = self.now();
        let spec = &mut lease["spec"];
        spec["holderIdentity"] = json!(self.options.identity);
        spec["leaseDurationSeconds"] = json!(self.options.lease_duration.as_secs());
        spec["renewTime"] = json!(now);
        if begins {
            spec["acquireTime"] = json!(now);
        }
    }

    async fn replace(&self, lease: &Value) -> Result<Written, CallError> {
        let requests = self.requests();
        let replaced = self.calls.replace(&requests, &self.options.name, lease).await;
        written(replaced)
    }

    /// For display alone; in the form that the API server's type has.
    fn now(&self) -> String {
        self.environment
            .now()
            .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
            .to_string()
    }

    fn requests(&self) -> Request {
        let namespace = &self.options.namespace;
        Request::new(format!(
            "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        ))
    }
}

fn written(answer: Result<Value, CallError>) -> Result<Written, CallError> {
    match answer {
        Ok(lease) => Ok(Written::Ours(lease)),
        // Changed, created or deleted since.
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(Written::Theirs),
        Err(error) => Err(error),
    }
}
