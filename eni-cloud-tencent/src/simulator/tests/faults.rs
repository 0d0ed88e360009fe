//! Faults, over the service in one process.

use axum::http::StatusCode;

use super::*;
use crate::simulator::{Fault, FaultPlan, FaultRule};

fn strike(api: &Api, fault: Fault) {
    let rule = FaultRule {
        action: Some("CreateNetworkInterface".to_owned()),
        skip: 0,
        count: 1,
        one_in: 1,
        fault,
    };
    api.simulator.plan_faults(FaultPlan {
        rules: [rule].into(),
        ..FaultPlan::default()
    });
}

fn creation(name: &str) -> Value {
    json!({"VpcId": "vpc-sim", "SubnetId": "subnet-a", "NetworkInterfaceName": name})
}

/// The raw answer: its status, and its body if it came whole.
async fn raw(api: &Api, name: &str) -> (StatusCode, Option<Vec<u8>>) {
    let action = &Schema::get().actions["CreateNetworkInterface"];
    let request = api.signed("CreateNetworkInterface", action, &creation(name).to_string());
    let response = api.simulator.router().oneshot(request).await.unwrap();
    let status = response.status();
    (
        status,
        to_bytes(response.into_body(), usize::MAX)
            .await
            .ok()
            .map(Into::into),
    )
}

async fn exists(api: &Api, name: &str) -> bool {
    let filter = json!({"Filters": [{"Name": "network-interface-name", "Values": [name]}]});
    api.done("DescribeNetworkInterfaces", filter).await["TotalCount"] == 1
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_before_or_after_execution() {
    let api = Api::new();
    let code = "InternalError".to_owned();
    for (name, fault, expected, executed) in [
        ("a", Fault::Throttle, "RequestLimitExceeded", false),
        ("b", Fault::Refuse { code: code.clone() }, "InternalError", false),
        ("c", Fault::FailAfter { code }, "InternalError", true),
    ] {
        strike(&api, fault);
        assert_eq!(
            api.call("CreateNetworkInterface", creation(name)).await,
            Err(expected.to_owned())
        );
        assert_eq!(exists(&api, name).await, executed, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_lost_cut_or_no_envelope_at_all() {
    let api = Api::new();
    let status = |executed| Fault::Status {
        status: 502,
        executed,
    };
    for (name, fault, expected, executed) in [
        ("lost", Fault::LoseReply, 200, true),
        ("cut", Fault::Truncate, 200, true),
        ("gateway", status(false), 502, false),
        ("gateway-after", status(true), 502, true),
    ] {
        strike(&api, fault);
        let (status, body) = raw(&api, name).await;
        assert_eq!(
            (status.as_u16(), body.is_some()),
            (expected, expected == 502),
            "{name}"
        );
        assert_eq!(exists(&api, name).await, executed, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_stalls_leaves_an_eni_that_can_only_be_deleted() {
    let api = Api::new();
    for (fault, status) in [(Fault::Stall, "RUNNING"), (Fault::FailTask, "FAILED")] {
        strike(&api, fault);
        let created = api.done("CreateNetworkInterface", creation("stuck")).await;
        settle().await;
        let eni = text(&created["NetworkInterface"]["NetworkInterfaceId"]);
        assert_eq!(api.shown(&eni).await["State"], "PENDING");
        let task = api
            .done("DescribeVpcTaskResult", json!({"TaskId": created["RequestId"]}))
            .await;
        assert_eq!(task["Status"], status);
        api.done("DeleteNetworkInterface", json!({"NetworkInterfaceId": eni}))
            .await;
        settle().await;
        assert!(!exists(&api, "stuck").await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_comes_and_a_lagging_listing_shows_what_was() {
    let api = Api::new();
    strike(&api, Fault::Slow { millis: 4000 });
    let begun = tokio::time::Instant::now();
    api.done("CreateNetworkInterface", creation("slow")).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(4));
    api.simulator.plan_faults(FaultPlan {
        listing_lag_millis: 3000,
        ..FaultPlan::default()
    });
    api.done("CreateNetworkInterface", creation("late")).await;
    assert!(!exists(&api, "late").await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(exists(&api, "late").await);
}

#[tokio::test(start_paused = true)]
async fn the_plan_is_read_replaced_and_ended_over_http() {
    let api = Api::new();
    let send = async |method: &str, body: &str| {
        let request = Request::builder().method(method).uri("/_sim/faults");
        let request = request.header("Content-Type", "application/json");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = api.simulator.router().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    };
    let plan = r#"{"rules": [{"count": 2, "fault": {"kind": "refuse", "code": "InternalError"}}]}"#;
    assert_eq!(send("PUT", plan).await.0, 204);
    assert_eq!(
        api.call("DescribeVpcs", json!({})).await,
        Err("InternalError".to_owned())
    );
    assert_eq!(send("GET", "").await.1["rules"][0]["count"], 1);
    assert_eq!(
        send("PUT", r#"{"rules": [{"fault": {"kind": "nonsense"}}]}"#)
            .await
            .0,
        422
    );
    assert_eq!(send("DELETE", "").await.0, 204);
    api.done("DescribeVpcs", json!({})).await;
}
