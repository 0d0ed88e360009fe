//! A pod's binding: judged by what is promised, posted, and counted on until it shows.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, body::Bytes, extract::State};
use eni_core::model::NodeName;
use eni_kube::extender::{BindError, Binding, BindingArgs};
use tokio::time::Instant;

use crate::server::{Extender, Shared, Unanswered, unreadable, words};

/// A binding that is being carried out, for as long as this lives.
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.binding.fetch_add(1, Ordering::SeqCst);
        Self(shared.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.binding.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) async fn bind(State(extender): State<Extender>, body: Bytes) -> Result<Json<Binding>, Unanswered> {
    let args = match extender.answers() {
        false => Err(Unanswered::NotLeading),
        true => serde_json::from_slice::<BindingArgs>(&body).map_err(unreadable),
    };
    // What comes of a binding that is carried out is counted there.
    let args = args.or_else(|error| extender.count("bind", Err(error)))?;
    let (pod, node, uid) = (args.key(), args.node.clone(), args.pod_uid.clone());
    // On a task of its own: a scheduler that hangs up does not leave a binding half judged.
    let bound = tokio::spawn(async move {
        let _under_way = UnderWay::begin(&extender.0);
        // It may have ended meanwhile, and does not wait for what it did not see.
        match extender.answers() {
            true => extender.0.bind(&args).await,
            false => Err("this replica does not lead any more".to_owned()),
        }
    })
    .await;
    let error = match bound {
        Ok(Ok(())) => {
            tracing::info!(%pod, %uid, %node, "bound");
            String::new()
        }
        Ok(Err(why)) => why,
        Err(error) => error.to_string(),
    };
    if !error.is_empty() {
        tracing::warn!(%pod, %uid, %node, error, "not bound");
    }
    Ok(Json(Binding { error }))
}

impl Shared {
    /// Reads the pod, takes room for it, and posts its binding: what fails for certain gives the room back.
    async fn bind(&self, args: &BindingArgs) -> Result<(), String> {
        let (uid, node) = (args.uid(), NodeName::from(args.node.as_str()));
        let outcome = |outcome| self.figures.count("bind", outcome);
        let pod = self.binder.pod(args).await.map_err(|error| {
            outcome("refused");
            error.to_string()
        })?;
        if pod.node.is_some() {
            // An earlier attempt, whose answer was lost.
            outcome("bound");
            return Ok(());
        }
        let begun = self
            .ledger
            .write(|rooms| rooms.begin(&uid, &node, Instant::now()));
        begun.map_err(|misfit| {
            outcome("no_room");
            words(&misfit)
        })?;
        let bound = self.binder.bind(args).await;
        outcome(match &bound {
            Ok(()) => "bound",
            Err(BindError::Unknown(_)) => "unknown",
            Err(_) => "refused",
        });
        bound.map_err(|error| {
            if error.is_certain() {
                self.ledger.write(|rooms| rooms.fail(&uid, &node));
            }
            error.to_string()
        })
    }
}
