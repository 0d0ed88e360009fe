//! What goes wrong in a memory backend, and when.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::cloud::CloudErrorKind;

/// What happens to one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault<E = CloudErrorKind> {
    /// Nothing unusual.
    #[default]
    None,
    /// It fails and has no effect.
    Before(E),
    /// It has its effect, but the caller gets an error: the answer was lost.
    After(E),
    /// It arrives that much later.
    Delay(Duration),
}

/// Chooses the fault of each call from its action and its resource.
pub type FaultHook<E = CloudErrorKind> = Arc<dyn Fn(&'static str, &str) -> Fault<E> + Send + Sync>;

/// The faults of one backend: those that a test queued, then those of its hook.
pub(super) struct Faults<E> {
    plan: Mutex<Plan<E>>,
}

struct Plan<E> {
    queued: BTreeMap<&'static str, VecDeque<Fault<E>>>,
    hook: Option<FaultHook<E>>,
}

impl<E> Faults<E> {
    /// The next call of `action` meets `fault`; several are met in order.
    pub(super) fn queue(&self, action: &'static str, fault: Fault<E>) {
        self.plan
            .lock()
            .queued
            .entry(action)
            .or_default()
            .push_back(fault);
    }

    /// Every call that meets no queued fault asks `hook`.
    pub(super) fn set_hook(&self, hook: Option<FaultHook<E>>) {
        self.plan.lock().hook = hook;
    }

    /// The fault of a call that begins now.
    pub(super) fn next(&self, action: &'static str, resource: &str) -> Fault<E> {
        let hook = {
            let mut plan = self.plan.lock();
            if let Some(fault) = plan.queued.get_mut(action).and_then(VecDeque::pop_front) {
                return fault;
            }
            plan.hook.clone()
        };
        hook.map_or(Fault::None, |hook| hook(action, resource))
    }
}

impl<E> Default for Faults<E> {
    fn default() -> Self {
        Self {
            plan: Mutex::new(Plan {
                queued: BTreeMap::new(),
                hook: None,
            }),
        }
    }
}

impl<E> fmt::Debug for Faults<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}
