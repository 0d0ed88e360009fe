//! The first cause in the order in which a pod gets its address: scheduled, the node known, ipamd, the cloud, the
//! agent, the runtime.

use std::net::IpAddr;

use eni_core::model::PodPhase;
use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use crate::{nodes::Counts, objects::NodeConfig};

/// Reasons of the events at a node that say why ipamd cannot give it what it needs, as ipamd writes them.
const OBSTACLES: [&str; 3] = ["ENILimit", "SubnetExhausted", "CloudPermissionDenied"];

/// The reason of kubelet's event when an ADD failed (`FailedCreatePodSandBox` of Kubernetes' `pkg/kubelet/events`).
const SANDBOX: &str = "FailedCreatePodSandBox";

/// What is known of a pod.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The pod, if there is one.
    pub pod: Option<PodFacts>,
    /// What is told about it, the latest first.
    pub pod_told: Vec<Told>,
    /// The uid of its Node object, if there is one.
    pub node_uid: Option<String>,
    /// The node's instance.
    pub instance: Option<String>,
    /// The node's pool object.
    pub config: Option<NodeConfig>,
    /// How the pool stands, once ipamd has published it.
    pub counts: Option<Counts>,
    /// ENIs of the node whose creation the cloud has not answered.
    pub creating: usize,
    /// What is told about the node, the latest first.
    pub node_told: Vec<Told>,
}

/// What is known of a Pod object.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// The node that it is scheduled to.
    pub node: Option<String>,
    /// It is on its node's network.
    pub host_network: bool,
    /// It has ended.
    pub finished: bool,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Why it is not scheduled, as the scheduler says.
    pub unscheduled: Option<String>,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it was told last.
    pub at: Timestamp,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// Why a pod has no address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "cause", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Cause {
    /// There is no such pod.
    #[error("there is no such pod")]
    NoPod,
    /// It has one.
    #[error("it has the address {ip}")]
    HasAddress {
        /// The address.
        ip: IpAddr,
    },
    /// It needs none.
    #[error("it is on its node's network and has the node's address")]
    HostNetwork,
    /// It has ended.
    #[error("it has ended; its address was given back")]
    Finished,
    /// It is not scheduled.
    #[error("it is not scheduled to a node: {message}")]
    NotScheduled {
        /// What the scheduler says.
        message: String,
    },
    /// Its node is gone.
    #[error("its node {node} does not exist; delete the pod")]
    NoNode {
        /// The node.
        node: String,
    },
    /// Its node has no instance.
    #[error(
        "node {node} has no instance: set its spec.providerID (the cloud provider does), ipamd waits for it"
    )]
    NoInstance {
        /// The node.
        node: String,
    },
    /// ipamd has not dealt with the node.
    #[error(
        "ipamd has published no pool for node {node}; look whether a replica of it leads, and at its log"
    )]
    NoPool {
        /// The node.
        node: String,
    },
    /// The pool is that of an earlier node of the name.
    #[error("the pool of {node} is that of an earlier node of this name; ipamd replaces it, look at its log")]
    FormerNode {
        /// The node.
        node: String,
    },
    /// ipamd told at the node why it cannot grow.
    #[error("node {node} has no address left and gets no more: {reason} at {at}: {message}")]
    Obstacle {
        /// The node.
        node: String,
        /// The event's reason.
        reason: String,
        /// When it was told last, in UTC.
        at: String,
        /// The event's message.
        message: String,
    },
    /// The instance is full.
    #[error(
        "all {capacity} addresses that the instance of node {node} can carry are taken; move pods elsewhere"
    )]
    NodeFull {
        /// The node.
        node: String,
        /// How many.
        capacity: usize,
    },
    /// The node may have no more.
    #[error(
        "all {granted} addresses that node {node} may attain are taken: the subnets of its zone have no more; add a \
         subnet"
    )]
    NoGrant {
        /// The node.
        node: String,
        /// How many.
        granted: usize,
    },
    /// ipamd is at it.
    #[error(
        "node {node} has no free address; ipamd is to bring more ({creating} ENIs in creation): wait a minute, then \
         look at its log"
    )]
    WaitsForIpamd {
        /// The node.
        node: String,
        /// ENIs in creation.
        creating: usize,
    },
    /// All that is free cools down or is on its way back.
    #[error("the free addresses of node {node} cool down or go back: wait half a minute")]
    Cooling {
        /// The node.
        node: String,
    },
    /// The agent has not been heard, or offers kubelet nothing.
    #[error(
        "node {node} has free addresses, and its agent advertises none; look at the pod of tke-eni-agent there and \
         at its log"
    )]
    NoAgent {
        /// The node.
        node: String,
    },
    /// The runtime or the plugins failed.
    #[error("node {node} has free addresses, and the sandbox fails, last at {at}: {message}")]
    Sandbox {
        /// The node.
        node: String,
        /// When, in UTC.
        at: String,
        /// What kubelet says.
        message: String,
    },
    /// Nothing that the API server knows of.
    #[error(
        "node {node} has free addresses, and nothing is told about the pod: kubelet has not started it; look at \
         kubelet's log, and at enictl verify on the node"
    )]
    Kubelet {
        /// The node.
        node: String,
    },
}

