//! `/healthz` and `/metrics`.

use std::sync::Arc;

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

use crate::{metrics::Metrics, status::Status};

/// What Prometheus takes OpenMetrics for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    let mut text = String::new();
    // Writing into a string fails only by a defect of a metric, which a scrape must show.
    match encode(&mut text, &shared.registry) {
        Ok(()) => Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text)),
        Err(error) => Err((axum::http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
