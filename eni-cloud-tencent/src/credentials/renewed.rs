//! Keys that are renewed before they expire.
//!
//! What is given out is one snapshot of id, key and token. A renewal that fails leaves the old ones in place for as
//! long as they are good, and is tried again soon.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_core::env::Environment;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};

use super::{
    CredentialSource, Credentials, CredentialsError,
    issuers::{AssumedRole, Issued, Issuer, MachineRole, Role, WebIdentity, WebIdentityRole},
    stored::KeyFile,
};
use crate::{ApiConfig, BuildError, endpoint::Gateway};

/// How long a renewal may take: less than a call has, so that the call that needs it can still be sent.
const RENEWAL: Duration = Duration::from_secs(5);

/// The pause between attempts to renew keys that are still good.
const PAUSE: Duration = Duration::from_secs(10);

/// Temporary keys, or ones that somebody else replaces.
pub struct RenewedCredentials {
    issuer: Box<dyn Issuer>,
    environment: Arc<dyn Environment>,
    held: Mutex<Option<Held>>,
    /// Whoever holds it renews.
    renewal: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<Credentials>,
    /// From when on a renewal is due, by the wall clock.
    due: Timestamp,
    expires: Option<Timestamp>,
    /// Before then no renewal is tried.
    rests_until: Instant,
}

impl RenewedCredentials {
    /// The keys of a role that the owner of `keys` may assume (STS AssumeRole).
    ///
    /// # Errors
    ///
    /// If no request could ever be sent.
    pub fn assumed_role(
        api: &ApiConfig,
        keys: Arc<dyn CredentialSource>,
        role: Role,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, BuildError> {
        let issuer = AssumedRole::new(api, keys, role, environment.clone())?;
        Ok(Self::new(Box::new(issuer), environment))
    }

    /// The keys of the role of a pod, by the token that TKE gives it (STS AssumeRoleWithWebIdentity). The token is
    /// read again at each renewal.
    ///
    /// # Errors
    ///
    /// If no request could ever be sent.
    pub fn web_identity(
        api: &ApiConfig,
        identity: WebIdentity,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, BuildError> {
        let issuer = WebIdentityRole::new(api, identity, environment.clone())?;
        Ok(Self::new(Box::new(issuer), environment))
    }

    /// The keys of the role that is bound to this machine, by its metadata service: `gateway`, or the official one.
    ///
    /// # Errors
    ///
    /// If no request could ever be sent.
    pub fn machine_role(
        gateway: Option<Gateway>,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, BuildError> {
        Ok(Self::new(Box::new(MachineRole::new(gateway)?), environment))
    }

    /// The keys in a file, which is read again every minute. It is that of Tencent's tools: a section `[default]`
    /// with `secret_id`, `secret_key` and perhaps `token`.
    pub fn file(path: impl Into<PathBuf>, environment: Arc<dyn Environment>) -> Self {
        Self::new(Box::new(KeyFile(path.into())), environment)
    }

    pub(super) fn new(issuer: Box<dyn Issuer>, environment: Arc<dyn Environment>) -> Self {
        Self {
            issuer,
            environment,
            held: Mutex::default(),
            renewal: tokio::sync::Mutex::default(),
        }
    }

    /// What is held and good, and whether it need not be renewed now.
    fn look(&self) -> Option<(Arc<Credentials>, bool)> {
        let now = self.environment.now();
        let held = self.held.lock();
        let held = held
            .as_ref()
            .filter(|held| held.expires.is_none_or(|end| now < end))?;
        let fresh = now < held.due || Instant::now() < held.rests_until;
        Some((held.keys.clone(), fresh))
    }

    async fn renew(&self) -> Result<Arc<Credentials>, CredentialsError> {
        if let Some(held) = self.held.lock().as_mut() {
            // Set first: a caller that gives up in between has tried.
            held.rests_until = Instant::now() + PAUSE;
        }
        let issued = match timeout(RENEWAL, self.issuer.issue()).await {
            Ok(issued) => issued?,
            Err(_) => {
                return Err(CredentialsError(format!(
                    "{:?} gave none within {RENEWAL:?}",
                    self.issuer
                )));
            }
        };
        let now = self.environment.now();
        let due = due(now, &issued).ok_or_else(|| {
            CredentialsError(
                "those that were issued have expired already; look at this machine's clock".to_owned(),
            )
        })?;
        let mut held = self.held.lock();
        let keys = match held.take().map(|held| held.keys) {
            // So that whoever was refused with them sees that there are no others.
            Some(keys) if same(&keys, &issued.keys) => keys,
            _ => Arc::new(issued.keys),
        };
        tracing::debug!(id = keys.secret_id(), expires = ?issued.expires, "keys were renewed");
        *held = Some(Held {
            keys: keys.clone(),
            due,
            expires: issued.expires,
            rests_until: Instant::now(),
        });
        Ok(keys)
    }
}

#[async_trait]
impl CredentialSource for RenewedCredentials {
    async fn current(&self) -> Result<Arc<Credentials>, CredentialsError> {
        let good = match self.look() {
            Some((keys, true)) => return Ok(keys),
            Some((keys, false)) => Some(keys),
            None => None,
        };
        // Good ones are renewed by one caller, while the others use them; without any everybody waits.
        let _renewal = match (&good, self.renewal.try_lock()) {
            (_, Ok(renewal)) => renewal,
            (Some(keys), Err(_)) => return Ok(keys.clone()),
            (None, Err(_)) => self.renewal.lock().await,
        };
        if let Some((keys, true)) = self.look() {
            return Ok(keys);
        }
        match (self.renew().await, good) {
            (Err(error), Some(keys)) => {
                tracing::warn!(id = keys.secret_id(), %error, "keys could not be renewed; the old ones are used on");
                Ok(keys)
            }
            (renewed, _) => renewed,
        }
    }

    async fn refused(&self, keys: &Arc<Credentials>) {
        if let Some(held) = self
            .held
            .lock()
            .as_mut()
            .filter(|held| Arc::ptr_eq(&held.keys, keys))
        {
            held.due = Timestamp::MIN;
        }
    }
}

impl fmt::Debug for RenewedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewedCredentials")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// When to renew: after four fifths of what is left of their life, or when the issuer says. `None` if nothing is
/// left.
fn due(now: Timestamp, issued: &Issued) -> Option<Timestamp> {
    let life = match issued.expires {
        Some(expires) => expires.duration_since(now),
        None => SignedDuration::MAX,
    };
    if life <= SignedDuration::ZERO {
        return None;
    }
    let wait = issued.look_again.map_or(life / 5 * 4, |again| {
        SignedDuration::try_from(again).unwrap_or(life)
    });
    Some(now.checked_add(wait.min(life)).unwrap_or(Timestamp::MAX))
}

fn same(one: &Credentials, other: &Credentials) -> bool {
    let token = |keys: &Credentials| keys.token().map(|token| token.expose_secret().to_owned());
    one.secret_id() == other.secret_id()
        && one.secret_key().expose_secret() == other.secret_key().expose_secret()
        && token(one) == token(other)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use eni_core::env::Uptime;

    use super::*;

    /// A wall clock that goes with tokio's.
    struct Clock(Instant);

    impl Environment for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH + self.0.elapsed()
        }

        fn uptime(&self) -> Uptime {
            unreachable!("nobody asks")
        }

        fn random(&self) -> u64 {
            0
        }
    }

    /// Keys for an hour, numbered; none while it is broken.
    #[derive(Clone, Debug, Default)]
    struct Counter(Arc<AtomicU32>, Arc<std::sync::atomic::AtomicBool>);

    #[async_trait]
    impl Issuer for Counter {
        async fn issue(&self) -> Result<Issued, CredentialsError> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            // Issuing takes a while, so that callers meet.
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.1.load(Ordering::Relaxed) {
                return Err(CredentialsError("broken".to_owned()));
            }
            Ok(Issued {
                keys: Credentials::new(format!("id-{number}"), "hush").with_token("hush"),
                expires: Some(Timestamp::UNIX_EPOCH + begun().elapsed() + Duration::from_secs(3_600)),
                look_again: None,
            })
        }
    }

