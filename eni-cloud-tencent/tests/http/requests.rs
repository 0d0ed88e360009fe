//! What a request looks like on the wire, and what becomes of answers that are none.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::StatusCode;
use eni_cloud_tencent::{
    CredentialSource, Credentials, CredentialsError, StaticCredentials, TencentCloud,
    tc3::{Payload, Request},
};
use eni_core::{
    cloud::{AssignAddresses, Cloud, CloudErrorKind, CreateEni, EniFilter},
    env::SystemEnvironment,
    model::Family,
};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, Received, eni, listing, refusal, result, subnets};

/// Answers each action with success.
fn willing(request: &Received) -> Answer {
    let one = eni(
        "eni-1",
        "AVAILABLE",
        Some("ins-1"),
        &[("10.0.0.5", "AVAILABLE"), ("10.0.0.6", "AVAILABLE")],
    );
    match request.action() {
        "DescribeNetworkInterfaces" => listing(&[one]),
        "DescribeSubnets" => subnets(),
        "DescribeInstances" => result(json!({"TotalCount": 1, "InstanceSet": [{
            "InstanceId": "ins-1", "InstanceState": "RUNNING", "Placement": {"Zone": "ap-guangzhou-3"},
            "VirtualPrivateCloud": {"VpcId": "vpc-1"},
        }]})),
        "DescribeNetworkInterfaceLimit" => {
            result(json!({"EniQuantity": 4, "EniPrivateIpAddressQuantity": 10, "SubEniQuantity": null}))
        }
        "CreateNetworkInterface" => {
            result(json!({"NetworkInterface": eni("eni-2", "PENDING", None, &[("10.0.0.9", "PENDING")])}))
        }
        "AssignPrivateIpAddresses" => {
            result(json!({"PrivateIpAddressSet": [{"PrivateIpAddress": "10.0.0.7"}]}))
        }
        "AssignIpv6Addresses" => result(json!({"Ipv6AddressSet": [{"Address": "2001:db8::7"}]})),
        _ => result(json!({})),
    }
}

fn creation() -> CreateEni {
    CreateEni {
        name: "eni-of-node".into(),
        subnet: "subnet-1".into(),
        secondary: 3,
        security_groups: vec!["sg-1".into()],
        tags: [("tke-clusterId".to_owned(), "cls-1".to_owned())].into(),
        token: "0123456789abcdef".into(),
    }
}

/// Every call of the core, once or twice.
async fn call_everything(cloud: &TencentCloud) {
    let (id, on) = ("eni-1".into(), "ins-1".into());
    cloud.instances(&["ins-1".into()]).await.unwrap();
    cloud.limits(&on).await.unwrap();
    cloud.subnets(&["subnet-1".into()]).await.unwrap();
    let tags = [("a".to_owned(), "b".to_owned())].into();
    for filter in [
        EniFilter::Ids(vec!["eni-1".into()]),
        EniFilter::Instance("ins-1".into()),
        EniFilter::Tags(tags),
    ] {
        cloud.enis(&filter).await.unwrap();
    }
    cloud.create_eni(&creation()).await.unwrap();
    let bare = CreateEni {
        secondary: 0,
        security_groups: Vec::new(),
        tags: [].into(),
        token: String::new(),
        ..creation()
    };
    cloud.create_eni(&bare).await.unwrap();
    cloud.attach_eni(&id, &on).await.unwrap();
    cloud.detach_eni(&id).await.unwrap();
    cloud.delete_eni(&id).await.unwrap();
    for order in [
        AssignAddresses::Count(Family::V4, 1),
        AssignAddresses::Count(Family::V6, 1),
        AssignAddresses::Exactly(vec!["10.0.0.7".parse().unwrap()]),
        AssignAddresses::Exactly(vec!["2001:db8::7".parse().unwrap()]),
    ] {
        cloud.assign_addresses(&id, &order).await.unwrap();
    }
    let both = ["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    cloud.unassign_addresses(&id, &both).await.unwrap();
}

/// Whether a value is of the type that the API's definition has for a field.
fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "int" => value.is_u64(),
        "list" => value.as_array().is_some_and(|items| !items.is_empty()),
        "bool" => value.is_boolean(),
        "object" => value.is_object(),
        other => panic!("an unknown type: {other}"),
    }
}

#[tokio::test]
async fn every_request_has_the_fields_of_its_action_and_no_others() {
    let data: Value = serde_json::from_str(include_str!("../../data/vpc-actions.json")).unwrap();
    let gateway = Gateway::start(willing).await;
    call_everything(&gateway.cloud()).await;
    for request in gateway.received() {
        let action = &data["actions"][request.action()];
        let fields = action["request"].as_array().expect("an action of the data");
        let (sent, name) = (request.json(), request.action());
        let sent = sent.as_object().unwrap();
        for (field, value) in sent {
            let defined = fields.iter().find(|defined| defined[0] == **field);
            let defined = defined.unwrap_or_else(|| panic!("{name} has no field {field}"));
            let kind = defined[1].as_str().unwrap();
            assert!(is_of(value, kind), "{name}.{field} is no {kind}: {value}");
        }
        for required in fields
            .iter()
            .filter(|field| field[3].as_str().unwrap().contains('R'))
        {
            let field = required[0].as_str().unwrap();
            assert!(sent.contains_key(field), "{name} lacks {field}: {sent:?}");
        }
        assert_eq!(request.header("x-tc-version"), action["version"]);
    }
    let mut actions = gateway.actions();
    actions.sort();
    actions.dedup();
    assert_eq!(actions.len(), 12, "{actions:?}");
}

