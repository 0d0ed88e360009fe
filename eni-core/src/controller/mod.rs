//! One file per duty of ipamd, each `observe -> plan -> act` with a plan that is a pure function.
//!
//! Here: the non-static pool of every node. [`PoolController`] runs it, [`plan`](plan()) decides.

mod act;
mod claims;
mod collect;
mod duties;
mod grants;
mod index;
mod instances;
mod inventory;
mod plan;
mod pool;
mod readdress;

use std::{collections::BTreeMap, time::Duration};

pub use plan::{Action, EniView, NodeView, Notice, Observed, Plan, Remains, depart, plan};
pub use pool::PoolController;

use crate::{
    model::{SubnetId, WarmRange},
    policy::GrantPolicy,
};

/// How ipamd runs the pools.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The subnets that ENIs may be created in, of all zones.
    pub subnets: Vec<SubnetId>,
    /// Idle addresses per node, unless the node's own range says otherwise.
    pub warm: WarmRange,
    /// The tags of our ENIs; what does not bear all of them is never touched.
    pub tags: BTreeMap<String, String>,
    /// How often ENIs with an order under way are read; one call for all of them. 1 s by default.
    pub poll_interval: Duration,
    /// How often all of our ENIs are read. 10 minutes by default.
    pub audit_interval: Duration,
    /// The first pause after a failure on a node; it doubles up to [`PoolConfig::MAXIMUM_BACKOFF`].
    /// 1 s by default.
    pub backoff: Duration,
    /// Nodes that are worked on at the same time. 64 by default.
    pub concurrency: usize,
    /// How the nodes of a zone share its subnets.
    pub grants: GrantPolicy,
    /// ENIs that the VPC leaves to this cluster in all, the instances' own included; `None`, the default, if
    /// the quota is never the limit.
    pub eni_quota: Option<u32>,
}

impl PoolConfig {
    /// The longest pause after failures on a node.
    pub const MAXIMUM_BACKOFF: Duration = Duration::from_secs(60);
    /// How long a subnet that ran out is left alone.
    pub const EXHAUSTION: Duration = Duration::from_secs(10);

    /// The defaults, for ENIs in `subnets` that bear `tags`.
    pub fn new(subnets: Vec<SubnetId>, tags: BTreeMap<String, String>) -> Self {
        Self {
            subnets,
            warm: WarmRange::default(),
            tags,
            poll_interval: Duration::from_secs(1),
            audit_interval: Duration::from_secs(600),
            backoff: Duration::from_secs(1),
            concurrency: 64,
            grants: GrantPolicy::default(),
            eni_quota: None,
        }
    }
}
