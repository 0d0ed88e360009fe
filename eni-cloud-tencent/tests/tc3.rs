//! Signatures against those of the official client, step by step.

use eni_cloud_tencent::{
    Credentials,
    tc3::{Payload, Request},
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

#[derive(Deserialize)]
struct Facts {
    vectors: Vec<Vector>,
    negative: Vec<Negative>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    input: Input,
    intermediate: Intermediate,
    expected: Expected,
}

#[derive(Deserialize)]
struct Input {
    secret_id: String,
    secret_key: String,
    token: Option<String>,
    service: String,
    action: String,
    region: String,
    version: String,
    host: String,
    method: String,
    content_type: String,
    timestamp: i64,
    query: String,
    payload: String,
    unsigned_payload: bool,
    signed_header_names: Vec<String>,
}

#[derive(Deserialize)]
struct Intermediate {
    canonical_request: String,
    credential_scope: String,
    string_to_sign: String,
}

#[derive(Deserialize)]
struct Expected {
    signature: String,
    authorization: String,
}

/// A request that a server answers as `expect_error_code` says, made by a change of a vector.
#[derive(Deserialize)]
struct Negative {
    name: String,
    base_vector: String,
    expect_error_code: Option<String>,
}

fn facts() -> Facts {
    serde_json::from_str(include_str!("data/tc3.json")).expect("the facts are JSON")
}

impl Input {
    fn credentials(&self) -> Credentials {
        let credentials = Credentials::new(&self.secret_id, self.secret_key.clone());
        match &self.token {
            Some(token) => credentials.with_token(token.clone()),
            None => credentials,
        }
    }

    /// The headers to sign beyond the two that always are.
    fn extra_headers(&self) -> Vec<(&str, String)> {
        let value = |name: &str| match name {
            "X-TC-Action" => self.action.clone(),
            "X-TC-Region" => self.region.clone(),
            "X-TC-Timestamp" => self.timestamp.to_string(),
            "X-TC-Version" => self.version.clone(),
            other => panic!("no value for the header {other}"),
        };
        let names = self.signed_header_names.iter().map(String::as_str);
        names
            .filter(|name| !["content-type", "host"].contains(name))
            .map(|name| (name, value(name)))
            .collect()
    }

    fn with_request<T>(&self, use_it: impl FnOnce(Request<'_>) -> T) -> T {
        let extra = self.extra_headers();
        let extra: Vec<(&str, &str)> = extra
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        use_it(Request {
            method: &self.method,
            host: &self.host,
            content_type: &self.content_type,
            extra_headers: &extra,
            query: &self.query,
            payload: match self.unsigned_payload {
                true => Payload::Unsigned,
                false => Payload::Signed(self.payload.as_bytes()),
            },
            timestamp: Timestamp::from_second(self.timestamp).expect("a time of this age"),
            service: &self.service,
        })
    }
}

#[test]
fn every_vector_is_reproduced_step_by_step() {
    let vectors = facts().vectors;
    assert_eq!(vectors.len(), 17);
    for Vector {
        name,
        input,
        intermediate,
        expected,
    } in &vectors
    {
        let credentials = input.credentials();
        input.with_request(|request| {
            assert_eq!(request.canonical(), intermediate.canonical_request, "{name}");
            assert_eq!(request.scope(), intermediate.credential_scope, "{name}");
            assert_eq!(request.string_to_sign(), intermediate.string_to_sign, "{name}");
            assert_eq!(request.signature(&credentials), expected.signature, "{name}");
            assert_eq!(
                request.authorization(&credentials),
                expected.authorization,
                "{name}"
            );
        });
    }
}

#[test]
fn a_changed_request_has_another_signature() {
    let facts = facts();
    let mut refused_for_other_reasons = Vec::new();
    for Negative {
        name,
        base_vector,
        expect_error_code,
    } in &facts.negative
    {
        let base = facts.vectors.iter().find(|vector| vector.name == *base_vector);
        let base = base.unwrap_or_else(|| panic!("{name}: no vector {base_vector}"));
        let credentials = base.input.credentials();
        let signature = base.input.with_request(|request| {
            let payload = format!("{} ", base.input.payload);
            let second = SignedDuration::from_secs(1);
            let changed = match name.as_str() {
                "tampered-body" => Request {
                    payload: Payload::Signed(payload.as_bytes()),
                    ..request
                },
                "wrong-host" => Request {
                    host: "cvm.tencentcloudapi.com",
                    ..request
                },
                "changed-content-type" => Request {
                    content_type: "application/json; charset=utf-8",
                    ..request
                },
                "scope-date-not-utc-date" => Request {
                    timestamp: request.timestamp - second,
                    ..request
                },
                "changed-timestamp" => Request {
                    timestamp: request.timestamp + second,
                    ..request
                },
                // The action is not among the signed headers: nothing that is signed changes.
                "action-swap-not-detected" => request,
                _ => return None,
            };
            Some(changed.signature(&credentials))
        });
        match signature {
            None => refused_for_other_reasons.push(name.as_str()),
            Some(signature) => {
                let detected = expect_error_code.as_deref() == Some("AuthFailure.SignatureFailure");
                assert_eq!(signature != base.expected.signature, detected, "{name}");
            }
        }
    }
    // What only a server can refuse: its clock, its list of keys, its sessions, its parser.
    assert_eq!(
        refused_for_other_reasons,
        [
            "stale-timestamp",
            "unknown-secret-id",
            "bad-sts-token",
            "malformed-authorization"
        ]
    );
}

#[test]
fn the_scope_follows_the_date_of_utc() {
    let facts = facts();
    let start = facts
        .vectors
        .iter()
        .find(|vector| vector.name == "post-utc-day-start");
    let input = &start.expect("the vector of a day's first second").input;
    input.with_request(|request| {
        assert_eq!(request.scope(), "2024-01-01/vpc/tc3_request");
        let before = Request {
            timestamp: request.timestamp - SignedDuration::from_secs(1),
            ..request
        };
        assert_eq!(before.scope(), "2023-12-31/vpc/tc3_request");
    });
}

#[test]
fn headers_are_signed_in_order_and_lower_case_whatever_they_come_in() {
    let request = |extra_headers| Request {
        method: "POST",
        host: "VPC.tencentcloudapi.com ",
        content_type: "application/json",
        extra_headers,
        query: "",
        payload: Payload::Signed(b"{}"),
        timestamp: Timestamp::UNIX_EPOCH,
        service: "vpc",
    };
    let canonical = request(&[("X-TC-Version", "1"), ("X-TC-Action", " Describe ")]).canonical();
    assert_eq!(
        canonical.lines().skip(3).take(4).collect::<Vec<_>>(),
        [
            "content-type:application/json",
            "host:vpc.tencentcloudapi.com",
            "x-tc-action:describe",
            "x-tc-version:1"
        ]
    );
}

#[derive(Deserialize)]
struct Captured {
    secret_key: String,
    requests: Vec<String>,
}

#[test]
fn requests_of_the_official_client_verify() {
    let captured: Captured =
        serde_json::from_str(include_str!("data/sdk-requests.json")).expect("the facts are JSON");
    assert_eq!(captured.requests.len(), 7);
    for raw in &captured.requests {
        let (head, body) = raw.split_once("\r\n\r\n").expect("a head and a body");
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .unwrap_or_else(|| panic!("no {name} in {head}"))
        };
        let mut start = head.lines().next().expect("a request line").split(' ');
        let (method, target) = (start.next().expect("a method"), start.next().expect("a target"));
        let second = header("X-TC-Timestamp").parse().expect("seconds");
        let request = Request {
            method,
            host: header("Host"),
            content_type: header("Content-Type"),
            extra_headers: &[],
            query: target.split_once('?').map_or("", |(_, query)| query),
            payload: Payload::Signed(body.as_bytes()),
            timestamp: Timestamp::from_second(second).expect("a time of this age"),
            service: "vpc",
        };
        let credentials = Credentials::new("AKIDEXAMPLE", captured.secret_key.clone());
        assert_eq!(
            request.authorization(&credentials),
            header("Authorization"),
            "{head}"
        );
    }
}
