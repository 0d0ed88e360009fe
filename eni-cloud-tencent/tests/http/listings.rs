//! A listing is whole or an error.

use eni_core::cloud::{Cloud, CloudErrorKind, EniFilter};
use serde_json::json;

use crate::gateway::{Answer, Gateway, Received, eni, listing, refusal, result};

fn ours() -> EniFilter {
    EniFilter::Instance("ins-1".into())
}

/// A page of 250 ENIs.
fn page(request: &Received) -> Answer {
    let sent = request.json();
    let (offset, limit) = (sent["Offset"].as_u64().unwrap(), sent["Limit"].as_u64().unwrap());
    let enis = (offset..250.min(offset + limit))
        .map(|number| eni(&format!("eni-{number:03}"), "AVAILABLE", None, &[]));
    result(json!({"NetworkInterfaceSet": enis.collect::<Vec<_>>(), "TotalCount": 250}))
}

#[tokio::test]
async fn every_page_is_read() {
    let gateway = Gateway::start(page).await;
    let enis = gateway.cloud().enis(&ours()).await.unwrap();
    assert_eq!((enis.len(), gateway.received().len()), (250, 3));
    assert_eq!(gateway.received()[2].json()["Offset"], 200);
}

#[tokio::test]
async fn a_page_that_fails_is_never_the_end() {
    for code in ["InternalError", "UnauthorizedOperation", "ResourceUnavailable"] {
        let gateway = Gateway::start(move |request| match request.json()["Offset"].as_u64() {
            Some(200) => refusal(code),
            _ => page(request),
        })
        .await;
        assert!(gateway.cloud().enis(&ours()).await.is_err(), "{code}");
    }
}

#[tokio::test]
async fn a_later_page_that_is_throttled_is_repeated_alone_and_a_first_one_left_to_the_caller() {
    let mut refused = false;
    let gateway = Gateway::start(move |request| match request.json()["Offset"].as_u64() {
        Some(100) if !std::mem::replace(&mut refused, true) => refusal("RequestLimitExceeded"),
        _ => page(request),
    })
    .await;
    assert_eq!(gateway.cloud().enis(&ours()).await.unwrap().len(), 250);
    assert_eq!(gateway.received().len(), 4);

    let gateway = Gateway::start(|_| refusal("LimitExceeded.ActionLimited")).await;
    let error = gateway.cloud().enis(&ours()).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Throttled { retry_after: None });
    assert_eq!(gateway.received().len(), 1);
}

#[tokio::test]
async fn an_eni_that_cannot_be_read_fails_the_listing() {
    let gateway = Gateway::start(|_| listing(&[eni("eni-1", "FROZEN", None, &[])])).await;
    let error = gateway.cloud().enis(&ours()).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Unavailable);
    assert!(error.to_string().contains("FROZEN"), "{error}");
}

#[tokio::test]
async fn ids_go_in_batches_and_gone_ones_are_left_out() {
    let gateway =
        Gateway::start(
            |request| match request.json()["Filters"][0]["Values"].as_array().unwrap().len() {
                100 => listing(&[eni("eni-1", "AVAILABLE", None, &[])]),
                _ => refusal("ResourceNotFound"),
            },
        )
        .await;
    let ids = (0..150).map(|number| format!("eni-{number}").into()).collect();
    let enis = gateway.cloud().enis(&EniFilter::Ids(ids)).await.unwrap();
    assert_eq!((enis.len(), gateway.received().len()), (1, 2));
}

#[tokio::test]
async fn what_bears_other_tags_is_not_listed() {
    let gateway = Gateway::start(|_| listing(&[eni("eni-1", "AVAILABLE", None, &[])])).await;
    let tags = [("tke-clusterId".to_owned(), "cls-1".to_owned())].into();
    assert_eq!(gateway.cloud().enis(&EniFilter::Tags(tags)).await.unwrap(), []);
    let filters = &gateway.received()[0].json()["Filters"];
    assert_eq!(
        *filters,
        json!([{"Name": "tag:tke-clusterId", "Values": ["cls-1"]}])
    );
}

#[tokio::test]
async fn instances_that_are_gone_are_left_out_by_a_filter() {
    let gateway = Gateway::start(|request| match request.json().get("InstanceIds") {
        Some(_) => refusal("InvalidInstanceId.NotFound"),
        None => result(json!({"TotalCount": 0, "InstanceSet": []})),
    })
    .await;
    let ids: Vec<_> = (0..7).map(|number| format!("ins-{number}").into()).collect();
    assert_eq!(gateway.cloud().instances(&ids).await.unwrap(), []);
    let requests = gateway.received();
    assert_eq!(requests.len(), 3, "7 ids, 5 to a filter");
    let values = requests[2].json()["Filters"][0]["Values"].clone();
    assert_eq!(values, json!(["ins-5", "ins-6"]));
}

#[tokio::test]
async fn a_subnet_that_is_left_out_is_not_found() {
    let gateway = Gateway::start(|_| result(json!({"TotalCount": 0, "SubnetSet": []}))).await;
    let error = gateway.cloud().subnets(&["subnet-1".into()]).await.unwrap_err();
    assert_eq!(
        (error.kind, &*error.resource),
        (CloudErrorKind::NotFound, "subnet-1")
    );
}
