//! The five calls: requests are checked and translated, outcomes get a gRPC code and their sentence.
//!
//! | code | the plugin |
//! | --- | --- |
//! | `DEADLINE_EXCEEDED`, `ABORTED`, `UNAVAILABLE` | lets the runtime try again |
//! | `CANCELLED`, `FAILED_PRECONDITION`, `INVALID_ARGUMENT`, `NOT_FOUND` | reports the sentence |
//! | `INTERNAL` | reports an I/O failure |

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use agent_api::{
    Spool, negotiate,
    proto::{self, agent_server::Agent},
};
use eni_core::{
    agent::{Add, AddError, Del, DelError, Grant, NodeService, NotReady},
    allocator::AddressRequest,
    gc::{NodeCollector, Sweep},
    model::{Allocation, Netns, Origin, PodKey, SandboxKey, Uid},
    network::NodeNetwork,
};
use futures::{FutureExt as _, StreamExt as _, future, stream, stream::BoxStream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Served, replay};
use crate::history::History;

/// What an ADD keeps of its time for wiring the pod once it has an address.
const WIRING: Duration = Duration::from_secs(2);

/// No plugin may make the agent wait longer than this; kubelet gives up after about 4 minutes.
const LONGEST: Duration = Duration::from_secs(240);

/// The protocol's server.
pub(super) struct Calls {
    service: Arc<NodeService>,
    network: Arc<dyn NodeNetwork>,
    collector: Arc<NodeCollector>,
    history: Arc<History>,
    spool: Spool,
    stopping: CancellationToken,
}

impl Calls {
    pub(super) fn new(served: Served, spool: Spool, stopping: CancellationToken) -> Self {
        let Served {
            service,
            network,
            collector,
            history,
        } = served;
        Self {
            service,
            network,
            collector,
            history,
            spool,
            stopping,
        }
    }
}

impl Calls {
    fn origin(&self, netns: &str, device: u64, inode: u64) -> Origin {
        let told = inode != 0 && !netns.is_empty();
        Origin {
            boot: self.service.boot().clone(),
            netns: told.then(|| Netns {
                path: netns.into(),
                device,
                inode,
            }),
            started: None,
        }
    }
}

#[tonic::async_trait]
impl Agent for Calls {
    async fn status(
        &self,
        request: Request<proto::StatusRequest>,
    ) -> Result<Response<proto::StatusReply>, Status> {
        let version = version(request.into_inner().versions)?;
        // A full node is none that a runtime should call unready.
        let fault = self.service.status().err().filter(NotReady::is_fault);
        let limited = matches!(fault, Some(NotReady::NoEni)) && !self.service.owners().is_empty();
        Ok(Response::new(proto::StatusReply {
            version,
            ready: fault.is_none(),
            reason: fault.map(|fault| fault.to_string()).unwrap_or_default(),
            limited,
        }))
    }

    type AddStream = BoxStream<'static, Result<proto::AddReply, Status>>;

    async fn add(&self, request: Request<proto::AddRequest>) -> Result<Response<Self::AddStream>, Status> {
        let received = Instant::now();
        let request = request.into_inner();
        let version = version(request.versions)?;
        let key = key(request.interface)?;
        let patience = patience(request.deadline_ms);
        let deadline = received + patience;
        let (pod, pod_uid) = pod(request.pod);
        let named = pod.as_ref().map(ToString::to_string);
        let add = Add {
            request: AddressRequest {
                key: key.clone(),
                pod,
                pod_uid,
                families: self.service.families(),
                origin: Some(self.origin(&request.netns, request.netns_device, request.netns_inode)),
            },
            deadline: deadline - WIRING.min(patience / 5),
            started: Duration::from_nanos(request.started_ns),
        };
        // A DEL recorded in the agent's absence came before this ADD, and its record must not outlive it.
        replay::of(&self.spool, &self.service, &*self.network, &key)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let granted = tokio::select! {
            biased;
            granted = self.service.add(add) => granted,
            () = self.stopping.cancelled() => {
                return Err(Status::unavailable("the agent is stopping; it will be back when it is restarted"));
            }
        };
        let outcome = granted
            .as_ref()
            .map(|(given, _)| given.allocation.addresses.to_string());
        self.history.add(
            &key,
            named,
            received.elapsed(),
            outcome.map_err(ToString::to_string),
        );
        let (given, wiring) = granted.map_err(|error| {
            tracing::warn!(%key, %error, "ADD failed");
            add_status(error)
        })?;
        tracing::info!(%key, netns = request.netns, allocation = ?given.allocation, "ADD");
        let reply = proto::AddReply {
            version,
            grant: Some(grant(&given)),
        };
        let hold = async move {
            let _until_the_plugin_hangs_up = wiring;
            sleep_until(deadline).await;
            tracing::warn!(%key, "a plugin still held its ADD open at its deadline");
            Err(Status::deadline_exceeded(
                "the plugin's own deadline has passed; it must not wire the pod any more",
            ))
        };
        let answers = stream::once(future::ready(Ok(reply))).chain(hold.into_stream());
        Ok(Response::new(answers.boxed()))
    }