    tokio::task_local! { static BEGUN: Instant; }

    fn begun() -> Instant {
        BEGUN.get()
    }

    async fn with_clock<T>(test: impl Future<Output = T>) -> T {
        BEGUN.scope(Instant::now(), test).await
    }

    fn source() -> (Counter, RenewedCredentials) {
        let counter = Counter::default();
        let source = RenewedCredentials::new(Box::new(counter.clone()), Arc::new(Clock(begun())));
        (counter, source)
    }

    async fn id(source: &RenewedCredentials) -> String {
        source
            .current()
            .await
            .map_or_else(|error| error.to_string(), |keys| keys.secret_id().to_owned())
    }

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_renewed_after_four_fifths_of_their_life() {
        with_clock(async {
            let (_, source) = source();
            assert_eq!(id(&source).await, "id-0");
            after(2_800).await;
            assert_eq!(id(&source).await, "id-0");
            after(100).await;
            assert_eq!(id(&source).await, "id-1");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn callers_who_meet_renew_once() {
        with_clock(async {
            let (counter, source) = source();
            let (a, b, c) = tokio::join!(id(&source), id(&source), id(&source));
            assert_eq!([&*a, &*b, &*c], ["id-0"; 3]);
            assert_eq!(counter.0.load(Ordering::Relaxed), 1);
            after(3_000).await;
            let (renewed, used_on) = tokio::join!(id(&source), id(&source));
            assert_eq!((&*renewed, &*used_on), ("id-1", "id-0"));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn old_keys_are_used_on_while_renewal_fails_until_they_expire() {
        with_clock(async {
            let (counter, source) = source();
            id(&source).await;
            counter.1.store(true, Ordering::Relaxed);
            after(3_000).await;
            assert_eq!(id(&source).await, "id-0");
            assert_eq!(id(&source).await, "id-0");
            assert_eq!(counter.0.load(Ordering::Relaxed), 2, "not at each call");
            after(700).await;
            assert!(id(&source).await.contains("broken"));
            counter.1.store(false, Ordering::Relaxed);
            assert_eq!(id(&source).await, "id-3");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn refused_keys_are_renewed_at_once_and_older_ones_change_nothing() {
        with_clock(async {
            let (_, source) = source();
            let first = source.current().await.unwrap();
            source.refused(&first).await;
            assert_eq!(id(&source).await, "id-1");
            source.refused(&first).await;
            assert_eq!(id(&source).await, "id-1");
        })
        .await;
    }

    #[test]
    fn what_has_expired_is_not_taken() {
        let now = Timestamp::UNIX_EPOCH;
        let issued = |expires: i64, look_again| Issued {
            keys: Credentials::new("id", "key"),
            expires: Some(now + SignedDuration::from_secs(expires)),
            look_again,
        };
        assert_eq!(due(now, &issued(0, None)), None);
        let soon = Some(Duration::from_secs(60));
        assert_eq!(due(now, &issued(100, None)), Some(now + Duration::from_secs(80)));
        assert_eq!(due(now, &issued(100, soon)), Some(now + Duration::from_secs(60)));
        assert_eq!(due(now, &issued(50, soon)), Some(now + Duration::from_secs(50)));
    }
}
