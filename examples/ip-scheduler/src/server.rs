//! HTTP: what kube-scheduler asks, and what a probe and a scrape do.

use std::{
    borrow::Cow,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use eni_core::{
    leadership::Leadership,
    model::{NodeName, Pod},
    predicate::{Misfit, Predicate},
};
use eni_kube::extender::{Args, Binder, Candidates, Filtered, Preempted, PreemptionArgs, Scored, Victims};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::{
    binding,
    figures::{Figures, Reason},
    ledger::Ledger,
};

/// The most that a request may be long: 5,000 whole nodes are 64 MB.
const BODY: usize = 128 << 20;

/// How often it is looked whether the last binding has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How reasons begin, so that one sees among a scheduler's whose they are; TKE's do.
const WHOSE: &str = "[ip-scheduler]";

/// The extender, as every request sees it. Clones are handles of the same one.
#[derive(Clone)]
pub struct Extender(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) binder: Binder,
    /// The right to answer.
    term: Mutex<Option<Arc<dyn Leadership>>>,
    /// Bindings that are being carried out.
    pub(crate) binding: AtomicUsize,
    pub(crate) figures: Figures,
    registry: Registry,
}

impl Extender {
    /// One that does not answer yet.
    pub fn new(ledger: Arc<Ledger>, binder: Binder) -> Self {
        let mut registry = Registry::with_prefix("ip_scheduler");
        let figures = Figures::register(&mut registry);
        Self(Arc::new(Shared {
            ledger,
            binder,
            term: Mutex::default(),
            binding: AtomicUsize::new(0),
            figures,
            registry,
        }))
    }

    /// From now on it answers, as long as the leadership lasts.
    pub fn begin(&self, leadership: Arc<dyn Leadership>) {
        *self.0.term.lock() = Some(leadership);
    }

    /// It answers no more; returns when no binding is under way, each of which ends by itself.
    pub async fn end(&self) {
        *self.0.term.lock() = None;
        while self.0.binding.load(Ordering::SeqCst) > 0 {
            sleep(LOOK).await;
        }
    }

    /// Serves until it is dropped.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let router = Router::new()
            .route("/filter", post(filter))
            .route("/prioritize", post(prioritize))
            .route("/preempt", post(preempt))
            .route("/bind", post(binding::bind))
            .layer(DefaultBodyLimit::max(BODY))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.clone());
        axum::serve(listener, router).await
    }

    pub(crate) fn answers(&self) -> bool {
        let term = self.0.term.lock();
        term.as_ref()
            .is_some_and(|leadership| leadership.remaining().is_some())
    }

    /// Counts a request, and what came of it.
    pub(crate) fn count<T>(
        &self,
        verb: &'static str,
        answer: Result<T, Unanswered>,
    ) -> Result<T, Unanswered> {
        let outcome = match &answer {
            Ok(_) => "answered",
            Err(Unanswered::NotLeading) => "not_leading",
            Err(Unanswered::Unreadable(_)) => "unreadable",
        };
        self.0.figures.count(verb, outcome);
        answer
    }

    fn judge(&self, judge: impl FnOnce() -> Result<(), Misfit>) -> Result<(), (String, bool)> {
        judge().map_err(|misfit| {
            let reason = misfit.reason;
            self.0.figures.rejected.get_or_create(&Reason { reason }).inc();
            (words(&misfit), misfit.preemption_helps)
        })
    }
}

/// A misfit as people read it in a pod's events.
pub(crate) fn words(misfit: &Misfit) -> String {
    match misfit.detail.is_empty() {
        true => format!("{WHOSE} {}", misfit.reason),
        false => format!("{WHOSE} {} ({})", misfit.reason, misfit.detail),
    }
}

/// Why a request has no answer.
pub(crate) enum Unanswered {
    /// Another replica leads, or none yet.
    NotLeading,
    /// It is not as the protocol has it.
    Unreadable(String),
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        match self {
            // The connection would lead here again.
            Self::NotLeading => (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::CONNECTION, "close")],
                "this replica does not lead\n",
            )
                .into_response(),
            Self::Unreadable(why) => {
                tracing::warn!(why, "a request cannot be read");
                (StatusCode::BAD_REQUEST, why).into_response()
            }
        }
    }
}

