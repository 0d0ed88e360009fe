//! One event in the API server: created the first time, counted up afterwards, also by another process.

use std::sync::Arc;

use eni_core::env::Environment;
use kube::core::Request;
use serde_json::{Value, json};

use super::{Note, Reference};
use crate::calls::{CallError, Calls};

/// The namespace of events about objects that are in none.
const DEFAULT_NAMESPACE: &str = "default";

/// How often a count that another writer changed is read again.
const ATTEMPTS: usize = 3;

/// The longest message that every API server takes, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// Writes events.
pub(super) struct Writer {
    pub(super) calls: Calls,
    pub(super) component: &'static str,
    pub(super) environment: Arc<dyn Environment>,
}

impl Writer {
    /// Writes that an event was reported so many times more.
    pub(super) async fn write(&self, note: &Note, times: u32) -> Result<(), CallError> {
        let namespace = note.about.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let requests = Request::new(format!("/api/v1/namespaces/{namespace}/events"));
        let name = format!("{}.{:016x}", note.about.name, self.digest(note));
        let now = self.environment.now();
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let written = match self.calls.get::<Value>(&requests, &name).await {
                Ok(mut event) => {
                    let count = event["count"].as_u64().unwrap_or(1);
                    event["count"] = json!(count.saturating_add(times.into()).min(i32::MAX as u64));
                    event["lastTimestamp"] = json!(seconds(now));
                    self.calls.replace::<Value>(&requests, &name, &event).await
                }
                Err(error) if error.code() == Some(404) => {
                    let uid = self.uid(&note.about).await?;
                    let event = self.event(note, times, namespace, &name, uid, now);
                    self.calls.create::<Value>(&requests, &event).await
                }
                Err(error) => return Err(error),
            };
            match written {
                Ok(_) => return Ok(()),
                // Written, or expired, in between.
                Err(error) if matches!(error.code(), Some(404 | 409)) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(()), Err)
    }

    fn event(
        &self,
        note: &Note,
        times: u32,
        namespace: &str,
        name: &str,
        uid: Option<String>,
        now: jiff::Timestamp,
    ) -> Value {
        let about = &note.about;
        let mut involved = json!({"apiVersion": about.api_version, "kind": about.kind, "name": about.name});
        if let Some(namespace) = &about.namespace {
            involved["namespace"] = json!(namespace);
        }
        if let Some(uid) = uid {
            involved["uid"] = json!(uid);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": if note.warning { "Warning" } else { "Normal" },
            "reason": note.reason,
            "message": shortened(&note.message),
            "source": {"component": self.component},
            "firstTimestamp": seconds(now),
            "lastTimestamp": seconds(now),
            "count": times,
        })
    }

    /// `kubectl describe` finds events by the uid of what they are about. What is gone has none.
    async fn uid(&self, about: &Reference) -> Result<Option<String>, CallError> {
        if about.uid.is_some() {
            return Ok(about.uid.clone());
        }
        let namespace = about.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        let requests = Request::new(format!("/api/v1/namespaces/{namespace}/pods"));
        match self.calls.get::<Value>(&requests, &about.name).await {
            Ok(pod) => Ok(pod["metadata"]["uid"].as_str().map(str::to_owned)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Equal for the same event of the same component, in every process: FNV-1a.
    fn digest(&self, note: &Note) -> u64 {
        let about = &note.about;
        let texts = [
            self.component,
            &about.kind,
            &about.name,
            &note.reason,
            &note.message,
        ];
        let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// Legacy timestamps have no fraction.
fn seconds(now: jiff::Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn shortened(message: &str) -> &str {
    let mut end = message.len().min(LONGEST_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
