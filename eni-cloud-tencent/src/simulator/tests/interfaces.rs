//! ENIs from their creation to their deletion.

use super::*;

fn creation(name: &str) -> Value {
    json!({"VpcId": "vpc-sim", "SubnetId": "subnet-a", "NetworkInterfaceName": name})
}

async fn task(api: &Api, answer: &Value) -> String {
    let task = api
        .done("DescribeVpcTaskResult", json!({"TaskId": answer["RequestId"]}))
        .await;
    text(&task["Status"])
}

#[tokio::test(start_paused = true)]
async fn a_creation_is_answered_at_once_and_pending() {
    let api = Api::new();
    let free = api.free("subnet-a").await;
    let mut parameters = creation("pods");
    parameters["SecondaryPrivateIpAddressCount"] = json!(2);
    parameters["Tags"] = json!([{"Key": "cluster", "Value": "c"}]);
    parameters["NetworkInterfaceDescription"] = json!("for pods");
    let created = api.done("CreateNetworkInterface", parameters).await;
    let eni = &created["NetworkInterface"];
    assert_eq!(
        (eni["State"].as_str(), eni["Zone"].as_str()),
        (Some("PENDING"), Some(""))
    );
    assert_eq!(eni["Attachment"], Value::Null);
    let addresses = eni["PrivateIpAddressSet"].as_array().unwrap();
    assert_eq!(addresses.len(), 3, "the primary one and two more");
    assert!(addresses.iter().all(|address| address["State"] == "PENDING"));
    assert_eq!(task(&api, &created).await, "RUNNING");
    settle().await;
    assert_eq!(task(&api, &created).await, "SUCCESS");
    let shown = api.shown(&text(&eni["NetworkInterfaceId"])).await;
    assert_eq!(
        (shown["State"].as_str(), shown["Zone"].as_str()),
        (Some("AVAILABLE"), Some("ap-guangzhou-3"))
    );
    assert_eq!(shown["CreatedTime"], "2026-01-01 08:00:00", "eight hours east");
    assert_eq!(shown["NetworkInterfaceDescription"], "for pods");
    assert_eq!(shown["TagSet"], json!([{"Key": "cluster", "Value": "c"}]));
    assert_eq!(
        shown["MacAddress"].as_str().unwrap(),
        shown["MacAddress"].as_str().unwrap().to_uppercase()
    );
    assert_eq!(api.free("subnet-a").await, free - 3);
}

#[tokio::test(start_paused = true)]
async fn an_eni_is_attached_detached_and_deleted_in_time() {
    let api = Api::new();
    let eni = api.eni("pods", 0).await;
    let on = json!({"NetworkInterfaceId": eni, "InstanceId": "ins-1"});
    let attached = api.done("AttachNetworkInterface", on.clone()).await;
    assert_eq!(api.shown(&eni).await["State"], "ATTACHING");
    assert_eq!(task(&api, &attached).await, "RUNNING");
    let busy = "UnsupportedOperation.InvalidState";
    for action in ["AttachNetworkInterface", "DetachNetworkInterface"] {
        assert_eq!(
            api.call(action, on.clone()).await,
            Err(busy.to_owned()),
            "{action}"
        );
    }
    settle().await;
    let shown = api.shown(&eni).await;
    assert_eq!(
        (&shown["State"], &shown["NetworkInterfaceState"]),
        (&json!("AVAILABLE"), &json!("INUSE"))
    );
    assert_eq!(shown["Attachment"]["InstanceId"], "ins-1");
    assert_eq!(shown["Attachment"]["DeviceIndex"], 1);
    let again = api.call("AttachNetworkInterface", on.clone()).await;
    assert_eq!(
        again,
        Err("UnsupportedOperation.AttachmentAlreadyExists".to_owned())
    );
    let id = json!({"NetworkInterfaceId": eni});
    assert_eq!(
        api.call("DeleteNetworkInterface", id.clone()).await,
        Err("ResourceInUse".to_owned())
    );
    api.done("DetachNetworkInterface", on.clone()).await;
    assert_eq!(api.shown(&eni).await["State"], "DETACHING");
    settle().await;
    assert_eq!(
        api.call("DetachNetworkInterface", on).await,
        Err("ResourceNotFound".to_owned())
    );
    let free = api.free("subnet-a").await;
    api.done("DeleteNetworkInterface", id.clone()).await;
    assert_eq!(api.shown(&eni).await["State"], "DELETING");
    settle().await;
    assert_eq!(
        api.call("DeleteNetworkInterface", id).await,
        Err("ResourceNotFound".to_owned())
    );
    assert_eq!(api.free("subnet-a").await, free + 1);
}

