//! Which of several processes acts, by a Lease object (`coordination.k8s.io/v1`).
//!
//! No clock is compared with another machine's: who waits for a lease's end counts from when it saw the lease
//! renewed last, which is after the holder sent that renewal; the holder counts from when it sent it.

mod decide;
mod held;
mod lease;

use std::{sync::Arc, time::Duration};

use eni_core::{env::Environment, leadership::Leadership};
use kube::Client;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::calls::Calls;
use decide::{Observation, Step, decide};
use held::Held;
use lease::{Lease, Written};

/// For what, as whom and how fast.
#[derive(Clone, Debug)]
pub struct ElectionOptions {
    /// The namespace of the lease.
    pub namespace: String,
    /// The lease's name: candidates for the same name exclude each other.
    pub name: String,
    /// This process, and no other before or after it: the pod's name and uid, say.
    pub identity: String,
    /// How long others leave a lease alone that is not renewed; whole seconds, at least one.
    pub lease_duration: Duration,
    /// How long the holder acts on without a renewal. A call that it begins at the very end must end within the
    /// rest of the lease. At most the lease itself counts.
    pub renew_deadline: Duration,
    /// How often the holder renews it, and others look.
    pub retry_period: Duration,
}

impl ElectionOptions {
    /// A lease of 20 s, renewed every 2 s and given up after 10 s: the longest call takes 10 s.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            lease_duration: Duration::from_secs(20),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// A candidate.
pub struct Election {
    lease: Lease,
    environment: Arc<dyn Environment>,
}

impl Election {
    /// A candidate that does nothing yet.
    pub fn new(client: Client, options: ElectionOptions, environment: Arc<dyn Environment>) -> Self {
        Self {
            lease: Lease {
                calls: Calls::new(client),
                options,
                environment: environment.clone(),
            },
            environment,
        }
    }

    /// Waits until this process leads. May be dropped at any time.
    pub async fn lead(&self) -> Leader {
        let options = &self.lease.options;
        let mut observation = Observation::default();
        loop {
            match self.lease.read().await {
                Ok(lease) => {
                    observation.observe(lease.as_ref(), Instant::now());
                    if decide(
                        &observation,
                        &options.identity,
                        options.lease_duration,
                        Instant::now(),
                    ) == Step::Take
                    {
                        let sent = Instant::now();
                        match self.lease.take(lease).await {
                            Ok(Written::Ours(version)) => return self.began(sent, version),
                            Ok(Written::Theirs) => {}
                            Err(error) => tracing::warn!(%error, lease = options.name, "lease not taken"),
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, lease = options.name, "lease cannot be read"),
            }
            // Candidates that look at the same moment would all take it at the same moment.
            let share = (self.environment.random() % 1000) as f64 / 1000.0;
            sleep(options.retry_period.mul_f64(0.8 + 0.4 * share)).await;
        }
    }

    fn began(&self, sent: Instant, version: serde_json::Value) -> Leader {
        let options = &self.lease.options;
        tracing::info!(
            lease = options.name,
            identity = options.identity,
            "this process leads"
        );
        let held = Arc::new(Held::new(sent, options.lease_duration, options.renew_deadline));
        let renewing = tokio::spawn(renew(self.lease.clone(), held.clone(), version));
        Leader {
            held,
            renewing: Some(renewing),
            lease: self.lease.clone(),
        }
    }
}

/// The leadership of this process, renewed until it is released, dropped, or lost.
pub struct Leader {
    held: Arc<Held>,
    renewing: Option<JoinHandle<serde_json::Value>>,
    lease: Lease,
}

impl Leader {
    /// The right to act, for those who act.
    pub fn leadership(&self) -> Arc<dyn Leadership> {
        self.held.clone()
    }

    /// Ends it, and tells the others, so that they need not wait for the lease's end. To be called once nothing
    /// acts on it any more: a call that is still on its way would be a second leader's.
    pub async fn release(mut self) {
        let led = self.held.remaining().is_some();
        self.held.lose();
        let Some(renewing) = self.renewing.take() else {
            return;
        };
        // It ends at its next look, and hands over the version that it wrote last.
        let version = match renewing.await {
            Ok(version) if led => version,
            _ => return,
        };
        let name = &self.lease.options.name;
        match self.lease.give_up(&version).await {
            Ok(Written::Ours(_)) => tracing::info!(lease = name, "leadership released"),
            Ok(Written::Theirs) => tracing::info!(lease = name, "the lease is another's already"),
            Err(error) => {
                tracing::warn!(%error, lease = name, "the lease was not released; it ends by itself")
            }
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.held.lose();
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
    }
}

/// Renews a lease until the right to it is lost; the object as it was written last.
async fn renew(lease: Lease, held: Arc<Held>, mut written: serde_json::Value) -> serde_json::Value {
    let (period, name) = (lease.options.retry_period, &lease.options.name);
    // A connection that hangs must not cost the leadership by itself.
    let attempt = lease.options.renew_deadline / 3;
    loop {
        tokio::select! {
            biased;
            () = held.lost() => return written,
            () = sleep(period) => {}
        }
        let sent = Instant::now();
        let renewed = tokio::select! {
            biased;
            () = held.lost() => return written,
            renewed = timeout(attempt, lease.renew(&written)) => renewed,
        };
        match renewed {
            Ok(Ok(Written::Ours(version))) => {
                written = version;
                held.renewed(sent);
            }
            Ok(Ok(Written::Theirs)) => {
                tracing::error!(lease = name, "the lease is another's; this process leads no more");
                held.lose();
            }
            Ok(Err(error)) => tracing::warn!(%error, lease = name, "lease not renewed"),
            Err(_) => tracing::warn!(
                lease = name,
                "renewing the lease takes too long; it is tried again"
            ),
        }
    }
}

impl std::fmt::Debug for Election {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Election")
            .field("options", &self.lease.options)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Leader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leader")
            .field("options", &self.lease.options)
            .finish_non_exhaustive()
    }
}
