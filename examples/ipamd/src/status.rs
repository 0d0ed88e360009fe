//! How this replica stands, for those who look from outside.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use eni_cloud_tencent::TencentCloud;
use eni_core::{controller::PoolMonitor, leadership::Leadership};
use parking_lot::Mutex;

/// Shared by the program, which writes it, and the HTTP server, which reads it.
pub struct Status {
    /// This process, as it appears in the lease.
    pub identity: String,
    /// Counts requests, which a call to the cloud can take several of.
    pub tencent: Option<Arc<TencentCloud>>,
    term: Mutex<Option<Term>>,
    terms: AtomicU64,
}

/// A time of leading.
#[derive(Clone)]
pub struct Term {
    /// The right to act.
    pub leadership: Arc<dyn Leadership>,
    /// The controller of this time.
    pub pools: PoolMonitor,
}

impl Status {
    /// A candidate.
    pub fn new(identity: String, tencent: Option<Arc<TencentCloud>>) -> Self {
        Self {
            identity,
            tencent,
            term: Mutex::default(),
            terms: AtomicU64::new(0),
        }
    }

    /// It leads now; how often it has, this time included.
    pub fn begin(&self, term: Term) -> u64 {
        *self.term.lock() = Some(term);
        self.terms.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// It leads no more.
    pub fn end(&self) {
        *self.term.lock() = None;
    }

    /// The present time of leading.
    pub fn term(&self) -> Option<Term> {
        let term = self.term.lock().clone();
        term.filter(|term| term.leadership.remaining().is_some())
    }

    /// How often it has led.
    pub fn terms(&self) -> u64 {
        self.terms.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("identity", &self.identity)
            .field("terms", &self.terms())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Term")
            .field("pools", &self.pools)
            .finish_non_exhaustive()
    }
}
