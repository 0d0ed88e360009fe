//! Verifies the signature of a request: any signed headers, over the text that came.

use jiff::{SignedDuration, Timestamp};

use super::{
    accounts::Accounts,
    refusal::{Refusal, Verdict, refuse},
    wire::Wire,
};
use crate::tc3::{self, Payload, Request};

/// How far a request's time may be off (API documentation, "Signature Method v3").
const SKEW: SignedDuration = SignedDuration::from_secs(300);

/// Who signed a request, and for which product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signer {
    pub(super) secret_id: String,
    pub(super) service: String,
}

/// The signer of a request whose signature holds now.
pub(super) fn verify(wire: &Wire, accounts: &Accounts, now: Timestamp) -> Verdict<Signer> {
    let header = wire
        .header("authorization")
        .ok_or_else(|| Refusal::missing("Authorization"))?;
    let claim = Claim::parse(header).ok_or_else(|| {
        Refusal::new(
            "AuthFailure.InvalidAuthorization",
            "The header `Authorization` is malformed.",
        )
    })?;
    let timestamp = wire
        .header("x-tc-timestamp")
        .ok_or_else(|| Refusal::missing("Timestamp"))?;
    let timestamp = timestamp
        .parse()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    let Some(timestamp) = timestamp else {
        return refuse!(
            "InvalidParameter",
            "The value type of parameter `Timestamp` is not valid."
        );
    };
    if timestamp.duration_since(now).abs() > SKEW {
        return refuse!(
            "AuthFailure.SignatureExpire",
            "The difference between the signature's time and the server's is more than 5 minutes."
        );
    }
    let credentials = accounts.find(claim.secret_id, wire.header("x-tc-token"), now)?;
    let mut extra = Vec::new();
    for name in claim
        .signed
        .split(';')
        .filter(|name| !matches!(*name, "content-type" | "host"))
    {
        extra.push((name, wire.header(name).unwrap_or_default()));
    }
    let request = Request {
        method: &wire.method,
        host: wire.header("host").unwrap_or_default(),
        content_type: wire.header("content-type").unwrap_or_default(),
        extra_headers: &extra,
        query: &wire.query,
        payload: match wire.header("x-tc-content-sha256") {
            Some("UNSIGNED-PAYLOAD") => Payload::Unsigned,
            _ => Payload::Signed(&wire.body),
        },
        timestamp,
        service: claim.service,
    };
    // The whole header is compared, so that the date, the signed names and their order count.
    match request.authorization(credentials) == claim.canonical() {
        true => Ok(Signer {
            secret_id: claim.secret_id.to_owned(),
            service: claim.service.to_owned(),
        }),
        false => refuse!(
            "AuthFailure.SignatureFailure",
            "The signature does not match the request. The string to sign is {:?}.",
            request.string_to_sign()
        ),
    }
}

/// What the header `Authorization` says.
struct Claim<'a> {
    secret_id: &'a str,
    date: &'a str,
    service: &'a str,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix(tc3::ALGORITHM)?.trim_start();
        let mut parts = rest.split(',').map(str::trim);
        let credential = parts.next()?.strip_prefix("Credential=")?;
        let signed = parts.next()?.strip_prefix("SignedHeaders=")?;
        let signature = parts.next()?.strip_prefix("Signature=")?;
        let mut scope = credential.split('/');
        let claim = Self {
            secret_id: scope.next()?,
            date: scope.next()?,
            service: scope.next()?,
            signed,
            signature,
        };
        let names: Vec<&str> = signed.split(';').collect();
        let complete = scope.next() == Some("tc3_request")
            && scope.next().is_none()
            && parts.next().is_none()
            && ["content-type", "host"].iter().all(|name| names.contains(name));
        complete.then_some(claim)
    }

    fn canonical(&self) -> String {
        let Self {
            secret_id,
            date,
            service,
            signed,
            signature,
        } = self;
        let algorithm = tc3::ALGORITHM;
        format!(
            "{algorithm} Credential={secret_id}/{date}/{service}/tc3_request, SignedHeaders={signed}, Signature={signature}"
        )
    }
}
