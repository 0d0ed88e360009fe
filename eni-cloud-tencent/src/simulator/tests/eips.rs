//! Public addresses, security groups, and who uses what.

use super::*;

async fn status(api: &Api, eip: &str) -> String {
    let listed = api.done("DescribeAddresses", json!({"AddressIds": [eip]})).await;
    text(&listed["AddressSet"][0]["AddressStatus"])
}

async fn over(api: &Api, answer: &Value) -> String {
    let task: u64 = text(&answer["TaskId"]).parse().expect("a number as text");
    text(&api.done("DescribeTaskResult", json!({"TaskId": task})).await["Result"])
}

fn slow() -> Api {
    let settings = Settings {
        eip_orders: Duration::from_secs(1),
        ..Settings::default()
    };
    Api::with(settings, |builder| builder)
}

#[tokio::test(start_paused = true)]
async fn a_public_address_is_bound_to_a_private_one_and_follows_its_eni() {
    let api = slow();
    let tags = json!([{"Key": "cluster", "Value": "c"}]);
    let allocated = api
        .done(
            "AllocateAddresses",
            json!({"AddressName": "web", "Tags": tags, "ClientToken": "t"}),
        )
        .await;
    let eip = text(&allocated["AddressSet"][0]);
    assert_eq!(
        (status(&api, &eip).await, over(&api, &allocated).await),
        ("CREATING".into(), "RUNNING".into())
    );
    settle().await;
    assert_eq!(
        (status(&api, &eip).await, over(&api, &allocated).await),
        ("UNBIND".into(), "SUCCESS".into())
    );
    let eni = api.eni("pods", 1).await;
    let private = text(&api.shown(&eni).await["PrivateIpAddressSet"][1]["PrivateIpAddress"]);
    let bind = json!({"AddressId": eip, "NetworkInterfaceId": eni, "PrivateIpAddress": private});
    api.done("AssociateAddress", bind.clone()).await;
    assert_eq!(status(&api, &eip).await, "BINDING");
    let busy = Err("OperationDenied.MutexTaskRunning".to_owned());
    assert_eq!(
        api.call("DisassociateAddress", json!({"AddressId": eip})).await,
        busy
    );
    settle().await;
    assert_eq!(status(&api, &eip).await, "BIND_ENI", "the ENI is on nothing");
    assert_eq!(api.shown(&eni).await["PrivateIpAddressSet"][1]["AddressId"], eip);
    api.done(
        "AttachNetworkInterface",
        json!({"NetworkInterfaceId": eni, "InstanceId": "ins-1"}),
    )
    .await;
    settle().await;
    assert_eq!(status(&api, &eip).await, "BIND");
    let again = Err("UnsupportedOperation.AddressStatusNotPermit".to_owned());
    assert_eq!(api.call("AssociateAddress", bind).await, again);
    let by_tag = json!({"Filters": [{"Name": "tag:cluster", "Values": ["c"]}]});
    assert_eq!(
        api.done("DescribeAddresses", by_tag).await["AddressSet"][0]["InstanceId"],
        "ins-1"
    );
    let release = json!({"AddressIds": [eip]});
    assert_eq!(api.call("ReleaseAddresses", release.clone()).await, again);
    let gone = json!({"NetworkInterfaceId": eni, "PrivateIpAddresses": [{"PrivateIpAddress": private}]});
    api.done("UnassignPrivateIpAddresses", gone).await;
    settle().await;
    assert_eq!(status(&api, &eip).await, "UNBIND", "its private address is gone");
    api.done("ReleaseAddresses", release.clone()).await;
    assert_eq!(status(&api, &eip).await, "OFFLINING");
    settle().await;
    assert_eq!(
        api.call("ReleaseAddresses", release).await,
        Err("InvalidAddressId.NotFound".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_binding_says_what_is_wrong_with_it() {
    let api = Api::new();
    let allocated = api.done("AllocateAddresses", json!({"AddressCount": 2})).await;
    let (eip, other) = (
        text(&allocated["AddressSet"][0]),
        text(&allocated["AddressSet"][1]),
    );
    for (target, code) in [
        (json!({}), "InvalidParameterValue.MissingAssociateEntity"),
        (json!({"InstanceId": "ins-9"}), "InvalidInstanceId.NotFound"),
        (
            json!({"NetworkInterfaceId": "eni-9"}),
            "InvalidParameterValue.Combination",
        ),
        (
            json!({"NetworkInterfaceId": "eni-9", "PrivateIpAddress": "10.0.1.2"}),
            "InvalidNetworkInterfaceId.NotFound",
        ),
        (
            json!({"InstanceId": "ins-1", "NetworkInterfaceId": "eni-9"}),
            "InvalidParameterConflict",
        ),
        (
            json!({"AddressId": "eip-gone", "InstanceId": "ins-1"}),
            "InvalidAddressId.NotFound",
        ),
        (
            json!({"AddressId": "gone", "InstanceId": "ins-1"}),
            "InvalidParameterValue.AddressIdMalformed",
        ),
    ] {
        let mut parameters = json!({"AddressId": eip});
        parameters
            .as_object_mut()
            .unwrap()
            .extend(target.as_object().unwrap().clone());
        assert_eq!(
            api.call("AssociateAddress", parameters).await,
            Err(code.to_owned()),
            "{target}"
        );
    }
    api.done(
        "AssociateAddress",
        json!({"AddressId": eip, "InstanceId": "ins-1"}),
    )
    .await;
    let taken = api
        .call(
            "AssociateAddress",
            json!({"AddressId": other, "InstanceId": "ins-1"}),
        )
        .await;
    assert_eq!(taken, Err("InvalidInstanceId.AlreadyBindEip".to_owned()));
    api.done("DisassociateAddress", json!({"AddressId": eip})).await;
    let unbound = api.call("DisassociateAddress", json!({"AddressId": eip})).await;
    assert_eq!(unbound, Err("InvalidAddressIdStatus.NotPermit".to_owned()));
    api.done("AllocateAddresses", json!({"AddressCount": 18})).await;
    let full = api.call("AllocateAddresses", json!({})).await;
    assert_eq!(full, Err("AddressQuotaLimitExceeded".to_owned()));
    let quota = api.done("DescribeAddressQuota", json!({})).await;
    assert_eq!(quota["QuotaSet"][0]["QuotaCurrent"], 20);
}

#[tokio::test(start_paused = true)]
async fn security_groups_come_and_go() {
    let api = Api::new();
    let eni = api.eni("pods", 0).await;
    let groups = |id: &str| json!({"NetworkInterfaceIds": [eni], "SecurityGroupIds": [id]});
    api.done("AssociateNetworkInterfaceSecurityGroups", groups("sg-sim00001"))
        .await;
    assert_eq!(
        api.shown(&eni).await["GroupSet"],
        json!(["sg-default", "sg-sim00001"])
    );
    api.done("DisassociateNetworkInterfaceSecurityGroups", groups("sg-default"))
        .await;
    assert_eq!(api.shown(&eni).await["GroupSet"], json!(["sg-sim00001"]));
    let unknown = api
        .call("AssociateNetworkInterfaceSecurityGroups", groups("sg-gone"))
        .await;
    assert_eq!(unknown, Err("ResourceNotFound".to_owned()));
    assert_eq!(
        api.done("DescribeSecurityGroups", json!({})).await["TotalCount"],
        2
    );
}

#[tokio::test(start_paused = true)]
async fn addresses_are_reserved_and_seen_in_use() {
    let api = Api::new();
    let free = api.free("subnet-a").await;
    let named = json!({"VpcId": "vpc-sim", "IpAddresses": ["10.0.1.77"], "Name": "kept"});
    let reserved = api.done("CreateReserveIpAddresses", named.clone()).await;
    let id = text(&reserved["ReserveIpAddressSet"][0]["ReserveIpId"]);
    assert_eq!(
        api.call("CreateReserveIpAddresses", named).await,
        Err("InvalidParameterValue".to_owned())
    );
    api.done(
        "CreateReserveIpAddresses",
        json!({"VpcId": "vpc-sim", "SubnetId": "subnet-a", "IpAddressCount": 2}),
    )
    .await;
    assert_eq!(api.free("subnet-a").await, free - 3);
    assert_eq!(
        api.done("DescribeReserveIpAddresses", json!({})).await["TotalCount"],
        3
    );
    let asked = json!({"VpcId": "vpc-sim", "PrivateIpAddresses": ["10.0.1.2", "10.0.1.77", "10.0.1.200"]});
    let used = api.done("DescribeVpcPrivateIpAddresses", asked).await;
    let kinds: Vec<_> = used["VpcPrivateIpAddressSet"]
        .as_array()
        .unwrap()
        .iter()
        .map(|used| text(&used["PrivateIpAddressType"]))
        .collect();
    assert_eq!(kinds, ["CVM", "RESERVED"], "the third is free and left out");
    let used = api
        .done(
            "DescribeUsedIpAddress",
            json!({"VpcId": "vpc-sim", "SubnetId": "subnet-a"}),
        )
        .await;
    assert_eq!(
        (&used["TotalCount"], &used["IpAddressStates"][0]["ResourceId"]),
        (&json!(5), &json!("ins-1"))
    );
    api.done(
        "DeleteReserveIpAddresses",
        json!({"VpcId": "vpc-sim", "ReserveIpIds": [id]}),
    )
    .await;
    assert_eq!(api.free("subnet-a").await, free - 2);
}
