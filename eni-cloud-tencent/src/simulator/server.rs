//! The HTTP server.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE},
    response::Response,
    routing::any,
};
use serde_json::Value;

use super::{
    desk::Desk,
    gateway::envelope,
    refusal::{Refusal, Verdict, refuse},
    wire::Wire,
};

/// The longest body of a request signed by TC3 (API documentation, "Request structure").
const BODY: usize = 10 << 20;
/// The longest request by GET.
const QUERY: usize = 32 << 10;

/// The API as a service.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new().route("/", any(answer)).with_state(desk)
}

/// Answers a request. What it asks for is carried out even if the caller goes away meanwhile.
async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let request_id = desk.request_id();
    let wire = match read(request).await {
        Ok(wire) => wire,
        Err(refusal) => return respond(&envelope(Err(refusal), &request_id)),
    };
    let id = request_id.clone();
    let work = tokio::spawn(async move {
        let call = desk.admit(&wire)?;
        desk.carry_out(&call, &wire, &id).await
    });
    let verdict = work
        .await
        .unwrap_or_else(|error| refuse!("InternalError", "The action broke: {error}."));
    respond(&envelope(verdict, &request_id))
}

async fn read(request: Request) -> Verdict<Wire> {
    let (head, body) = request.into_parts();
    if ![Method::GET, Method::POST].contains(&head.method) {
        return refuse!("UnsupportedProtocol", "The method is neither GET nor POST.");
    }
    let too_long = || Refusal::new("RequestSizeLimitExceeded", "The request is too long.");
    if head.uri.query().unwrap_or_default().len() > QUERY {
        return Err(too_long());
    }
    let body = to_bytes(body, BODY).await.map_err(|_| too_long())?;
    Ok(Wire::new(&head, body))
}

/// Errors come with 200 too, and the content type has no charset: official clients take any other for a
/// success without content.
fn respond(envelope: &Value) -> Response {
    let mut response = Response::new(Body::from(envelope.to_string()));
    *response.status_mut() = StatusCode::OK;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
