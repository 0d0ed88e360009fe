//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
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
/// Health is that this process answers: a restart mends neither the API server nor ipamd, about which `/readyz` and
/// the metrics tell.
pub(crate) async fn serve(listener: TcpListener, status: Arc<Status>) -> std::io::Result<()> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(status.clone())));
    let shared = Shared {
        status,
        registry: Arc::new(registry),
    };
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared);
    axum::serve(listener, router).await
}

async fn health(State(shared): State<Shared>) -> String {
    format!("ok: {}\n", shared.status.node)
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    match shared.status.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match exposition::text(&shared.registry) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
