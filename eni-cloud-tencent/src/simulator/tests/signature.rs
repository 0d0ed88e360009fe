//! Who gets in.

use axum::http::Request;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::simulator::{accounts::Accounts, signature::verify, wire::Wire};

/// A request of the official SDK, from its text.
fn captured(text: &str) -> Wire {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut request = Request::builder()
        .method(first.next().unwrap())
        .uri(first.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    Wire::new(&head, body.to_owned().into())
}

#[test]
fn what_the_official_sdk_signed_is_let_in_and_any_other_byte_is_not() {
    let data: Value = serde_json::from_str(include_str!("../../../tests/data/sdk-requests.json")).unwrap();
    let mut accounts = Accounts::default();
    let key = Credentials::new("AKIDEXAMPLE", data["secret_key"].as_str().unwrap()).with_token("STSTOKEN");
    accounts.add(key, None);
    let at = Timestamp::from_second(1_795_417_339).unwrap();
    let code = |wire: &Wire, seconds: i64| {
        let now = at.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
        verify(wire, &accounts, now)
            .err()
            .map(|refusal| refusal.code.into_owned())
    };
    for request in data["requests"].as_array().unwrap() {
        let text = request.as_str().unwrap();
        let wire = captured(text);
        assert_eq!(code(&wire, 300), None, "{text}");
        assert_eq!(code(&wire, -301).as_deref(), Some("AuthFailure.SignatureExpire"));
        for (from, to, expected) in [
            (
                "127.0.0.1:43853",
                "127.0.0.1:43854",
                "AuthFailure.SignatureFailure",
            ),
            ("1795417339", "1795417340", "AuthFailure.SignatureFailure"),
            (
                "/vpc/tc3_request",
                "/cvm/tc3_request",
                "AuthFailure.SignatureFailure",
            ),
            ("2026-11-23/", "2026-11-24/", "AuthFailure.SignatureFailure"),
            ("STSTOKEN", "OTHER", "AuthFailure.TokenFailure"),
            (
                "Credential=AKIDEXAMPLE",
                "Credential=ANOTHER",
                "AuthFailure.TokenFailure",
            ),
            ("X-TC-Token: STSTOKEN\r\n", "", "AuthFailure.TokenFailure"),
            (
                "SignedHeaders=content-type;host",
                "SignedHeaders=host",
                "AuthFailure.InvalidAuthorization",
            ),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let changed = captured(&text.replace(from, to));
            assert_eq!(code(&changed, 0).as_deref(), Some(expected), "{from} -> {to}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_header_names_what_is_missing() {
    let api = Api::new();
    let action = &Schema::get().actions["DescribeVpcs"];
    for name in [
        "X-TC-Action",
        "X-TC-Version",
        "X-TC-Timestamp",
        "X-TC-Region",
        "Authorization",
    ] {
        let mut request = api.signed("DescribeVpcs", action, "{}");
        request.headers_mut().remove(name);
        let response = api.send(request).await;
        assert_eq!(response["Error"]["Code"], "MissingParameter");
        let said = text(&response["Error"]["Message"]);
        assert!(
            said.contains(&format!("`{}`", name.trim_start_matches("X-TC-"))),
            "{said}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_action_version_or_region_has_a_code_of_its_own() {
    let api = Api::new();
    let action = &Schema::get().actions["DescribeVpcs"];
    for (name, value, code) in [
        ("X-TC-Action", "DescribeNothing", "InvalidAction"),
        ("X-TC-Action", "DescribeInstances", "InvalidAction"),
        ("X-TC-Version", "2016-03-12", "NoSuchVersion"),
        ("X-TC-Region", "ap-nowhere", "UnsupportedRegion"),
    ] {
        let mut request = api.signed("DescribeVpcs", action, "{}");
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(api.send(request).await["Error"]["Code"], code, "{name}: {value}");
    }
    let mut request = api.signed("DescribeVpcs", action, "{}");
    *request.method_mut() = axum::http::Method::PUT;
    assert_eq!(api.send(request).await["Error"]["Code"], "UnsupportedProtocol");
}

#[tokio::test(start_paused = true)]
async fn a_temporary_key_is_good_until_it_expires() {
    let mut api = Api::new();
    let expires = api
        .environment
        .now()
        .saturating_add(SignedDuration::from_secs(60))
        .unwrap();
    api.credentials = Credentials::new("AKIDtmp", "key").with_token("token");
    api.simulator
        .add_credentials(api.credentials.clone(), Some(expires));
    let action = &Schema::get().actions["DescribeVpcs"];
    let send = async || {
        let mut request: Request<Body> = api.signed("DescribeVpcs", action, "{}");
        request
            .headers_mut()
            .insert("X-TC-Token", "token".parse().unwrap());
        api.send(request).await["Error"]["Code"].clone()
    };
    assert_eq!(send().await, Value::Null);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(send().await, json!("AuthFailure.TokenFailure"));
}
