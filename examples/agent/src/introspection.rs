//! What the agent knows, for its operator: JSON over HTTP on a Unix socket of its own, which root alone can open and
//! which changes nothing.
//!
//! | path | answer |
//! | --- | --- |
//! | `/v1/status` | [`Overview`] |
//! | `/v1/enis` | a list of [`EniView`] |
//! | `/v1/owners` | a list of [`Owner`] |
//! | `/v1/waiting` | a list of [`Waiting`] |
//! | `/v1/calls` | a list of [`Call`](crate::history::Call), the latest first |
//!
//! While the agent does not know its instance yet, the lists are empty.

use std::{collections::BTreeMap, io, net::IpAddr, sync::Arc};

use axum::{Json, Router, extract::State, routing::get};
use eni_core::model::{Allocation, PoolAddress};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use crate::status::{Serving, Status};

/// How the agent stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// The agent's version.
    pub version: String,
    /// The node.
    pub node: String,
    /// Its instance, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Whether new pods are served.
    pub ready: bool,
    /// Why they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many addresses are in which state: free, allocated, cooling, withdrawn, lost.
    pub addresses: BTreeMap<String, usize>,
    /// Addresses that ipamd lets the node advertise.
    pub granted: u32,
    /// Addresses above which idle ones are given back.
    pub maximum: u32,
    /// Addresses that the instance can carry.
    pub capacity: u32,
    /// Sandboxes that wait for an address.
    pub waiting: usize,
    /// How long the first of them has waited, in seconds.
    pub longest_wait_seconds: f64,
    /// How long ago the API server was heard last, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialogue_age_seconds: Option<f64>,
}

/// An ENI that ipamd published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EniView {
    /// The cloud's id.
    pub id: String,
    /// Its MAC.
    pub mac: String,
    /// Its subnet's id.
    pub subnet: String,
    /// The index of its device, if it is in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
    /// The number of its routing table, if it is in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Its addresses for pods.
    pub addresses: Vec<AddressView>,
}

/// An address of an ENI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressView {
    /// The address.
    pub ip: IpAddr,
    /// `owned`, `withdrawn` (offered back), `releasing` (ipamd takes it away), or `idle` (free, or cooling).
    pub state: String,
    /// The owner's interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// An interface and what it owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The interface: network, container id and name.
    pub interface: String,
    /// The pod, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The pod's UID, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// What it owns.
    pub addresses: Vec<IpAddr>,
    /// The ENI that carries it.
    pub eni: String,
    /// Whether the address has vanished in the cloud.
    pub lost: bool,
}

/// A sandbox that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The interface: network, container id and name.
    pub interface: String,
    /// The pod, where the runtime named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: UnixListener, status: Arc<Status>) -> io::Result<()> {
    let router = Router::new()
        .route(
            "/v1/status",
            get(async |State(status): State<Arc<Status>>| Json(overview(&status))),
        )
        .route(
            "/v1/enis",
            get(async |State(status): State<Arc<Status>>| Json(of(&status, enis))),
        )
        .route(
            "/v1/owners",
            get(async |State(status): State<Arc<Status>>| Json(of(&status, owners))),
        )
        .route(
            "/v1/waiting",
            get(async |State(status): State<Arc<Status>>| Json(of(&status, waiting))),
        )
        .route(
            "/v1/calls",
            get(async |State(status): State<Arc<Status>>| {
                Json(of(&status, |serving| serving.history.calls()))
            }),
        )
        .with_state(status);
    axum::serve(listener, router).await
}

fn of<T>(status: &Status, read: impl FnOnce(&Serving) -> Vec<T>) -> Vec<T> {
    status.serving().map(read).unwrap_or_default()
}

fn overview(status: &Status) -> Overview {
    let reason = status.ready().err();
    let mut overview = Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: status.node.to_string(),
        ready: reason.is_none(),
        reason,
        dialogue_age_seconds: status.cluster.heard().map(|age| age.as_secs_f64()),
        ..Overview::default()
    };
    if let Some(serving) = status.serving() {
        let (counters, published) = (serving.service.counters(), serving.service.published());
        let pool = counters.pool;
        let states = [
            ("free", pool.free),
            ("allocated", pool.allocated),
            ("cooling", pool.cooling),
            ("withdrawn", pool.withdrawn),
            ("reserved", pool.reserved),
            ("lost", pool.lost),
        ];
        overview.instance = Some(serving.instance.to_string());
        overview.addresses = states.map(|(state, count)| (state.to_owned(), count)).into();
        overview.granted = published.granted;
        overview.maximum = published.maximum;
        overview.capacity = published.capacity;
        overview.waiting = counters.waiting;
        overview.longest_wait_seconds = counters.longest_wait.as_secs_f64();
    }
    overview
}

fn enis(serving: &Serving) -> Vec<EniView> {
    let service = &serving.service;
    let owned: BTreeMap<IpAddr, String> = service
        .owners()
        .into_iter()
        .flat_map(|(key, owned)| {
            owned
                .addresses
                .iter()
                .map(move |ip| (ip, key.to_string()))
                .collect::<Vec<_>>()
        })
        .collect();
    let withdrawn = service.withdrawn();
    let view = |entry: &PoolAddress, otherwise: &str| {
        let owner = owned.get(&entry.ip).cloned();
        let state = match &owner {
            Some(_) => "owned",
            None if withdrawn.contains(entry) => "withdrawn",
            None => otherwise,
        };
        AddressView {
            ip: entry.ip,
            state: state.to_owned(),
            owner,
        }
    };
    let enis = service.published().enis.into_iter().map(|eni| {
        let link = service.link(eni.mac);
        let attached = eni.attached.iter().map(|entry| view(entry, "idle"));
        let releasing = eni.releasing.iter().map(|entry| view(entry, "releasing"));
        EniView {
            id: eni.id.to_string(),
            mac: eni.mac.to_string(),
            subnet: eni.subnet.to_string(),
            device: link.map(|link| link.index),
            table: link.map(|link| link.table),
            addresses: attached.chain(releasing).collect(),
        }
    });
    enis.collect()
}

fn owners(serving: &Serving) -> Vec<Owner> {
    let service = &serving.service;
    let lost: Vec<_> = service.losses().into_iter().map(|(key, ..)| key).collect();
    let owners = service.owners().into_iter().map(|(key, owned)| {
        let Allocation {
            pod,
            pod_uid,
            addresses,
            eni,
            ..
        } = owned;
        Owner {
            interface: key.to_string(),
            pod: pod.map(|pod| pod.to_string()),
            pod_uid: pod_uid.map(|uid| uid.to_string()),
            addresses: addresses.iter().collect(),
            eni: eni.to_string(),
            lost: lost.contains(&key),
        }
    });
    owners.collect()
}

fn waiting(serving: &Serving) -> Vec<Waiting> {
    let requests = serving.service.requests().into_iter();
    let mut waiting: Vec<_> = requests
        .map(|request| Waiting {
            interface: request.key.to_string(),
            pod: request.pod.map(|pod| pod.to_string()),
        })
        .collect();
    waiting.sort_by(|one, other| one.interface.cmp(&other.interface));
    waiting
}
