//! Addresses of ENIs.

use super::*;

fn assign(eni: &str, count: u32) -> Value {
    json!({"NetworkInterfaceId": eni, "SecondaryPrivateIpAddressCount": count})
}

fn list(ips: &[&str]) -> Value {
    ips.iter().map(|ip| json!({"PrivateIpAddress": ip})).collect()
}

async fn addresses(api: &Api, eni: &str) -> Vec<(String, String)> {
    let shown = api.shown(eni).await;
    let set = shown["PrivateIpAddressSet"].as_array().unwrap().clone();
    let secondary = set.iter().filter(|address| address["Primary"] == false);
    secondary
        .map(|address| (text(&address["PrivateIpAddress"]), text(&address["State"])))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn addresses_are_assigned_by_number_and_by_name() {
    let api = Api::new();
    let eni = api.eni("pods", 0).await;
    let assigned = api.done("AssignPrivateIpAddresses", assign(&eni, 2)).await;
    assert_eq!(assigned["PrivateIpAddressSet"][0]["State"], "PENDING");
    let mutex = "UnsupportedOperation.MutexOperationTaskRunning".to_owned();
    assert_eq!(
        api.call("AssignPrivateIpAddresses", assign(&eni, 1)).await,
        Err(mutex)
    );
    settle().await;
    let named = json!({"NetworkInterfaceId": eni, "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.99", "Description": "名"}]});
    api.done("AssignPrivateIpAddresses", named.clone()).await;
    settle().await;
    let held = addresses(&api, &eni).await;
    assert_eq!(held.len(), 3);
    assert!(held.contains(&("10.0.1.99".to_owned(), "AVAILABLE".to_owned())));
    assert_eq!(
        api.shown(&eni).await["PrivateIpAddressSet"][3]["Description"],
        "名"
    );
    assert_eq!(
        api.call("AssignPrivateIpAddresses", named).await,
        Err("ResourceInUse".to_owned())
    );
    let other = api.eni("other", 0).await;
    let taken = json!({"NetworkInterfaceId": other, "PrivateIpAddresses": list(&["10.0.1.99"])});
    assert_eq!(
        api.call("AssignPrivateIpAddresses", taken).await,
        Err("ResourceInUse".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn an_assignment_says_what_is_wrong_with_it() {
    let api = Api::new();
    let eni = api.attached("pods").await;
    let call = async |extra: Value| {
        let mut parameters = json!({"NetworkInterfaceId": eni});
        parameters
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        api.call("AssignPrivateIpAddresses", parameters)
            .await
            .unwrap_err()
    };
    let eleven: Vec<String> = (10..21).map(|host| format!("10.0.1.{host}")).collect();
    let eleven: Vec<&str> = eleven.iter().map(String::as_str).collect();
    for (extra, code) in [
        (json!({}), "MissingParameter"),
        (
            json!({"SecondaryPrivateIpAddressCount": 11}),
            "InvalidParameterValue.LimitExceeded",
        ),
        (json!({"SecondaryPrivateIpAddressCount": -1}), "InvalidParameter"),
        (json!({"SecondaryPrivateIpAddressCount": "1"}), "InvalidParameter"),
        (
            json!({"SecondaryPrivateIpAddressCount": null}),
            "InvalidParameter",
        ),
        (
            json!({"PrivateIpAddresses": list(&eleven)}),
            "InvalidParameterValue.LimitExceeded",
        ),
        (
            json!({"PrivateIpAddresses": list(&["10.0.1.9", "10.0.1.9"])}),
            "InvalidParameterValue.DuplicatePara",
        ),
        (
            json!({"PrivateIpAddresses": list(&["10.0.1.x"])}),
            "InvalidParameterValue.Malformed",
        ),
        (
            json!({"PrivateIpAddresses": list(&["10.0.9.9"])}),
            "InvalidParameterValue.Range",
        ),
        (
            json!({"PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.9", "Nonsense": 1}]}),
            "UnknownParameter",
        ),
        (json!({"PrivateIpAddresses": "10.0.1.9"}), "InvalidParameter"),
        (json!({"Nonsense": 1}), "UnknownParameter"),
        (json!({"SecondaryPrivateIpAddressCount": 10}), "LimitExceeded"),
    ] {
        assert_eq!(call(extra.clone()).await, code, "{extra}");
    }
    assert_eq!(
        api.call("AssignPrivateIpAddresses", assign("eni-0", 1)).await,
        Err("ResourceNotFound".to_owned())
    );
    assert_eq!(
        api.call("AssignPrivateIpAddresses", assign("ins-1", 1)).await,
        Err("InvalidParameterValue.Malformed".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_subnet_refuses() {
    let api = Api::new();
    let creation = |count: u32| {
        json!({
            "VpcId": "vpc-sim", "SubnetId": "subnet-b", "NetworkInterfaceName": "n",
            "SecondaryPrivateIpAddressCount": count,
        })
    };
    let full = Err("ResourceInsufficient.Subnet".to_owned());
    assert_eq!(api.free("subnet-b").await, 13);
    assert_eq!(api.call("CreateNetworkInterface", creation(13)).await, full);
    let eni = api.done("CreateNetworkInterface", creation(12)).await;
    settle().await;
    let eni = text(&eni["NetworkInterface"]["NetworkInterfaceId"]);
    assert_eq!(api.call("AssignPrivateIpAddresses", assign(&eni, 1)).await, full);
}

#[tokio::test(start_paused = true)]
async fn addresses_leave_and_the_primary_one_stays() {
    let api = Api::new();
    let eni = api.eni("pods", 2).await;
    let primary = text(&api.shown(&eni).await["PrivateIpAddressSet"][0]["PrivateIpAddress"]);
    let held = addresses(&api, &eni).await;
    let unassign = |ip: &str| json!({"NetworkInterfaceId": eni, "PrivateIpAddresses": list(&[ip])});
    let refused = api.call("UnassignPrivateIpAddresses", unassign(&primary)).await;
    assert_eq!(refused, Err("UnsupportedOperation".to_owned()));
    api.done("UnassignPrivateIpAddresses", unassign(&held[0].0)).await;
    assert_eq!(addresses(&api, &eni).await[0].1, "DELETING");
    settle().await;
    assert_eq!(addresses(&api, &eni).await, held[1..]);
    let again = api.call("UnassignPrivateIpAddresses", unassign(&held[0].0)).await;
    assert_eq!(again, Err("UnsupportedOperation.AttachmentNotFound".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_address_migrates_between_enis_of_its_subnet() {
    let api = Api::new();
    let (source, target) = (api.eni("source", 1).await, api.eni("target", 0).await);
    let ip = addresses(&api, &source).await[0].0.clone();
    let migration = json!({
        "SourceNetworkInterfaceId": source, "DestinationNetworkInterfaceId": target, "PrivateIpAddress": ip,
    });
    api.done("MigratePrivateIpAddress", migration.clone()).await;
    assert_eq!(
        addresses(&api, &source).await,
        [(ip.clone(), "MIGRATING".to_owned())]
    );
    let mutex = Err("UnsupportedOperation.MutexOperationTaskRunning".to_owned());
    assert_eq!(
        api.call("AssignPrivateIpAddresses", assign(&target, 1)).await,
        mutex
    );
    settle().await;
    assert_eq!(addresses(&api, &source).await, []);
    assert_eq!(addresses(&api, &target).await, [(ip, "AVAILABLE".to_owned())]);
    let again = api.call("MigratePrivateIpAddress", migration.clone()).await;
    assert_eq!(again, Err("UnauthorizedOperation.AttachmentNotFound".to_owned()));
    let mut primary = migration;
    primary["PrivateIpAddress"] =
        api.shown(&source).await["PrivateIpAddressSet"][0]["PrivateIpAddress"].clone();
    let refused = api.call("MigratePrivateIpAddress", primary).await;
    assert_eq!(refused, Err("UnauthorizedOperation.PrimaryIp".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn ipv6_has_actions_of_its_own() {
    let api = Api::new();
    let eni = api.eni("pods", 0).await;
    let assigned = api
        .done(
            "AssignIpv6Addresses",
            json!({"NetworkInterfaceId": eni, "Ipv6AddressCount": 2}),
        )
        .await;
    let first = assigned["Ipv6AddressSet"][0]["Address"].clone();
    settle().await;
    let shown = api.shown(&eni).await;
    assert_eq!(shown["Ipv6AddressSet"].as_array().unwrap().len(), 2);
    assert_eq!(shown["PrivateIpAddressSet"].as_array().unwrap().len(), 1);
    let leaving = json!({"NetworkInterfaceId": eni, "Ipv6Addresses": [{"Address": first}]});
    api.done("UnassignIpv6Addresses", leaving.clone()).await;
    settle().await;
    assert_eq!(
        api.shown(&eni).await["Ipv6AddressSet"].as_array().unwrap().len(),
        1
    );
    let again = api.call("UnassignIpv6Addresses", leaving).await;
    assert_eq!(again, Err("UnsupportedOperation.AttachmentNotFound".to_owned()));
}
