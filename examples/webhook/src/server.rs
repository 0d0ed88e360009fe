//! HTTPS: what the API server asks, and what a scrape does.

use std::{io, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use k8s_openapi::api::core::v1::Pod;
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, AdmissionResponse, AdmissionReview},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    admission::{self, Network},
    tls::Handshaken,
};

/// Where the API server posts its reviews, as in TKE.
pub const PATH: &str = "/add-pod-eni-ip-limit";

/// What every request sees.
#[derive(Clone, Debug)]
struct Shared {
    default: Option<Network>,
    reviews: Family<Outcome, Counter>,
    registry: Arc<Registry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// The resource that was added, `none`, or `invalid`.
    added: &'static str,
}

/// Serves until it is dropped. Pods that name no network are in `default`.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, default: Option<Network>) -> io::Result<()> {
    let mut registry = Registry::with_prefix("webhook");
    let reviews = Family::<Outcome, Counter>::default();
    registry.register(
        "reviews",
        "Pods that were reviewed, by what was added to them",
        reviews.clone(),
    );
    let shared = Shared {
        default,
        reviews,
        registry: Arc::new(registry),
    };
    let router = Router::new()
        .route(PATH, post(review))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .with_state(shared);
    axum::serve(Handshaken::new(listener, tls)?, router).await
}

async fn review(
    State(shared): State<Shared>,
    Json(review): Json<AdmissionReview<Pod>>,
) -> Json<AdmissionReview<DynamicObject>> {
    let request: Result<AdmissionRequest<Pod>, _> = review.try_into();
    let (response, added) = match &request {
        Ok(request) => admit(request, shared.default),
        Err(error) => (AdmissionResponse::invalid(error), "invalid"),
    };
    shared.reviews.get_or_create(&Outcome { added }).inc();
    Json(response.into_review())
}

/// Nobody's pod is refused: what cannot be read or patched is for others to judge.
fn admit(request: &AdmissionRequest<Pod>, default: Option<Network>) -> (AdmissionResponse, &'static str) {
    let allowed = AdmissionResponse::from(request);
    let lacks = request
        .object
        .as_ref()
        .and_then(|pod| admission::lacks(pod, default));
    let Some((resource, patch)) = lacks else {
        return (allowed, "none");
    };
    let namespace = request.namespace.as_deref().unwrap_or_default();
    match allowed.with_patch(patch) {
        Ok(response) => {
            tracing::debug!(
                uid = request.uid,
                namespace,
                name = request.name,
                resource,
                "a pod asks for one more"
            );
            (response, resource)
        }
        Err(error) => {
            tracing::error!(uid = request.uid, namespace, name = request.name, %error, "the pod is left as it is");
            (AdmissionResponse::from(request), "invalid")
        }
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match exposition::text(&shared.registry) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}
