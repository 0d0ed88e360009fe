//! Temporary keys, and the metadata service that hands them out.

use super::*;
use crate::simulator::{Fault, FaultPlan, FaultRule};

const ROLE: &str = "qcs::cam::uin/100000000001:roleName/eni";

/// A client of the same simulator with other keys.
fn with_keys(api: &Api, keys: &Value) -> Api {
    let key = |name: &str| text(&keys[name]);
    Api {
        simulator: api.simulator.clone(),
        environment: api.environment.clone(),
        credentials: Credentials::new(key("TmpSecretId"), key("TmpSecretKey")).with_token(key("Token")),
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_gives_keys_for_a_while() {
    let api = Api::new();
    let parameters = json!({"RoleArn": ROLE, "RoleSessionName": "eni", "DurationSeconds": 600});
    let answer = api.done("AssumeRole", parameters).await;
    assert_eq!(answer["Expiration"], "2026-01-01T00:10:00Z");
    let temporary = with_keys(&api, &answer["Credentials"]);
    temporary.done("DescribeVpcs", json!({})).await;
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(
        temporary.call("DescribeVpcs", json!({})).await,
        Err("AuthFailure.TokenFailure".to_owned())
    );
    for wrong in [
        json!({"RoleArn": "eni"}),
        json!({"RoleSessionName": "x"}),
        json!({"DurationSeconds": 43201}),
    ] {
        let mut parameters = json!({"RoleArn": ROLE, "RoleSessionName": "eni"});
        parameters
            .as_object_mut()
            .unwrap()
            .extend(wrong.as_object().unwrap().clone());
        assert!(
            api.call("AssumeRole", parameters)
                .await
                .unwrap_err()
                .starts_with("InvalidParameter.")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_web_identity_needs_no_signature_and_nothing_else_goes_without() {
    let api = Api::new();
    let send = async |name: &str, body: Value| {
        let mut request = api.signed(name, &Schema::get().actions[name], &body.to_string());
        request
            .headers_mut()
            .insert("Authorization", "SKIP".parse().unwrap());
        api.send(request).await
    };
    let parameters = json!({
        "ProviderId": "cls-1", "WebIdentityToken": "a.b.c", "RoleArn": ROLE, "RoleSessionName": "eni",
    });
    let answer = send("AssumeRoleWithWebIdentity", parameters.clone()).await;
    with_keys(&api, &answer["Credentials"])
        .done("DescribeVpcs", json!({}))
        .await;
    let refused = send("AssumeRole", json!({"RoleArn": ROLE, "RoleSessionName": "eni"})).await;
    assert_eq!(refused["Error"]["Code"], "AuthFailure.InvalidAuthorization");
}

#[tokio::test(start_paused = true)]
async fn tokens_can_be_made_to_expire_early() {
    let api = Api::new();
    let answer = api
        .done("AssumeRole", json!({"RoleArn": ROLE, "RoleSessionName": "eni"}))
        .await;
    let temporary = with_keys(&api, &answer["Credentials"]);
    temporary.done("DescribeVpcs", json!({})).await;
    let rule = FaultRule {
        action: None,
        skip: 0,
        count: 1,
        one_in: 1,
        fault: Fault::ExpireTokens,
    };
    api.simulator.plan_faults(FaultPlan {
        rules: [rule].into(),
        ..FaultPlan::default()
    });
    assert_eq!(
        temporary.call("DescribeVpcs", json!({})).await,
        Err("AuthFailure.TokenFailure".to_owned())
    );
    api.done("DescribeVpcs", json!({})).await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_reads_about_itself() {
    let api = Api::new();
    let eni = api.attached("pods").await;
    let shown = api.shown(&eni).await;
    let (mac, ip) = (
        text(&shown["MacAddress"]),
        text(&shown["PrivateIpAddressSet"][0]["PrivateIpAddress"]),
    );
    let metadata = api.simulator.metadata("ins-1", Some("eni".to_owned()));
    let get = async |path: &str| {
        let uri = format!("/latest/meta-data/{path}");
        let response = metadata
            .clone()
            .oneshot(Request::get(uri).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let address = format!("network/interfaces/macs/{mac}/local-ipv4s/{ip}");
    for (path, expected) in [
        ("instance-id".to_owned(), "ins-1".to_owned()),
        ("placement/zone".to_owned(), "ap-guangzhou-3".to_owned()),
        ("local-ipv4".to_owned(), "10.0.1.2".to_owned()),
        (
            "network/interfaces/macs/".to_owned(),
            format!("20:90:6F:00:00:01/\n{mac}/"),
        ),
        (
            format!("network/interfaces/macs/{mac}/subnet-id"),
            "subnet-a".to_owned(),
        ),
        (format!("{address}/gateway"), "10.0.1.1".to_owned()),
        (format!("{address}/subnet-mask"), "255.255.255.0".to_owned()),
        ("cam/security-credentials/".to_owned(), "eni".to_owned()),
    ] {
        assert_eq!(get(&path).await, (200, expected), "{path}");
    }
    let lower = format!("network/interfaces/macs/{}/subnet-id", mac.to_lowercase());
    for path in ["nonsense", "cam/security-credentials/other", &lower] {
        assert_eq!(get(path).await.0, 404, "{path}");
    }
    let keys: Value = serde_json::from_str(&get("cam/security-credentials/eni").await.1).unwrap();
    assert_eq!(keys["Code"], "Success");
    with_keys(&api, &keys).done("DescribeVpcs", json!({})).await;
}
