//! The HTTP server.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE},
    response::Response,
    routing::{any, get},
};
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    desk::Desk,
    faults::{Fault, FaultPlan},
    gateway::envelope,
    refusal::{Refusal, Verdict, refuse},
    tasks::Status,
    wire::Wire,
};

/// The longest body of a request signed by TC3 (API documentation, "Request structure").
const BODY: usize = 10 << 20;
/// The longest request by GET.
const QUERY: usize = 32 << 10;

/// The API as a service, and the plan of faults at `/_sim/faults`: GET shows what is left of it, PUT
/// replaces it, DELETE ends it.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", any(answer))
        .route(
            "/_sim/faults",
            get(show_faults).put(replace_faults).delete(clear_faults),
        )
        .with_state(desk)
}

async fn show_faults(State(desk): State<Arc<Desk>>) -> Json<FaultPlan> {
    Json(desk.faults.lock().clone())
}

async fn replace_faults(State(desk): State<Arc<Desk>>, Json(plan): Json<FaultPlan>) -> StatusCode {
    desk.plan_faults(plan);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(desk): State<Arc<Desk>>) -> StatusCode {
    desk.plan_faults(FaultPlan::default());
    StatusCode::NO_CONTENT
}

/// What is sent back.
enum Reply {
    Verdict(Verdict<serde_json::Map<String, Value>>),
    Status(u16),
    Nothing,
    Half(Verdict<serde_json::Map<String, Value>>),
}

/// Answers a request. What it asks for is carried out even if the caller goes away meanwhile.
async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let request_id = desk.request_id();
    let wire = match read(request).await {
        Ok(wire) => wire,
        Err(refusal) => return respond(&envelope(Err(refusal), &request_id)),
    };
    let id = request_id.clone();
    let work = tokio::spawn(async move { desk.reply(&wire, &id).await });
    let broken = |error| Reply::Verdict(refuse!("InternalError", "The action broke: {error}."));
    match work.await.unwrap_or_else(broken) {
        Reply::Verdict(verdict) => respond(&envelope(verdict, &request_id)),
        Reply::Half(verdict) => cut(&envelope(verdict, &request_id)),
        Reply::Nothing => broken_off(stream::empty()),
        Reply::Status(status) => {
            let mut response = Response::new(Body::from("the gateway broke"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            response
        }
    }
}

impl Desk {
    async fn reply(&self, wire: &Wire, request_id: &str) -> Reply {
        let call = match self.admit(wire) {
            Ok(call) => call,
            Err(refusal) => return Reply::Verdict(Err(refusal)),
        };
        let random = self.environment.random();
        let fault = self.faults.lock().next(call.name, random);
        match &fault {
            Some(Fault::Throttle) => {
                return Reply::Verdict(refuse!("RequestLimitExceeded", "A fault was planned."));
            }
            Some(Fault::Refuse { code }) => {
                return Reply::Verdict(refuse!(code.clone(), "A fault was planned before execution."));
            }
            Some(Fault::Status {
                status,
                executed: false,
            }) => return Reply::Status(*status),
            Some(Fault::ExpireTokens) => {
                self.accounts.lock().expire();
                if let Err(refusal) = self.admit(wire) {
                    return Reply::Verdict(Err(refusal));
                }
            }
            _ => {}
        }
        let verdict = self.carry_out(&call, wire, request_id).await;
        match fault {
            Some(Fault::FailAfter { code }) => {
                Reply::Verdict(refuse!(code, "A fault was planned after execution."))
            }
            Some(Fault::LoseReply) => Reply::Nothing,
            Some(Fault::Truncate) => Reply::Half(verdict),
            Some(Fault::Status { status, .. }) => Reply::Status(status),
            Some(Fault::Slow { millis }) => {
                sleep(Duration::from_millis(millis)).await;
                Reply::Verdict(verdict)
            }
            Some(Fault::Stall) => {
                self.tasks.lock().stall(request_id, &self.cloud, Status::Running);
                Reply::Verdict(verdict)
            }
            Some(Fault::FailTask) => {
                self.tasks.lock().stall(request_id, &self.cloud, Status::Failed);
                Reply::Verdict(verdict)
            }
            _ => Reply::Verdict(verdict),
        }
    }

    /// Replaces the plan of faults.
    pub(super) fn plan_faults(&self, plan: FaultPlan) {
        self.cloud
            .set_listing_lag(Duration::from_millis(plan.listing_lag_millis));
        *self.faults.lock() = plan;
    }
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
    json(Body::from(envelope.to_string()))
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// An answer whose second half does not come.
fn cut(envelope: &Value) -> Response {
    let mut text = envelope.to_string();
    let whole = text.len();
    text.truncate(whole / 2);
    // The first half goes out before the connection breaks.
    let half = stream::once(async move { Some(Bytes::from(text)) });
    let pause = stream::once(async {
        tokio::task::yield_now().await;
        None
    });
    let mut response = broken_off(half.chain(pause).filter_map(async |bytes| bytes));
    response
        .headers_mut()
        .insert("Content-Length", HeaderValue::from(whole));
    response
}

/// What is sent of a body until the connection closes. Without any, not even the headers go out.
fn broken_off(sent: impl stream::Stream<Item = Bytes> + Send + 'static) -> Response {
    let end = stream::once(async { Err(std::io::Error::other("a fault was planned")) });
    json(Body::from_stream(sent.map(Ok).chain(end)))
}
