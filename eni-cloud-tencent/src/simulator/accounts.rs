//! The keys that requests may be signed with.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::refusal::{Verdict, refuse};
use crate::Credentials;

/// Long-lived keys and temporary sets, by their public half.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    keys: BTreeMap<String, Key>,
    issued: u64,
}

#[derive(Debug)]
struct Key {
    credentials: Credentials,
    /// When a temporary set stops to be good.
    expires: Option<Timestamp>,
}

impl Accounts {
    /// Accepts these keys, for ever or until then.
    pub(super) fn add(&mut self, credentials: Credentials, expires: Option<Timestamp>) {
        let id = credentials.secret_id().to_owned();
        self.keys.insert(id, Key { credentials, expires });
    }

    /// Makes a temporary set that is good for `life`.
    pub(super) fn issue(
        &mut self,
        now: Timestamp,
        life: SignedDuration,
        random: [u64; 2],
    ) -> (Credentials, Timestamp) {
        self.issued += 1;
        let id = format!("AKIDtmp{:08}{:016x}", self.issued, random[0]);
        let credentials = Credentials::new(id, format!("{:016x}{:016x}", random[1], random[0]))
            .with_token(format!("token-{:08}-{:016x}", self.issued, random[1]));
        let expires = now.saturating_add(life).unwrap_or(Timestamp::MAX);
        self.add(credentials.clone(), Some(expires));
        (credentials, expires)
    }

    /// Every temporary set stops to be good.
    pub(super) fn expire(&mut self) {
        self.keys.retain(|_, key| key.expires.is_none());
    }

    /// The key of a request that names it and carries this token.
    pub(super) fn find(&self, id: &str, token: Option<&str>, now: Timestamp) -> Verdict<&Credentials> {
        let Some(key) = self.keys.get(id) else {
            return match token {
                Some(_) => refuse!("AuthFailure.TokenFailure", "The token is not valid."),
                None => refuse!("AuthFailure.SecretIdNotFound", "The SecretId is not found."),
            };
        };
        if key.credentials.token().map(ExposeSecret::expose_secret) != token {
            return refuse!(
                "AuthFailure.TokenFailure",
                "The token is not that of the SecretId."
            );
        }
        match key.expires {
            Some(expires) if expires <= now => refuse!("AuthFailure.TokenFailure", "The token has expired."),
            _ => Ok(&key.credentials),
        }
    }
}
