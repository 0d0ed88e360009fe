//! Any request at all is answered by a well-formed envelope, and none breaks an action.

use axum::http::{HeaderName, HeaderValue, Method};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::simulator::Rates;

/// Values of any type, nested a little.
fn junk() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((".{0,8}", inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
    .boxed()
}

/// Texts that make sense under a name, texts that do elsewhere, and others.
fn words(name: &str) -> BoxedStrategy<Value> {
    const ANY: &[&str] = &[
        "",
        "TRUE",
        "0",
        "100",
        "tag:k",
        "k",
        "t-1",
        "t-2",
        "subnet-id",
        "10.0.9.9",
        "eni-gone",
    ];
    const FITTING: &[(&str, &[&str])] = &[
        ("VpcId", &["vpc-sim"]),
        ("SubnetId", &["subnet-a", "subnet-b", "subnet-c"]),
        ("InstanceId", &["ins-1", "ins-2", "ins-3"]),
        (
            "NetworkInterfaceId",
            &["eni-00000001", "eni-00000004", "eni-00000005", "eni-00000006"],
        ),
        ("AddressId", &["eip-00000001", "eip-00000002"]),
        ("ReserveIpId", &["rsvip-00000001"]),
        ("SecurityGroupId", &["sg-default", "sg-sim00001"]),
        (
            "PrivateIpAddress",
            &["10.0.1.5", "10.0.1.6", "10.0.1.9", "10.0.2.3"],
        ),
        ("Address", &["2001:db8:1::2", "2001:db8:1::9", "10.0.1.9"]),
        ("RoleArn", &["qcs::cam::uin/1:roleName/eni"]),
        ("Limit", &["1", "100"]),
        ("Offset", &["0", "1"]),
    ];
    let fits = |(suffix, _): &&(&str, &'static [&'static str])| {
        name.ends_with(suffix)
            || name.ends_with(&format!("{suffix}s"))
            || name.ends_with(&format!("{suffix}es"))
    };
    let fitting = FITTING.iter().find(fits).map_or(ANY, |(_, fitting)| *fitting);
    prop_oneof![
        20 => select(fitting),
        2 => select(ANY),
    ]
    .prop_map(Value::from)
    .boxed()
}

/// What the schema has at a field, mostly.
fn at(service: &'static str, shape: Shape, field: &'static Field) -> BoxedStrategy<Value> {
    let fitting = match shape {
        Shape::String => prop_oneof![20 => words(&field.0), 1 => ".{0,70}".prop_map(Value::from)].boxed(),
        Shape::Int => prop_oneof![
            4 => (0..4i64).prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => any::<u32>().prop_map(Value::from),
        ]
        .boxed(),
        Shape::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Shape::Float => any::<f64>().prop_map(Value::from).boxed(),
        Shape::List => vec(at(service, field.element(), field), 1..3)
            .prop_map(Value::from)
            .boxed(),
        Shape::Object => members(
            service,
            Schema::get().object(service, &field.2).unwrap_or_default(),
        ),
    };
    prop_oneof![60 => fitting, 1 => junk()].boxed()
}

fn members(service: &'static str, fields: &'static [Field]) -> BoxedStrategy<Value> {
    let each: Vec<_> = fields
        .iter()
        .map(|field| {
            let given = if field.required() { 0.99 } else { 0.15 };
            let value = at(service, field.1, field);
            option::weighted(given, value.prop_map(move |value| (field.0.clone(), value))).boxed()
        })
        .collect();
    each.prop_map(|members| Value::Object(members.into_iter().flatten().collect()))
        .boxed()
}

/// A call of any action.
fn call() -> BoxedStrategy<(&'static str, Value)> {
    let names: Vec<&'static str> = Schema::get().actions.keys().map(String::as_str).collect();
    select(names)
        .prop_flat_map(|name| {
            let action = &Schema::get().actions[name];
            members(&action.service, &action.request).prop_map(move |parameters| (name, parameters))
        })
        .boxed()
}

fn run<F: Future<Output = ()>>(work: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(work());
}

fn api() -> Api {
    let settings = Settings {
        rates: Rates::Unlimited,
        ..Settings::default()
    };
    Api::with(settings, |builder| builder.eni_quota(12))
}

