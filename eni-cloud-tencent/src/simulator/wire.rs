//! A request as it came over the wire.

use axum::{
    body::Bytes,
    http::{HeaderMap, request::Parts},
};

/// A request's method, the text after `?`, its headers and its body.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) method: String,
    pub(super) query: String,
    headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Wire {
    pub(super) fn new(head: &Parts, body: Bytes) -> Self {
        Self {
            method: head.method.to_string(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body,
        }
    }

    /// A header's text; one that is not ASCII text counts as absent.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