#[tokio::test(start_paused = true)]
async fn an_attachment_keeps_zone_and_quota() {
    let api = Api::new();
    let mut enis = Vec::new();
    for name in ["a", "b", "c", "d"] {
        enis.push(api.eni(name, 0).await);
    }
    let attach = async |eni: &str, instance: &str| {
        let parameters = json!({"NetworkInterfaceId": eni, "InstanceId": instance});
        api.call("AttachNetworkInterface", parameters)
            .await
            .err()
            .unwrap_or_default()
    };
    assert_eq!(
        attach(&enis[0], "ins-3").await,
        "UnsupportedOperation.ZoneMismatch"
    );
    assert_eq!(attach(&enis[0], "ins-9").await, "ResourceNotFound");
    for eni in &enis[..3] {
        assert_eq!(attach(eni, "ins-1").await, "");
    }
    assert_eq!(attach(&enis[3], "ins-1").await, "LimitExceeded");
    let limit = api
        .done("DescribeNetworkInterfaceLimit", json!({"InstanceId": "ins-1"}))
        .await;
    assert_eq!(
        (&limit["EniQuantity"], &limit["EniPrivateIpAddressQuantity"]),
        (&json!(4), &json!(10))
    );
    settle().await;
    let by_eni = api
        .done("DescribeNetworkInterfaceLimit", json!({"InstanceId": enis[0]}))
        .await;
    assert_eq!(by_eni["EniQuantity"], limit["EniQuantity"]);
    let extended = json!({"NetworkInterfaceId": enis[3], "InstanceId": "ins-2", "AttachType": 1});
    assert_eq!(
        api.call("AttachNetworkInterface", extended).await,
        Err("LimitExceeded".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_creation_with_attachment_ends_on_the_instance() {
    let api = Api::new();
    let mut parameters = creation("pods");
    parameters["InstanceId"] = json!("ins-1");
    let created = api
        .done("CreateAndAttachNetworkInterface", parameters.clone())
        .await;
    settle().await;
    settle().await;
    let shown = api
        .shown(
            created["NetworkInterface"]["NetworkInterfaceId"]
                .as_str()
                .unwrap(),
        )
        .await;
    assert_eq!(
        (
            &shown["NetworkInterfaceState"],
            &shown["Attachment"]["InstanceId"]
        ),
        (&json!("INUSE"), &json!("ins-1"))
    );
    parameters["InstanceId"] = json!("ins-3");
    let refused = api.call("CreateAndAttachNetworkInterface", parameters).await;
    assert_eq!(refused, Err("UnsupportedOperation".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_eni_migrates_to_another_instance() {
    let api = Api::new();
    let eni = api.attached("pods").await;
    let migration =
        json!({"NetworkInterfaceId": eni, "SourceInstanceId": "ins-1", "DestinationInstanceId": "ins-2"});
    api.done("MigrateNetworkInterface", migration.clone()).await;
    assert_eq!(api.shown(&eni).await["State"], "DETACHING");
    settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let shown = api.shown(&eni).await;
    assert_eq!(
        (
            &shown["NetworkInterfaceState"],
            &shown["Attachment"]["InstanceId"]
        ),
        (&json!("INUSE"), &json!("ins-2"))
    );
    let again = api.call("MigrateNetworkInterface", migration).await;
    assert_eq!(again, Err("UnsupportedOperation.AttachmentNotFound".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn attributes_change_at_once() {
    let api = Api::new();
    let eni = api.eni("pods", 0).await;
    let changed = json!({
        "NetworkInterfaceId": eni,
        "NetworkInterfaceName": "other",
        "NetworkInterfaceDescription": "text",
        "SecurityGroupIds": ["sg-sim00001", "sg-default"],
    });
    api.done("ModifyNetworkInterfaceAttribute", changed).await;
    let shown = api.shown(&eni).await;
    assert_eq!(
        (&shown["NetworkInterfaceName"], &shown["GroupSet"]),
        (&json!("other"), &json!(["sg-sim00001", "sg-default"]))
    );
    let resource = format!("qcs::vpc:ap-guangzhou:uin/100000000001:eni/{eni}");
    let tags = json!({"ResourceList": [resource], "Tags": [{"TagKey": "k", "TagValue": "v"}]});
    api.done("TagResources", tags).await;
    assert_eq!(
        api.shown(&eni).await["TagSet"],
        json!([{"Key": "k", "Value": "v"}])
    );
    let found = api
        .done(
            "GetResources",
            json!({"TagFilters": [{"TagKey": "k", "TagValue": ["v"]}]}),
        )
        .await;
    assert_eq!(found["ResourceTagMappingList"][0]["Resource"], resource);
    api.done(
        "UnTagResources",
        json!({"ResourceList": [resource], "TagKeys": ["k"]}),
    )
    .await;
    assert_eq!(api.shown(&eni).await["TagSet"], json!([]));
}