pub(crate) fn unreadable(error: impl std::fmt::Display) -> Unanswered {
    Unanswered::Unreadable(format!("this is no request of the extender protocol v1: {error}"))
}

/// The pod and the nodes that a request is about.
fn question<'a>(extender: &Extender, body: &'a Bytes) -> Result<(Pod, Candidates<'a>), Unanswered> {
    if !extender.answers() {
        return Err(Unanswered::NotLeading);
    }
    let args = Args::read(body).map_err(unreadable)?;
    let pod = args.pod().map_err(unreadable)?;
    Ok((pod, args.into_candidates().map_err(unreadable)?))
}

async fn filter(State(extender): State<Extender>, body: Bytes) -> Result<Response, Unanswered> {
    let begun = Instant::now();
    let filtered = question(&extender, &body).map(|(pod, candidates)| {
        let filtered = extender.0.ledger.read(|rooms| {
            Filtered::by(candidates, |node| {
                extender.judge(|| rooms.filter(&pod, &NodeName::from(node)))
            })
        });
        Json(filtered).into_response()
    });
    extender
        .0
        .figures
        .filter_seconds
        .observe(begun.elapsed().as_secs_f64());
    extender.count("filter", filtered)
}

async fn prioritize(State(extender): State<Extender>, body: Bytes) -> Result<Response, Unanswered> {
    let scored = question(&extender, &body).map(|(pod, candidates)| {
        let names: Vec<_> = match candidates {
            Candidates::Names(names) => names,
            Candidates::Objects(objects) => objects.into_iter().map(|(name, _)| name).collect(),
        };
        let scored: Vec<Scored<'_>> = extender.0.ledger.read(|rooms| {
            let score = |host: Cow<'_, str>| rooms.score(&pod, &NodeName::from(host.as_ref()));
            names
                .into_iter()
                .map(|host| Scored {
                    score: score(host.clone()),
                    host,
                })
                .collect()
        });
        Json(scored).into_response()
    });
    extender.count("prioritize", scored)
}

/// Keeps the nodes on which the pod would have an address once the victims are gone. Servers before 1.21 offer those
/// that a filter refused, also without a victim.
async fn preempt(State(extender): State<Extender>, body: Bytes) -> Result<Json<Preempted>, Unanswered> {
    let preempted = match extender.answers() {
        false => Err(Unanswered::NotLeading),
        true => serde_json::from_slice::<PreemptionArgs>(&body)
            .map_err(unreadable)
            .and_then(|args| Ok((args.pod().map_err(unreadable)?, args.nodes())))
            .map(|(pod, nodes)| {
                let helps = |node: &str, victims: &[String]| {
                    let node = NodeName::from(node);
                    let fits = extender.0.ledger.read(|rooms| {
                        let freed = victims
                            .iter()
                            .filter(|uid| rooms.is_on(&uid.as_str().into(), &node))
                            .count();
                        rooms.fits_after(&pod.uid, &node, u32::try_from(freed).unwrap_or(u32::MAX))
                    });
                    fits.is_ok()
                };
                let kept = nodes
                    .into_iter()
                    .filter(|(node, victims, _)| helps(node, victims));
                Json(Preempted {
                    node_name_to_meta_victims: kept
                        .map(|(node, victims, violations)| (node, Victims::new(victims, violations)))
                        .collect(),
                })
            }),
    };
    extender.count("preempt", preempted)
}

async fn ready(State(extender): State<Extender>) -> Response {
    match extender.answers() {
        true => "ok\n".into_response(),
        false => Unanswered::NotLeading.into_response(),
    }
}

async fn metrics(State(extender): State<Extender>) -> impl IntoResponse {
    let shared = &extender.0;
    let [nodes, pods, under_way] = shared.ledger.read(|rooms| rooms.counts());
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    shared.figures.leader.set(i64::from(extender.answers()));
    shared.figures.nodes.set(number(nodes));
    shared.figures.pods.set(number(pods));
    shared.figures.bindings_under_way.set(number(under_way));
    match exposition::text(&shared.registry) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

impl std::fmt::Debug for Extender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extender")
            .field("answers", &self.answers())
            .finish_non_exhaustive()
    }
}
