//! Temporary keys by the security token service.

use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Answer, members};
use crate::simulator::{
    desk::{Desk, OWNER},
    parameters::Parameters,
    refusal::refuse,
};

/// How long keys are good if nothing is said, and at most (documentation of AssumeRole), in seconds.
const USUAL: u64 = 7200;
const LONGEST: u64 = 43200;

impl Desk {
    pub(super) fn assume_role(&self, p: &Parameters<'_>) -> Answer {
        let arn = p.text("RoleArn")?;
        let role = arn
            .strip_prefix("qcs::cam::uin/")
            .and_then(|rest| rest.split_once(":roleName/"));
        if role.is_none_or(|(owner, name)| owner.is_empty() || name.is_empty()) {
            return refuse!(
                "InvalidParameter.ParamError",
                "`{arn}` is not the name of a role."
            );
        }
        let session = p.text("RoleSessionName")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=128).contains(&session.len()) || !session.chars().all(allowed) {
            return refuse!("InvalidParameter.ParamError", "`RoleSessionName` is not valid.");
        }
        if p.optional("WebIdentityToken") == Some("") {
            return refuse!("InvalidParameter.WebIdentityTokenError", "The token is empty.");
        }
        let seconds = p.number("DurationSeconds").unwrap_or(USUAL);
        if !(1..=LONGEST).contains(&seconds) {
            return refuse!(
                "InvalidParameter.OverTimeError",
                "`DurationSeconds` is more than {LONGEST}."
            );
        }
        let mut keys = self.temporary_keys(SignedDuration::from_secs(seconds as i64));
        let (expired, expiration) = (keys["ExpiredTime"].take(), keys["Expiration"].take());
        if let Some(keys) = keys.as_object_mut() {
            keys.retain(|_, value| !value.is_null());
        }
        members(json!({"Credentials": keys, "ExpiredTime": expired, "Expiration": expiration}))
    }

    pub(super) fn caller_identity(&self) -> Answer {
        members(json!({
            "Arn": format!("qcs::cam::uin/{OWNER}:uin/{OWNER}"),
            "AccountId": OWNER,
            "UserId": OWNER,
            "PrincipalId": OWNER,
            "Type": "CAMUser",
        }))
    }
}

impl Desk {
    /// New keys that are good for a while, and until when.
    pub(in crate::simulator) fn temporary_keys(&self, life: SignedDuration) -> Value {
        let random = [self.environment.random(), self.environment.random()];
        let now = self.environment.now();
        let (credentials, expires) = self.accounts.lock().issue(now, life, random);
        let token = credentials.token().map(|token| token.expose_secret().to_owned());
        json!({
            "TmpSecretId": credentials.secret_id(),
            "TmpSecretKey": credentials.secret_key().expose_secret(),
            "Token": token,
            "ExpiredTime": expires.as_second(),
            "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    }
}