#[tokio::test]
async fn every_request_is_signed_over_what_is_sent() {
    let gateway = Gateway::start(willing).await;
    call_everything(&gateway.cloud()).await;
    let keys = Credentials::new("AKIDtest", "hush-key").with_token("hush-token");
    let address = gateway.url.strip_prefix("http://").unwrap();
    for request in gateway.received() {
        let service = match request.action() {
            "DescribeInstances" => "cvm",
            _ => "vpc",
        };
        let seconds = request.header("x-tc-timestamp").parse().unwrap();
        let signed = Request {
            method: "POST",
            host: request.header("host"),
            content_type: request.header("content-type"),
            extra_headers: &[],
            query: "",
            payload: Payload::Signed(&request.body),
            timestamp: jiff::Timestamp::from_second(seconds).unwrap(),
            service,
        };
        assert_eq!(request.header("authorization"), signed.authorization(&keys));
        assert_eq!(
            (request.header("host"), request.header("content-type")),
            (address, "application/json")
        );
        assert_eq!(
            (request.header("x-tc-token"), request.header("x-tc-language")),
            ("hush-token", "en-US")
        );
        assert_eq!(request.header("x-tc-region"), "ap-guangzhou");
    }
}

#[tokio::test]
async fn the_created_eni_has_the_zone_of_its_subnet() {
    let gateway = Gateway::start(willing).await;
    let eni = gateway.cloud().create_eni(&creation()).await.unwrap();
    assert_eq!(eni.zone, "ap-guangzhou-3".into());
    assert_eq!(gateway.actions(), ["DescribeSubnets", "CreateNetworkInterface"]);
    let sent = gateway.received()[1].json();
    assert_eq!(sent["VpcId"], "vpc-1");
    assert_eq!(sent["Tags"], json!([{"Key": "tke-clusterId", "Value": "cls-1"}]));
    assert_eq!(sent["ClientToken"], "0123456789abcdef");
}

#[tokio::test]
async fn an_answer_that_says_nothing_is_an_unknown_outcome() {
    for (status, body) in [
        (StatusCode::BAD_GATEWAY, "<html>"),
        (StatusCode::OK, "{\"Response\": {\"RequestId\": \"r\"}}"),
        (StatusCode::OK, ""),
        (StatusCode::FOUND, "{}"),
    ] {
        let gateway = Gateway::start(move |_| Answer(status, Vec::new(), body.to_owned())).await;
        let error = gateway.cloud().limits(&"ins-1".into()).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_fails_says_why() {
    let gateway = Gateway::start(willing).await;
    let mut config = gateway.config();
    // Nobody listens on port 1.
    config.endpoint = eni_cloud_tencent::Endpoint::At("http://127.0.0.1:1".parse().unwrap());
    let keys = StaticCredentials::new(Credentials::new("AKID", "hush-key"));
    let cloud = TencentCloud::new(&config, Arc::new(keys), SystemEnvironment::shared()).unwrap();
    let error = cloud.delete_eni(&"eni-1".into()).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Unavailable);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_gateway_that_takes_no_more_is_throttling() {
    let gateway = Gateway::start(|_| Answer(StatusCode::TOO_MANY_REQUESTS, Vec::new(), "slow".into())).await;
    let error = gateway.cloud().delete_eni(&"eni-1".into()).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Throttled { retry_after: None });
}

#[tokio::test]
async fn an_error_has_the_requests_id_and_no_secret() {
    let gateway = Gateway::start(|_| refusal("UnauthorizedOperation")).await;
    let cloud = gateway.cloud();
    let error = cloud.limits(&"ins-1".into()).await.unwrap_err();
    assert_eq!(error.request_id.as_deref(), Some("r-test"));
    for text in [format!("{error} {error:?}"), format!("{cloud:?}")] {
        assert!(!text.contains("hush"), "{text}");
    }
    assert_eq!(cloud.counts()["DescribeNetworkInterfaceLimit"].failures, 1);
}

#[tokio::test]
async fn a_wrong_clock_is_named() {
    let gateway = Gateway::start(|_| {
        let mut answer = refusal("AuthFailure.SignatureExpire");
        answer
            .1
            .push(("date", "Mon, 23 Nov 2020 10:00:00 GMT".to_owned()));
        answer
    })
    .await;
    let error = gateway.cloud().limits(&"ins-1".into()).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Denied);
    assert!(error.to_string().contains("s ahead of the cloud's"), "{error}");
}

/// Keys that are others once they were refused.
#[derive(Debug)]
struct Renewing(Mutex<Arc<Credentials>>);

#[async_trait]
impl CredentialSource for Renewing {
    async fn current(&self) -> Result<Arc<Credentials>, CredentialsError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn refused(&self, _: &Arc<Credentials>) {
        *self.0.lock().unwrap() = Arc::new(Credentials::new("AKIDnew", "hush-key"));
    }
}

#[tokio::test]
async fn a_request_that_is_refused_for_its_keys_goes_again_with_fresh_ones_once() {
    let gateway = Gateway::start(
        |request| match request.header("authorization").contains("AKIDnew") {
            true => willing(request),
            false => refusal("AuthFailure.TokenFailure"),
        },
    )
    .await;
    let old = Arc::new(Credentials::new("AKIDold", "hush-key"));
    let cloud = gateway.cloud_with(Arc::new(Renewing(Mutex::new(old))));
    cloud.limits(&"ins-1".into()).await.unwrap();
    assert_eq!(gateway.received().len(), 2);

    let error = gateway.cloud().limits(&"ins-1".into()).await.unwrap_err();
    assert_eq!(
        error.kind,
        CloudErrorKind::Denied,
        "keys that never change are not tried again"
    );
    assert_eq!(gateway.received().len(), 3);
}
