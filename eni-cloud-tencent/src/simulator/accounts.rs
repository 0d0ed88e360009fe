//! The keys that requests may be signed with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::refusal::{Verdict, refuse};
use crate::Credentials;

/// Long-lived keys and temporary sets, by their public half.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    keys: BTreeMap<String, Key>,
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
