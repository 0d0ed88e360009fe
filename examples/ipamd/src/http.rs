//! `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::{metrics::Metrics, status::Status};

#[derive(Clone)]
struct Shared {
    status: Arc<Status>,
    registry: Arc<Registry>,
}

/// Serves until it is dropped.
///
/// Health is that this process answers: a candidate that waits is well, and a restart mends neither the cloud nor
/// the API server, about which the metrics tell. `/health` is where TKE's deployment looks for it.
pub async fn serve(listener: TcpListener, status: Arc<Status>) -> std::io::Result<()> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(status.clone())));
    let shared = Shared {
        status,
        registry: Arc::new(registry),
    };
    let router = Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(shared);
    axum::serve(listener, router).await
}

async fn health(State(shared): State<Shared>) -> String {
    let role = match shared.status.term() {
        Some(_) => "leads",
        None => "waits to lead",
    };
    format!("ok: {} {role}\n", shared.status.identity)
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match exposition::text(&shared.registry) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text)),
        Err(error) => Err((axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
