//! An order that is refused because it was done before succeeds.

use eni_core::cloud::{AssignAddresses, Cloud, CloudErrorKind};
use eni_core::model::Family;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, eni, listing, refusal, result};

/// Refuses `action` with `code`, and shows `enis`.
async fn refusing(action: &'static str, code: &'static str, enis: Vec<Value>) -> Gateway {
    Gateway::start(move |request| match request.action() {
        "DescribeNetworkInterfaces" => listing(&enis),
        name if name == action => refusal(code),
        other => panic!("{other} was not expected"),
    })
    .await
}

#[tokio::test]
async fn attaching_succeeds_if_the_instance_has_it_and_conflicts_if_another_has() {
    for code in [
        "UnsupportedOperation.AttachmentAlreadyExists",
        "UnsupportedOperation.InvalidState",
    ] {
        for (state, on, succeeds) in [
            ("AVAILABLE", Some("ins-1"), true),
            ("ATTACHING", Some("ins-1"), true),
            ("DETACHING", Some("ins-1"), false),
            ("AVAILABLE", Some("ins-2"), false),
            ("AVAILABLE", None, false),
        ] {
            let gateway = refusing("AttachNetworkInterface", code, vec![eni("eni-1", state, on, &[])]).await;
            let attached = gateway.cloud().attach_eni(&"eni-1".into(), &"ins-1".into()).await;
            match succeeds {
                true => attached.unwrap(),
                false => assert_eq!(
                    attached.unwrap_err().kind,
                    CloudErrorKind::Conflict,
                    "{state} {on:?}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_for_another_reason_is_not_looked_into() {
    let gateway = refusing("AttachNetworkInterface", "LimitExceeded", Vec::new()).await;
    let error = gateway
        .cloud()
        .attach_eni(&"eni-1".into(), &"ins-1".into())
        .await
        .unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Quota);
    assert_eq!(gateway.actions(), ["AttachNetworkInterface"]);
}

#[tokio::test]
async fn detaching_names_the_instance_and_ends_where_there_is_none() {
    let gateway = Gateway::start(|request| match request.action() {
        "DescribeNetworkInterfaces" => listing(&[eni("eni-1", "AVAILABLE", Some("ins-7"), &[])]),
        _ => refusal("UnauthorizedOperation.AttachmentNotFound"),
    })
    .await;
    gateway.cloud().detach_eni(&"eni-1".into()).await.unwrap();
    assert_eq!(gateway.received()[1].json()["InstanceId"], "ins-7");

    for (state, on) in [("AVAILABLE", None), ("DETACHING", Some("ins-7"))] {
        let gateway = refusing("none", "none", vec![eni("eni-1", state, on, &[])]).await;
        gateway.cloud().detach_eni(&"eni-1".into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_primary_eni_is_never_detached() {
    let mut primary = eni("eni-1", "AVAILABLE", Some("ins-1"), &[]);
    primary["Primary"] = json!(true);
    let gateway = refusing("none", "none", vec![primary]).await;
    let error = gateway.cloud().detach_eni(&"eni-1".into()).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Invalid);
}

#[tokio::test]
async fn deleting_what_is_gone_or_going_succeeds_and_what_is_attached_conflicts() {
    let gateway = refusing("DeleteNetworkInterface", "ResourceNotFound", Vec::new()).await;
    gateway.cloud().delete_eni(&"eni-1".into()).await.unwrap();

    let code = "UnsupportedOperation.InvalidState";
    let gateway = refusing(
        "DeleteNetworkInterface",
        code,
        vec![eni("eni-1", "DELETING", None, &[])],
    )
    .await;
    gateway.cloud().delete_eni(&"eni-1".into()).await.unwrap();

    for code in ["UnsupportedOperation.InvalidState", "InvalidParameterValue"] {
        let attached = vec![eni("eni-1", "AVAILABLE", Some("ins-1"), &[])];
        let gateway = refusing("DeleteNetworkInterface", code, attached).await;
        let error = gateway.cloud().delete_eni(&"eni-1".into()).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Conflict, "{code}");
    }
}

const HELD: [(&str, &str); 3] = [
    ("10.0.0.5", "AVAILABLE"),
    ("10.0.0.6", "AVAILABLE"),
    ("10.0.0.7", "DELETING"),
];

#[tokio::test]
async fn addresses_that_are_gone_or_going_are_unassigned_already() {
    let eni = eni("eni-1", "AVAILABLE", Some("ins-1"), &HELD);
    let gateway = refusing("UnassignPrivateIpAddresses", "InvalidParameterValue", vec![eni]).await;
    let going = ["10.0.0.7", "10.0.0.8"].map(|ip| ip.parse().unwrap());
    gateway
        .cloud()
        .unassign_addresses(&"eni-1".into(), &going)
        .await
        .unwrap();
}

#[tokio::test]
async fn an_address_that_is_gone_does_not_keep_the_others() {
    let gateway = Gateway::start(|request| match request.action() {
        "DescribeNetworkInterfaces" => listing(&[eni("eni-1", "AVAILABLE", Some("ins-1"), &HELD)]),
        _ if request.json()["PrivateIpAddresses"].as_array().unwrap().len() == 1 => result(json!({})),
        _ => refusal("ResourceNotFound"),
    })
    .await;
    let both = ["10.0.0.6", "10.0.0.8"].map(|ip| ip.parse().unwrap());
    gateway
        .cloud()
        .unassign_addresses(&"eni-1".into(), &both)
        .await
        .unwrap();
    let last = gateway.received()[2].json();
    assert_eq!(
        last["PrivateIpAddresses"],
        json!([{"PrivateIpAddress": "10.0.0.6"}])
    );
}

#[tokio::test]
async fn a_primary_address_stays_and_the_error_says_so() {
    let eni = eni("eni-1", "AVAILABLE", Some("ins-1"), &HELD);
    let gateway = refusing(
        "UnassignPrivateIpAddresses",
        "UnauthorizedOperation.PrimaryIp",
        vec![eni],
    )
    .await;
    let primary = ["10.0.0.5".parse().unwrap()];
    let error = gateway
        .cloud()
        .unassign_addresses(&"eni-1".into(), &primary)
        .await
        .unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Invalid);
}

#[tokio::test]
async fn a_full_subnet_is_named() {
    let eni = eni("eni-1", "AVAILABLE", Some("ins-1"), &HELD);
    let gateway = refusing(
        "AssignPrivateIpAddresses",
        "ResourceInsufficient.Subnet",
        vec![eni],
    )
    .await;
    let order = AssignAddresses::Count(Family::V4, 2);
    let error = gateway
        .cloud()
        .assign_addresses(&"eni-1".into(), &order)
        .await
        .unwrap_err();
    let subnet = "subnet-1".into();
    assert_eq!(error.kind, CloudErrorKind::Exhausted { subnet });
}

#[tokio::test]
async fn an_answer_with_fewer_addresses_than_ordered_is_an_unknown_outcome() {
    let gateway = Gateway::start(|_| -> Answer {
        result(json!({"PrivateIpAddressSet": [{"PrivateIpAddress": "10.0.0.9"}]}))
    })
    .await;
    let order = AssignAddresses::Count(Family::V4, 2);
    let error = gateway
        .cloud()
        .assign_addresses(&"eni-1".into(), &order)
        .await
        .unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Unavailable);
}

#[tokio::test]
async fn more_than_a_batch_is_never_sent() {
    let gateway = refusing("none", "none", Vec::new()).await;
    let order = AssignAddresses::Count(Family::V4, 11);
    let error = gateway
        .cloud()
        .assign_addresses(&"eni-1".into(), &order)
        .await
        .unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::Invalid);
    let many: Vec<_> = (0..11_u8).map(|last| [10, 0, 0, last].into()).collect();
    let error = gateway
        .cloud()
        .unassign_addresses(&"eni-1".into(), &many)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, gateway.received().len()),
        (CloudErrorKind::Invalid, 0)
    );
}
