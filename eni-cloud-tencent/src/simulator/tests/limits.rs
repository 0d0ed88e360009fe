//! How often, and how often the same.

use super::*;
use crate::simulator::{Rates, Site};

#[tokio::test(start_paused = true)]
async fn an_action_has_its_own_limit_of_calls_in_a_second() {
    let api = Api::new();
    let limit = json!({"InstanceId": "ins-1"});
    for _ in 0..20 {
        api.done("DescribeNetworkInterfaceLimit", limit.clone()).await;
    }
    let refused = api.call("DescribeNetworkInterfaceLimit", limit.clone()).await;
    assert_eq!(refused, Err("RequestLimitExceeded".to_owned()));
    api.done("DescribeNetworkInterfaces", json!({})).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    api.done("DescribeNetworkInterfaceLimit", limit).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_token_makes_one_eni_and_no_other_parameters() {
    let api = Api::new();
    let creation = |name: &str| json!({"VpcId": "vpc-sim", "SubnetId": "subnet-a", "NetworkInterfaceName": name, "ClientToken": "t-1"});
    let first = api.done("CreateNetworkInterface", creation("a")).await;
    let again = api.done("CreateNetworkInterface", creation("a")).await;
    assert_eq!(first["NetworkInterface"], again["NetworkInterface"]);
    let other = api.call("CreateNetworkInterface", creation("b")).await;
    assert_eq!(
        other,
        Err("UnsupportedOperation.IdempotentParameterMismatch".to_owned())
    );
    let listed = api.done("DescribeNetworkInterfaces", json!({})).await;
    assert_eq!(listed["TotalCount"], 4, "three primary ones and one more");
}

#[tokio::test(start_paused = true)]
async fn a_client_token_of_a_refused_request_is_as_good_as_new() {
    let api = Api::new();
    let eni = api.eni("pods", 0).await;
    let attach =
        |instance: &str| json!({"NetworkInterfaceId": eni, "InstanceId": instance, "ClientToken": "t"});
    let refused = api.call("AttachNetworkInterface", attach("ins-3")).await;
    assert_eq!(refused, Err("UnsupportedOperation.ZoneMismatch".to_owned()));
    api.done("AttachNetworkInterface", attach("ins-1")).await;
}

#[tokio::test(start_paused = true)]
async fn the_second_use_of_a_token_waits_for_the_first() {
    let api = Api::with(Settings::default(), |builder| {
        builder.latency(Latency {
            call: Duration::from_secs(5),
            ..Latency::default()
        })
    });
    let creation =
        json!({"VpcId": "vpc-sim", "SubnetId": "subnet-a", "NetworkInterfaceName": "a", "ClientToken": "t"});
    let first = api.call("CreateNetworkInterface", creation.clone());
    let second = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.call("CreateNetworkInterface", creation.clone()).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert_eq!(
        second,
        Err("UnsupportedOperation.IdempotentProcessing".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_international_site_does_not_know_every_field() {
    let settings = Settings {
        site: Site::International,
        rates: Rates::Unlimited,
        ..Settings::default()
    };
    let api = Api::with(settings, |builder| builder);
    let attach = json!({"NetworkInterfaceId": "eni-1", "InstanceId": "ins-1", "ClientToken": "t"});
    assert_eq!(
        api.call("AttachNetworkInterface", attach).await,
        Err("UnknownParameter".to_owned())
    );
}
