//! Temporary keys, over HTTP.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::http::StatusCode;
use eni_cloud_tencent::{
    CredentialSource, Credentials, RenewedCredentials, Role, StaticCredentials, WebIdentity,
};
use eni_core::{
    cloud::{Cloud, CloudErrorKind},
    env::SystemEnvironment,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, refusal, result};

const ROLE: &str = "qcs::cam::uin/100001:roleName/ipamd";

/// Keys for longer than a test takes.
fn keys() -> Value {
    json!({
        "Credentials": {"TmpSecretId": "AKIDtmp", "TmpSecretKey": "hush-tmp", "Token": "hush-session"},
        "ExpiredTime": 4_000_000_000_u64, "Expiration": "2096-10-02T07:06:40Z",
    })
}

fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    Answer(status, Vec::new(), body.into())
}

async fn is_temporary(source: &dyn CredentialSource) {
    let keys = source.current().await.unwrap();
    assert_eq!(keys.secret_id(), "AKIDtmp");
    assert_eq!(keys.token().unwrap().expose_secret(), "hush-session");
}

#[tokio::test]
async fn a_role_is_assumed_once_for_many_calls_which_bear_its_token() {
    let gateway = Gateway::start(|request| match request.action() {
        "AssumeRole" => result(keys()),
        _ => result(json!({"EniQuantity": 4, "EniPrivateIpAddressQuantity": 10})),
    })
    .await;
    let own = Arc::new(StaticCredentials::new(Credentials::new("AKIDown", "hush-own")));
    let role = Role::new(ROLE, "ipamd");
    let environment = SystemEnvironment::shared();
    let source = RenewedCredentials::assumed_role(&gateway.config(), own, role, environment).unwrap();
    let cloud = gateway.cloud_with(Arc::new(source));
    for _ in 0..2 {
        cloud.limits(&"ins-1".into()).await.unwrap();
    }
    let received = gateway.received();
    assert_eq!(received.len(), 3);
    assert!(
        received[0]
            .header("authorization")
            .contains("Credential=AKIDown/")
    );
    assert_eq!(
        (
            received[0].header("x-tc-version"),
            received[0].header("x-tc-token")
        ),
        ("2018-08-13", "")
    );
    assert_eq!(
        received[0].json(),
        json!({"RoleArn": ROLE, "RoleSessionName": "ipamd", "DurationSeconds": 7200})
    );
    assert!(
        received[2]
            .header("authorization")
            .contains("Credential=AKIDtmp/")
    );
    assert_eq!(received[2].header("x-tc-token"), "hush-session");
}

#[tokio::test]
async fn a_pods_token_is_read_at_each_renewal_and_sent_unsigned() {
    let gateway = Gateway::start(|_| result(keys())).await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    fs::write(&token_file, "hush-first\n").unwrap();
    let identity = WebIdentity {
        provider: "cls-1".into(),
        token_file: token_file.clone(),
        role: Role::new(ROLE, "ipamd"),
    };
    let environment = SystemEnvironment::shared();
    let source = RenewedCredentials::web_identity(&gateway.config(), identity, environment).unwrap();
    is_temporary(&source).await;
    fs::write(&token_file, "hush-second\n").unwrap();
    source.refused(&source.current().await.unwrap()).await;
    is_temporary(&source).await;
    let received = gateway.received();
    let tokens: Vec<_> = received
        .iter()
        .map(|request| request.json()["WebIdentityToken"].clone())
        .collect();
    assert_eq!(tokens, ["hush-first", "hush-second"]);
    assert_eq!(received[0].header("authorization"), "SKIP");
    assert!(!format!("{source:?}").contains("hush"));
}

#[tokio::test]
async fn a_machine_has_the_keys_of_its_role() {
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let gateway = Gateway::start(move |_| {
        let mut asked = counted.lock().unwrap();
        *asked += 1;
        match *asked {
            1 => text(StatusCode::OK, "\nipamd-role\n"),
            _ => {
                let mut page = keys()["Credentials"].clone();
                page["ExpiredTime"] = json!(4_000_000_000_u64);
                page["Code"] = json!("Success");
                text(StatusCode::OK, page.to_string())
            }
        }
    })
    .await;
    let metadata = Some(gateway.url.parse().unwrap());
    let source = RenewedCredentials::machine_role(metadata, SystemEnvironment::shared()).unwrap();
    is_temporary(&source).await;
    is_temporary(&source).await;
    assert_eq!(*asked.lock().unwrap(), 2);
}

#[tokio::test]
async fn what_is_no_page_of_keys_is_told_without_what_it_says() {
    let pages = [
        (StatusCode::NOT_FOUND, "", "bind one to the instance"),
        (StatusCode::OK, "", "bind one to the instance"),
        (StatusCode::OK, "hush-page", "unreadable"),
        (StatusCode::BAD_GATEWAY, "hush", "502"),
    ];
    for (status, page, part) in pages {
        let mut pages = ["ipamd-role", page]
            .into_iter()
            .skip(usize::from(page.is_empty()));
        let gateway = Gateway::start(move |_| text(status, pages.next().unwrap())).await;
        let metadata = Some(gateway.url.parse().unwrap());
        let source = RenewedCredentials::machine_role(metadata, SystemEnvironment::shared()).unwrap();
        let error = source.current().await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("hush"), "{part}: {error}");
    }
}

#[tokio::test]
async fn without_keys_nothing_is_sent_and_the_error_says_why() {
    let sts = Gateway::start(|_| refusal("AuthFailure.UnauthorizedOperation")).await;
    let own = Arc::new(StaticCredentials::new(Credentials::new("AKIDown", "hush-own")));
    let environment = SystemEnvironment::shared();
    let role = Role::new(ROLE, "ipamd");
    let source = RenewedCredentials::assumed_role(&sts.config(), own, role, environment).unwrap();
    let gateway = Gateway::start(|_| unreachable!("nothing is sent")).await;
    let error = gateway
        .cloud_with(Arc::new(source))
        .delete_eni(&"eni-1".into())
        .await
        .unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Denied);
    let text = error.to_string();
    assert!(text.contains("sts:AssumeRole") && text.contains(ROLE), "{text}");
    assert!(!text.contains("hush"), "{text}");
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_when_they_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credentials");
    let write =
        |id: &str| fs::write(&path, format!("[default]\nsecret_id = {id}\nsecret_key = hush\n")).unwrap();
    write("one");
    let source = RenewedCredentials::file(&path, SystemEnvironment::shared());
    let first = source.current().await.unwrap();
    write("two");
    assert!(Arc::ptr_eq(&first, &source.current().await.unwrap()));
    source.refused(&first).await;
    assert_eq!(source.current().await.unwrap().secret_id(), "two");
    fs::remove_file(&path).unwrap();
    source.refused(&source.current().await.unwrap()).await;
    assert_eq!(
        source.current().await.unwrap().secret_id(),
        "two",
        "the old ones are kept"
    );
}