    async fn del(&self, request: Request<proto::DelRequest>) -> Result<Response<proto::DelReply>, Status> {
        let received = Instant::now();
        let request = request.into_inner();
        let version = version(request.versions)?;
        let key = key(request.interface)?;
        let del = Del {
            key: key.clone(),
            deadline: received + patience(request.deadline_ms),
            started: Duration::from_nanos(request.started_ns),
        };
        let released = self.service.del(del).await;
        let outcome = released.as_ref().map(|released| match released {
            Some(allocation) => allocation.addresses.to_string(),
            None => "nothing".to_owned(),
        });
        self.history
            .del(&key, received.elapsed(), outcome.map_err(ToString::to_string));
        let released = released.map_err(|error| {
            tracing::warn!(%key, %error, "DEL failed");
            match error {
                DelError::Busy { .. } => Status::aborted(error.to_string()),
                error => Status::internal(error.to_string()),
            }
        })?;
        // A record of an earlier attempt, which found no agent, has been made good by this one.
        self.spool
            .remove(&key)
            .map_err(|error| Status::internal(error.to_string()))?;
        tracing::info!(%key, ?released, "DEL");
        Ok(Response::new(proto::DelReply {
            version,
            released: released.map_or_else(Vec::new, |allocation| addresses(&allocation)),
        }))
    }

    async fn check(
        &self,
        request: Request<proto::CheckRequest>,
    ) -> Result<Response<proto::CheckReply>, Status> {
        let request = request.into_inner();
        let version = version(request.versions)?;
        let key = key(request.interface)?;
        match self.service.grant(&key) {
            Some(given) => Ok(Response::new(proto::CheckReply {
                version,
                grant: Some(grant(&given)),
            })),
            None if self.service.owners().iter().any(|(owner, _)| *owner == key) => {
                Err(add_status(AddError::OutOfService { key }))
            }
            None => Err(Status::not_found(format!(
                "{key} owns no address on this node; delete the pod"
            ))),
        }
    }

    async fn gc(&self, request: Request<proto::GcRequest>) -> Result<Response<proto::GcReply>, Status> {
        let request = request.into_inner();
        let version = version(request.versions)?;
        let network = request.network;
        if network.is_empty() {
            return Err(Status::invalid_argument(
                "a GC names the network that it is about",
            ));
        }
        let valid = request.valid.into_iter().map(attachment);
        let valid: BTreeSet<_> = valid.collect::<Result<_, _>>()?;
        let sweep = self.collector.collect_network(&network, &valid).await;
        let Sweep {
            reclaimed, failed, ..
        } = sweep.map_err(|error| Status::aborted(error.to_string()))?;
        tracing::info!(network, valid = valid.len(), ?reclaimed, ?failed, "GC");
        Ok(Response::new(proto::GcReply {
            version,
            reclaimed,
            failed,
        }))
    }
}

fn attachment(valid: proto::Interface) -> Result<(Arc<str>, Arc<str>), Status> {
    if valid.container_id.is_empty() || valid.name.is_empty() {
        return Err(Status::invalid_argument(
            "a valid attachment lacks a container id or an interface's name; nothing was taken back",
        ));
    }
    Ok((valid.container_id.into(), valid.name.into()))
}

fn version(versions: Option<proto::Versions>) -> Result<u32, Status> {
    negotiate(versions).map_err(|error| Status::failed_precondition(error.to_string()))
}

fn key(interface: Option<proto::Interface>) -> Result<SandboxKey, Status> {
    let key = SandboxKey::from(interface.unwrap_or_default());
    if [&key.network, &key.container, &key.interface]
        .iter()
        .any(|part| part.is_empty())
    {
        return Err(Status::invalid_argument(format!(
            "the interface {key} lacks a network, a container id or a name"
        )));
    }
    Ok(key)
}

fn pod(pod: Option<proto::Pod>) -> (Option<PodKey>, Option<Uid>) {
    let Some(pod) = pod else { return (None, None) };
    let uid = (!pod.uid.is_empty()).then(|| Uid::from(&pod.uid));
    (Some(PodKey::new(pod.namespace, pod.name)), uid)
}

fn patience(deadline_ms: u32) -> Duration {
    Duration::from_millis(deadline_ms.into()).min(LONGEST)
}

fn grant(given: &Grant) -> proto::Grant {
    proto::Grant {
        addresses: addresses(&given.allocation),
        table: given.link.table,
        eni: given.allocation.eni.to_string(),
    }
}

fn addresses(allocation: &Allocation) -> Vec<String> {
    allocation.addresses.iter().map(|ip| ip.to_string()).collect()
}

fn add_status(error: AddError) -> Status {
    let sentence = error.to_string();
    match error {
        AddError::Timeout { .. } | AddError::TooLate { .. } => Status::deadline_exceeded(sentence),
        AddError::Busy { .. } => Status::aborted(sentence),
        AddError::Cancelled { .. } => Status::cancelled(sentence),
        AddError::OutOfService { .. } | AddError::Superseded { .. } => Status::failed_precondition(sentence),
        _ => Status::internal(sentence),
    }
}
