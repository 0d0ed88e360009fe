//! One file per duty of ipamd, each `observe -> plan -> act` with a plan that is a pure function.
//!
//! Here: the addresses of every node, a pool or by claim. [`PoolController`] runs it, [`plan`](plan()) decides.

mod act;
mod claims;
mod collect;
mod desk;
mod duties;
mod fence;
mod grants;
mod index;
mod instances;
mod inventory;
mod mirror;
mod plan;
mod pool;
mod reconcile;
mod schedule;
mod stats;
mod stuck;
mod takings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use plan::{
    Action, ClaimNeed, ClaimView, EniView, NodeView, Notice, Observed, Plan, Remains, depart, plan,
};
pub use pool::{Backends, PoolController};
pub use stats::{PoolMonitor, PoolStats};

use crate::{
    cloud::PaceConfig,
    model::{ClaimRequest, SubnetChoice, SubnetId, WarmRange},
    policy::GrantPolicy,
};

/// How ipamd runs the pools.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The subnets that ENIs may be created in, of all zones.
    pub subnets: Vec<SubnetId>,
    /// Idle addresses per node, unless the node's own range says otherwise.
    pub warm: WarmRange,
    /// The tags of our ENIs; what does not bear all of them is never touched. Besides them each ENI bears
    /// the tag `eni-record`, whose value is the name of its record, by which an unanswered creation is
    /// found.
    pub tags: BTreeMap<String, String>,
    /// How often an ENI with an order under way is read, in batches for all nodes; at most five batches in
    /// that time, and an ENI less often the longer its order lasts. 1 s by default.
    pub poll_interval: Duration,
    /// How long after one reading of all our ENIs the next one begins. 10 minutes by default.
    pub audit_interval: Duration,
    /// The first pause after a failure on a node; the next ones are longer, up to
    /// [`PoolConfig::MAXIMUM_BACKOFF`], and random. 1 s by default.
    pub backoff: Duration,
    /// Nodes that are worked on at the same time; nodes where a sandbox waits go beyond it. 256 by default:
    /// with two calls on each, as many as a budget of 50 a second can have under way while each takes the
    /// 10 s that it may.
    pub concurrency: usize,
    /// The budget of cloud calls.
    pub pace: PaceConfig,
    /// How the nodes of a zone share its subnets.
    pub grants: GrantPolicy,
    /// ENIs that the VPC leaves to this cluster in all, the instances' own included; `None`, the default, if
    /// the quota is never the limit.
    pub eni_quota: Option<u32>,
    /// Every pod has a claim on an address of its own, which nothing but its own pod is given: static addresses.
    /// `None`, the default: nodes keep pools. The warm range is to be 0 to 0 then.
    pub claims: Option<ClaimConfig>,
}

/// How static addresses are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimConfig {
    /// For how long an address is kept without a pod where the pod does not say; `None`: for ever. TKE's
    /// `--claim-expired-duration`.
    pub keep: Option<Duration>,
    /// A claim goes with the workload that made its pod. TKE's `--enable-ownerref`.
    pub owned: bool,
    /// Subnets that are for pods which ask for them, and for no others. TKE's `--only-nominated-eni-subnets`.
    pub nominated_only: Arc<BTreeSet<SubnetId>>,
}

impl ClaimConfig {
    /// The subnets that will do for a pod.
    pub fn choice(&self, request: &ClaimRequest) -> SubnetChoice {
        match request.subnets.is_empty() {
            true => SubnetChoice::AllBut(self.nominated_only.clone()),
            false => SubnetChoice::Only(request.subnets.clone()),
        }
    }
}

impl PoolConfig {
    /// The longest pause after failures on a node.
    pub const MAXIMUM_BACKOFF: Duration = Duration::from_secs(60);

    /// The defaults, for ENIs in `subnets` that bear `tags`.
    pub fn new(subnets: Vec<SubnetId>, tags: BTreeMap<String, String>) -> Self {
        Self {
            subnets,
            warm: WarmRange::default(),
            tags,
            poll_interval: Duration::from_secs(1),
            audit_interval: Duration::from_secs(600),
            backoff: Duration::from_secs(1),
            concurrency: 256,
            pace: PaceConfig::default(),
            grants: GrantPolicy::default(),
            eni_quota: None,
            claims: None,
        }
    }
}
