//! Listings: filters, pages, ids.

use super::*;

async fn names(api: &Api, parameters: Value) -> Vec<String> {
    let listed = api.done("DescribeNetworkInterfaces", parameters).await;
    let set = listed["NetworkInterfaceSet"].as_array().unwrap();
    set.iter().map(|eni| text(&eni["NetworkInterfaceName"])).collect()
}

fn filter(name: &str, values: &[&str]) -> Value {
    json!({"Filters": [{"Name": name, "Values": values}]})
}

#[tokio::test(start_paused = true)]
async fn enis_are_found_by_filters() {
    let api = Api::new();
    let a = api.attached("a").await;
    let b = api.eni("b", 1).await;
    for (name, values, found) in [
        (
            "network-interface-id",
            vec![a.as_str(), b.as_str()],
            vec!["a", "b"],
        ),
        ("network-interface-id", vec!["eni-gone"], vec![]),
        (
            "attachment.instance-id",
            vec!["ins-1"],
            vec!["ins-1-primary", "a"],
        ),
        (
            "attachment.instance-id",
            vec!["ins-2", "ins-3"],
            vec!["ins-2-primary", "ins-3-primary"],
        ),
        ("network-interface-name", vec!["b"], vec!["b"]),
        (
            "is-primary",
            vec!["TRUE"],
            vec!["ins-1-primary", "ins-2-primary", "ins-3-primary"],
        ),
        ("subnet-id", vec!["subnet-c"], vec!["ins-3-primary"]),
        ("address-ip", vec!["3.2"], vec!["ins-3-primary"]),
        (
            "address-ip",
            vec!["10.0.3.2", "10.0.1.2"],
            vec!["ins-1-primary", "ins-3-primary"],
        ),
        ("tag:k", vec!["v"], vec![]),
    ] {
        assert_eq!(
            names(&api, filter(name, &values)).await,
            found,
            "{name} {values:?}"
        );
    }
    let exact = json!({"Filters": [
        {"Name": "address-ip", "Values": ["3.2"]}, {"Name": "ip-exact-match", "Values": ["TRUE"]},
    ]});
    assert_eq!(names(&api, exact).await, Vec::<String>::new());
    let unknown = api
        .call("DescribeNetworkInterfaces", filter("nonsense", &["x"]))
        .await;
    assert_eq!(unknown, Err("InvalidParameter.FilterInvalidKey".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_listing_is_by_ids_or_by_filters_and_one_unknown_id_fails_it() {
    let api = Api::new();
    let eni = api.eni("a", 0).await;
    let mut both = filter("subnet-id", &["subnet-a"]);
    both["NetworkInterfaceIds"] = json!([eni]);
    let coexist = Err("InvalidParameter.Coexist".to_owned());
    assert_eq!(api.call("DescribeNetworkInterfaces", both).await, coexist);
    let one_gone = json!({"NetworkInterfaceIds": [eni, "eni-gone"]});
    assert_eq!(
        api.call("DescribeNetworkInterfaces", one_gone).await,
        Err("ResourceNotFound".to_owned())
    );
    let ids: Vec<String> = (0..101).map(|number| format!("eni-{number}")).collect();
    let many = api
        .call("DescribeNetworkInterfaces", json!({"NetworkInterfaceIds": ids}))
        .await;
    assert_eq!(many, Err("InvalidParameterValue.LimitExceeded".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn pages_have_a_total() {
    let api = Api::with(Settings::default(), |builder| {
        (10..32).fold(builder, |builder, number| {
            builder.instance(format!("ins-{number}"), "subnet-c", LIMITS)
        })
    });
    let whole = api.done("DescribeNetworkInterfaces", json!({})).await;
    assert_eq!(
        (
            whole["TotalCount"].as_u64(),
            whole["NetworkInterfaceSet"].as_array().unwrap().len()
        ),
        (Some(25), 20)
    );
    assert_eq!(names(&api, json!({"Offset": 20, "Limit": 100})).await.len(), 5);
    assert_eq!(names(&api, json!({"Offset": 30})).await.len(), 0);
    for limit in [0, 101] {
        let refused = api
            .call("DescribeNetworkInterfaces", json!({"Limit": limit}))
            .await;
        assert_eq!(refused, Err("InvalidParameterValue.Range".to_owned()));
    }
    let instances = api.done("DescribeInstances", json!({"Limit": 3})).await;
    assert_eq!(
        (
            instances["TotalCount"].as_u64(),
            instances["InstanceSet"].as_array().unwrap().len()
        ),
        (Some(25), 3)
    );
}

#[tokio::test(start_paused = true)]
async fn subnets_count_addresses_and_page_by_text() {
    let api = Api::new();
    let listed = api
        .done("DescribeSubnets", json!({"Offset": "1", "Limit": "1"}))
        .await;
    assert_eq!(listed["TotalCount"], 3);
    let subnet = &listed["SubnetSet"][0];
    assert_eq!(
        (&subnet["SubnetId"], &subnet["TotalIpAddressCount"]),
        (&json!("subnet-b"), &json!(13))
    );
    let numbers = api.call("DescribeSubnets", json!({"Limit": 1})).await;
    assert_eq!(numbers, Err("InvalidParameter".to_owned()));
    let nonsense = api.call("DescribeSubnets", json!({"Limit": "one"})).await;
    assert_eq!(nonsense, Err("InvalidParameterValue.Malformed".to_owned()));
    let zone = api
        .done("DescribeSubnets", filter("zone", &["ap-guangzhou-4"]))
        .await;
    assert_eq!(zone["SubnetSet"][0]["SubnetId"], "subnet-c");
    let gone = api
        .call("DescribeSubnets", json!({"SubnetIds": ["subnet-gone"]}))
        .await;
    assert_eq!(gone, Err("ResourceNotFound".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_the_place_is_shown() {
    let api = Api::new();
    let vpcs = api.done("DescribeVpcs", json!({})).await;
    assert_eq!(
        (&vpcs["TotalCount"], &vpcs["VpcSet"][0]["CidrBlock"]),
        (&json!(1), &json!("10.0.0.0/22"))
    );
    let zones = api.done("DescribeZones", json!({})).await;
    assert_eq!(zones["TotalCount"], 2);
    let instances = api
        .done("DescribeInstances", json!({"InstanceIds": ["ins-1", "ins-gone"]}))
        .await;
    let instance = &instances["InstanceSet"][0];
    assert_eq!(
        (&instances["TotalCount"], &instance["InstanceState"]),
        (&json!(1), &json!("RUNNING"))
    );
    assert_eq!(
        (&instance["InstanceType"], &instance["PrivateIpAddresses"]),
        (&json!("S5.MEDIUM4"), &json!(["10.0.1.2"]))
    );
    let malformed = api
        .call("DescribeInstances", json!({"InstanceIds": ["nonsense"]}))
        .await;
    assert_eq!(malformed, Err("InvalidInstanceId.Malformed".to_owned()));
}
