//! How calls to the cloud are paced: rates that are never exceeded and adapt to what the cloud takes,
//! urgent calls first, no call that cannot end in time, repetitions only where they are harmless.
//!
//! One [`Pacer`] per cluster stands before the cloud. Whoever calls it takes a handle for a [`Lane`],
//! which is a [`Cloud`](super::Cloud) itself:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use eni_core::{cloud::{Cloud, Lane, PaceConfig, Pacer}, env::Environment};
//! # fn wire(cloud: Arc<dyn Cloud>, environment: Arc<dyn Environment>) {
//! let pacer = Pacer::new(cloud, environment, PaceConfig::default());
//! let growth: Arc<dyn Cloud> = Arc::new(pacer.on(Lane::Growth));
//! let urgent = pacer.on(Lane::Waiting).until(tokio::time::Instant::now() + Duration::from_secs(10));
//! # }
//! ```
//!
//! What is paced is a call of the trait. A backend that needs several requests for one call, such as
//! the pages of a long listing, must pace those itself, and says how long they may take together
//! ([`Capabilities::listing_timeout`](super::Capabilities::listing_timeout)).

mod adaptive;
mod bucket;
mod counts;
mod gate;
mod latency;
mod lines;
mod paced;
mod pacer;
mod retry;

use std::{collections::BTreeMap, time::Duration};

pub use counts::{LaneCounts, PaceCounts};
pub use paced::Paced;
pub use pacer::Pacer;

use super::Call;

/// How urgent a call is, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lane {
    /// A sandbox waits for it.
    Waiting,
    /// Pools grow, and the orders under way are read.
    Growth,
    /// Addresses and ENIs that nodes gave back are returned.
    Release,
    /// Garbage collection, and the single reads that confirm it.
    Collection,
    /// The full audit; it gets [`PaceConfig::audit_percent`] of the calls at most.
    Audit,
}

impl Lane {
    /// Every lane, in order.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Growth,
        Self::Release,
        Self::Collection,
        Self::Audit,
    ];

    /// Its name in counts and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Growth => "growth",
            Self::Release => "release",
            Self::Collection => "collection",
            Self::Audit => "audit",
        }
    }
}

/// The limits that a [`Pacer`] keeps.
#[derive(Clone, Debug)]
pub struct PaceConfig {
    /// Calls of the whole cluster in any second; at least 1. 50 by default, which is what TKE's ipamd
    /// allows itself ("50 QPS per cluster", changelog of v3.3.1).
    pub calls_per_second: u32,
    /// Calls in any second that the cloud documents for one call, where that is less; at least 1. By
    /// default 20 for [`Call::Limits`] (Tencent Cloud's DescribeNetworkInterfaceLimit). These and
    /// `calls_per_second` are the ceilings from which the rate of each call gives way when the cloud
    /// throttles it, down to [`PaceConfig::FLOOR_PER_SECOND`].
    pub call_limits: BTreeMap<Call, u32>,
    /// The share of `calls_per_second` that [`Lane::Audit`] may take, in percent; at least 1. 5 by
    /// default.
    pub audit_percent: u32,
    /// How long an answer is waited for; then the call is
    /// [`Unavailable`](super::CloudErrorKind::Unavailable). 10 s by default: clouds answer in tenths of
    /// a second, and their load balancers give up later than that.
    pub call_timeout: Duration,
    /// How often one call is sent in all. 4 by default.
    pub attempts: u32,
    /// Repetitions per hundred calls. 10 by default, beyond a reserve of ten.
    pub retry_percent: u32,
}

impl PaceConfig {
    /// The rate below which no call is throttled: one per second, so that the end of an overload is
    /// noticed at all.
    pub const FLOOR_PER_SECOND: u64 = 1;
}

impl Default for PaceConfig {
    fn default() -> Self {
        Self {
            calls_per_second: 50,
            call_limits: BTreeMap::from([(Call::Limits, 20)]),
            audit_percent: 5,
            call_timeout: Duration::from_secs(10),
            attempts: 4,
            retry_percent: 10,
        }
    }
}
