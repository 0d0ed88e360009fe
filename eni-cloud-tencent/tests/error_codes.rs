//! Every listed error code, against the class it is meant to have.

use std::collections::BTreeSet;

use eni_cloud_tencent::error::{ApiError, Class};
use eni_core::{cloud::CloudErrorKind, model::SubnetId};

const TABLE: &str = include_str!("data/error-codes.tsv");

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').expect("code, tab, class"))
}

#[test]
fn every_listed_code_has_its_class() {
    let wrong: Vec<_> = rows()
        .map(|(code, class)| (code, class, format!("{:?}", Class::of(code))))
        .filter(|(_, class, found)| *found != format!("Some({class})"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rows().count() > 209, "the table lost rows");
}

#[test]
fn every_code_of_the_actions_data_is_in_the_table() {
    let data: serde_json::Value = serde_json::from_str(include_str!("../data/vpc-actions.json")).unwrap();
    let listed: BTreeSet<&str> = rows().map(|(code, _)| code).collect();
    let actions = data["actions"].as_object().expect("actions by name");
    let codes: BTreeSet<&str> = actions
        .values()
        .flat_map(|action| action["error_codes"].as_array().into_iter().flatten())
        .map(|code| code.as_str().expect("a code"))
        .collect();
    assert!(codes.len() > 150, "the data lost codes: {}", codes.len());
    let missing: Vec<_> = codes.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn what_is_refused_for_a_permission_or_a_quota_names_it() {
    let text = |code: &str, action| {
        let error = ApiError {
            code: code.into(),
            message: "no".into(),
            request_id: String::new(),
        };
        error.into_cloud_error(action, "eni-1", None).to_string()
    };
    let cases = [
        (
            "AuthFailure.UnauthorizedOperation",
            "CreateNetworkInterface",
            "vpc:CreateNetworkInterface",
        ),
        (
            "UnauthorizedOperation",
            "DescribeInstances",
            "cvm:DescribeInstances",
        ),
        (
            "LimitExceeded.NetworkInterfaceLimitExceeded",
            "CreateNetworkInterface",
            "vpc-max-enis",
        ),
        (
            "LimitExceeded",
            "AssignPrivateIpAddresses",
            "addresses of the ENI",
        ),
        ("LimitExceeded", "AttachNetworkInterface", "ENIs of the instance"),
        ("AuthFailure.SignatureExpire", "DescribeSubnets", "NTP"),
    ];
    for (code, action, part) in cases {
        let text = text(code, action);
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn an_unlisted_detail_takes_its_family_and_an_unlisted_family_nothing() {
    assert_eq!(Class::of("LimitExceeded.SomethingNew"), Some(Class::Quota));
    assert_eq!(Class::of("UnauthorizedOperation.New"), Some(Class::Denied));
    assert_eq!(Class::of("LimitExceededNot"), None);
    assert_eq!(Class::of(""), None);
}

#[test]
fn each_class_says_what_the_core_can_do() {
    let subnet = SubnetId::from("subnet-1");
    let kinds = [
        (Class::Throttled, CloudErrorKind::Throttled { retry_after: None }),
        (Class::Busy, CloudErrorKind::Conflict),
        (Class::State, CloudErrorKind::Conflict),
        (Class::ServerFault, CloudErrorKind::Unavailable),
        (
            Class::SubnetFull,
            CloudErrorKind::Exhausted {
                subnet: subnet.clone(),
            },
        ),
        (Class::Quota, CloudErrorKind::Quota),
        (Class::AddressTaken, CloudErrorKind::AddressTaken),
        (Class::Gone, CloudErrorKind::NotFound),
        (Class::AlreadySo, CloudErrorKind::Conflict),
        (Class::Misuse, CloudErrorKind::Invalid),
        (Class::Credentials, CloudErrorKind::Denied),
        (Class::Clock, CloudErrorKind::Denied),
        (Class::Denied, CloudErrorKind::Denied),
    ];
    for (class, kind) in kinds {
        assert_eq!(class.kind(Some(&subnet)), kind, "{class:?}");
    }
    assert_eq!(Class::SubnetFull.kind(None), CloudErrorKind::Quota);
}

#[test]
fn an_error_names_the_call_the_resource_and_the_request() {
    let error = ApiError {
        code: "UnauthorizedOperation.PrimaryIp".into(),
        message: "not this one".into(),
        request_id: "6f0c".into(),
    };
    let error = error.into_cloud_error("UnassignPrivateIpAddresses", "eni-1a2b3c4d", None);
    assert_eq!(error.kind, CloudErrorKind::Invalid);
    let text = error.to_string();
    for part in [
        "UnassignPrivateIpAddresses",
        "eni-1a2b3c4d",
        "6f0c",
        "UnauthorizedOperation.PrimaryIp: not this one",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn an_unknown_code_is_an_unknown_outcome() {
    let error = ApiError {
        code: "Novelty".into(),
        message: String::new(),
        request_id: "6f0d".into(),
    };
    let error = error.into_cloud_error("DeleteNetworkInterface", "eni-1a2b3c4d", None);
    assert_eq!(error.kind, CloudErrorKind::Unavailable);
}