/// The answer is an envelope, and no action broke.
async fn judge(api: &Api, request: Request<Body>) {
    let response = api.send(request).await;
    if let Some(error) = response.get("Error") {
        assert!(
            error["Code"].is_string() && error["Message"].is_string(),
            "{error}"
        );
        assert!(
            !error["Message"].as_str().unwrap().contains("The action broke"),
            "{error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_parameters_break_an_action(calls in vec(call(), 1..10)) {
        run(|| async {
            let api = api();
            api.attached("first").await;
            api.eni("second", 3).await;
            api.done("AllocateAddresses", json!({})).await;
            for (name, parameters) in calls {
                // The client checks the answer's shape and its code against the schema.
                let answer = api.call(name, parameters.clone()).await;
                assert_ne!(answer, Err("InternalError".to_owned()), "{name} {parameters}");
                tokio::time::advance(Duration::from_millis(400)).await;
            }
            settle().await;
            for subnet in ["subnet-a", "subnet-b", "subnet-c"] {
                let listed = api.done("DescribeSubnets", json!({"SubnetIds": [subnet]})).await;
                let count = |name: &str| listed["SubnetSet"][0][name].as_u64().expect("a number");
                let used = json!({"VpcId": "vpc-sim", "SubnetId": subnet, "Limit": 1});
                let used = api.done("DescribeUsedIpAddress", used).await["TotalCount"].as_u64();
                let taken = count("TotalIpAddressCount") - count("AvailableIpAddressCount");
                assert_eq!(used, Some(taken), "every address of {subnet} is free or in use by one");
            }
        });
    }

    #[test]
    fn no_body_breaks_the_server(body in prop_oneof![".{0,200}", junk().prop_map(|value| value.to_string())]) {
        run(|| async {
            let api = api();
            for name in ["DescribeNetworkInterfaces", "AssignPrivateIpAddresses"] {
                judge(&api, api.signed(name, &Schema::get().actions[name], &body)).await;
            }
        });
    }

    #[test]
    fn no_query_breaks_the_server(query in prop_oneof![
        "[a-zA-Z0-9.&=%+_-]{0,80}",
        "((Filters|NetworkInterfaceIds|Limit)(\\.[0-9]{1,20}|\\.Name|\\.Values){0,4}=[a-z0-9%+-]{0,6}&){0,6}",
    ]) {
        run(|| async {
            let api = api();
            let name = "DescribeNetworkInterfaces";
            let timestamp = api.environment.now();
            let action = &Schema::get().actions[name];
            let authorization = tc3::Request {
                method: "GET",
                host: "127.0.0.1:8080",
                content_type: "application/x-www-form-urlencoded",
                extra_headers: &[],
                query: &query,
                payload: Payload::Signed(b""),
                timestamp,
                service: "vpc",
            }
            .authorization(&api.credentials);
            let mut request = api.signed(name, action, "");
            *request.method_mut() = Method::GET;
            *request.uri_mut() = format!("/?{query}").parse().expect("a URI");
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert("Content-Type", form);
            request.headers_mut().insert("Authorization", authorization.parse().expect("a header"));
            let response = api.send(request).await;
            if let Some(error) = response.get("Error") {
                let code = error["Code"].as_str().expect("a code");
                assert!(!code.starts_with("AuthFailure") && code != "InternalError", "{error}");
            }
        });
    }

    #[test]
    fn no_header_breaks_the_server(
        name in select(vec!["authorization", "host", "content-type", "x-tc-action", "x-tc-version", "x-tc-region",
            "x-tc-timestamp", "x-tc-token", "x-tc-content-sha256"]),
        value in prop_oneof![
            vec(32..=255u8, 0..60),
            "TC3-HMAC-SHA256 Credential=[a-zA-Z/]{0,20}, SignedHeaders=[a-z;-]{0,24}, Signature=[0-9a-f]{0,8}"
                .prop_map(String::into_bytes),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        ],
    ) {
        let Ok(value) = HeaderValue::from_bytes(&value) else {
            return Err(TestCaseError::reject("no header has such a value"));
        };
        run(|| async {
            let api = api();
            let mut request = api.signed("DescribeVpcs", &Schema::get().actions["DescribeVpcs"], "{}");
            request.headers_mut().insert(HeaderName::from_static(name), value);
            judge(&api, request).await;
        });
    }
}