impl PodFacts {
    /// Of an object.
    pub fn of(object: &Pod) -> Self {
        let pod = eni_kube::pod(object).ok();
        let status = object.status.as_ref();
        let conditions = status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten();
        let mut unscheduled =
            conditions.filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
        Self {
            node: pod
                .as_ref()
                .and_then(|pod| pod.node.as_ref())
                .map(ToString::to_string),
            host_network: pod.as_ref().is_some_and(|pod| pod.host_network),
            finished: pod.is_some_and(|pod| pod.phase == PodPhase::Finished),
            ip: status.and_then(|status| status.pod_ip.as_ref()?.parse().ok()),
            unscheduled: unscheduled.next().and_then(|condition| condition.message.clone()),
        }
    }
}

/// The first cause.
pub fn decide(facts: &Facts) -> Cause {
    let Some(pod) = &facts.pod else {
        return Cause::NoPod;
    };
    match pod.ip {
        _ if pod.host_network => return Cause::HostNetwork,
        _ if pod.finished => return Cause::Finished,
        Some(ip) => return Cause::HasAddress { ip },
        None => {}
    }
    let Some(node) = pod.node.clone() else {
        let nothing = || "the scheduler has not said why; look whether it runs".to_owned();
        return Cause::NotScheduled {
            message: pod.unscheduled.clone().unwrap_or_else(nothing),
        };
    };
    let Some(uid) = &facts.node_uid else {
        return Cause::NoNode { node };
    };
    if facts.instance.is_none() {
        return Cause::NoInstance { node };
    }
    let (Some(config), Some(counts)) = (&facts.config, &facts.counts) else {
        return obstacle(facts, &node).unwrap_or(Cause::NoPool { node });
    };
    if config.spec.node_uid != *uid {
        return Cause::FormerNode { node };
    }
    if counts.idle == 0 {
        return lacking(facts, counts, node);
    }
    if let Some(told) = facts.pod_told.iter().find(|told| told.reason == SANDBOX) {
        return Cause::Sandbox {
            node,
            at: utc(told.at),
            message: told.message.clone(),
        };
    }
    match config.agent.as_ref().map_or(0, |report| report.advertised) {
        0 => Cause::NoAgent { node },
        _ => Cause::Kubelet { node },
    }
}

/// Why a node without free addresses has none.
fn lacking(facts: &Facts, counts: &Counts, node: String) -> Cause {
    let capacity = counts.capacity;
    if counts.used >= capacity && counts.bound >= capacity {
        return Cause::NodeFull { node, capacity };
    }
    if let Some(obstacle) = obstacle(facts, &node) {
        return obstacle;
    }
    if counts.bound < counts.granted {
        return Cause::WaitsForIpamd {
            node,
            creating: facts.creating,
        };
    }
    match counts.cooling + counts.withdrawn {
        0 => Cause::NoGrant {
            node,
            granted: counts.granted,
        },
        _ => Cause::Cooling { node },
    }
}

fn obstacle(facts: &Facts, node: &str) -> Option<Cause> {
    let obstacle = |told: &&Told| OBSTACLES.contains(&told.reason.as_str());
    let told = facts.node_told.iter().find(obstacle)?;
    Some(Cause::Obstacle {
        node: node.to_owned(),
        reason: told.reason.clone(),
        at: utc(told.at),
        message: told.message.clone(),
    })
}

fn utc(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}
