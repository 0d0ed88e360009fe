//! That the chart, with its defaults, is the manifests. Rendered by another implementation of Go's templates than
//! Helm's, with the few functions that the templates use.

use std::collections::HashMap;

use gtmpl::{Context, FuncError, Template};
use gtmpl_value::Value as Hole;
use serde_json::{Value, json};

const TEMPLATES: [(&str, &str); 8] = [
    ("role-agent", include_str!("../chart/templates/role-agent.yaml")),
    ("role-ipamd", include_str!("../chart/templates/role-ipamd.yaml")),
    (
        "role-ipamd-lease",
        include_str!("../chart/templates/role-ipamd-lease.yaml"),
    ),
    ("ipamd", include_str!("../chart/templates/ipamd.yaml")),
    ("agent", include_str!("../chart/templates/agent.yaml")),
    ("webhook", include_str!("../chart/templates/webhook.yaml")),
    ("role-view", include_str!("../chart/templates/role-view.yaml")),
    (
        "ip-scheduler",
        include_str!("../chart/templates/ip-scheduler.yaml"),
    ),
];

/// The values of the chart, with those that every user gives.
fn values() -> Value {
    let mut values: Value = serde_saphyr::from_str(include_str!("../chart/values.yaml")).unwrap();
    values["clusterId"] = json!("cls-1a2b3c4d");
    values["region"] = json!("ap-guangzhou");
    values["subnets"] = json!(["subnet-a"]);
    values
}

fn render(template: &str, values: &Value) -> Result<Vec<Value>, String> {
    let mut parsed = Template::default();
    parsed.add_func("required", required);
    parsed.add_func("join", join);
    parsed.add_func("toJson", to_json);
    parsed.parse(template).map_err(|error| error.to_string())?;
    let context = Context::from(hole(&json!({"Values": values})));
    let text = parsed.render(&context).map_err(|error| error.to_string())?;
    Ok(serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn chart(values: &Value) -> Vec<Value> {
    let render = |(name, template): &(&str, &str)| {
        render(template, values).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    TEMPLATES.iter().flat_map(render).collect()
}

fn hole(value: &Value) -> Hole {
    match value {
        Value::Null => Hole::Nil,
        Value::Bool(bool) => Hole::Bool(*bool),
        Value::Number(number) => Hole::from(number.as_i64().unwrap()),
        Value::String(text) => Hole::from(text.as_str()),
        Value::Array(list) => Hole::Array(list.iter().map(hole).collect()),
        Value::Object(map) => {
            let map: HashMap<String, Hole> = map
                .iter()
                .map(|(name, value)| (name.clone(), hole(value)))
                .collect();
            Hole::Map(map)
        }
    }
}

fn unhole(hole: &Hole) -> Value {
    match hole {
        Hole::Bool(bool) => json!(bool),
        Hole::String(text) => json!(text),
        Hole::Number(number) => json!(number.as_i64().unwrap()),
        Hole::Array(list) => list.iter().map(unhole).collect(),
        Hole::Map(map) | Hole::Object(map) => map
            .iter()
            .map(|(name, hole)| (name.clone(), unhole(hole)))
            .collect(),
        Hole::Nil | Hole::NoValue | Hole::Function(_) => Value::Null,
    }
}

fn required(arguments: &[Hole]) -> Result<Hole, FuncError> {
    match arguments {
        [Hole::String(advice), Hole::Nil] => Err(FuncError::Generic(advice.clone())),
        [Hole::String(advice), Hole::String(text)] if text.is_empty() => {
            Err(FuncError::Generic(advice.clone()))
        }
        [_, given] => Ok(given.clone()),
        _ => Err(FuncError::Generic("required takes two".to_owned())),
    }
}

fn join(arguments: &[Hole]) -> Result<Hole, FuncError> {
    let [Hole::String(between), Hole::Array(list)] = arguments else {
        return Err(FuncError::Generic("join takes a text and a list".to_owned()));
    };
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    Ok(Hole::from(list.join(between)))
}

fn to_json(arguments: &[Hole]) -> Result<Hole, FuncError> {
    Ok(Hole::from(unhole(&arguments[0]).to_string()))
}

/// The flags of a workload's program.
fn flags<'a>(objects: &'a [Value], name: &str) -> Vec<&'a str> {
    let workload = objects
        .iter()
        .find(|object| object["metadata"]["name"] == name && !object["spec"]["template"].is_null());
    let container = &workload.unwrap()["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].as_array().unwrap();
    arguments.iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn with_its_defaults_it_is_the_manifests() {
    let manifests = [
        deploy::AGENT_ROLE,
        deploy::IPAMD_ROLE,
        deploy::IPAMD_LEASE_ROLE,
        deploy::IPAMD_WORKLOAD,
        deploy::AGENT_WORKLOAD,
        deploy::WEBHOOK,
        deploy::VIEW_ROLE,
    ];
    let extender = manifests.iter().chain(deploy::IP_SCHEDULER);
    let mut values = values();
    for (enabled, manifests) in [(false, manifests.to_vec()), (true, extender.copied().collect())] {
        values["ipScheduler"]["enabled"] = json!(enabled);
        is_the_same(&chart(&values), &manifests);
    }
}

fn is_the_same(chart: &[Value], manifests: &[&str]) {
    let manifests = manifests
        .iter()
        .flat_map(|manifest| serde_saphyr::from_multiple::<Value>(manifest).unwrap());
    let manifests: Vec<Value> = manifests.collect();
    for (ours, theirs) in chart.iter().zip(&manifests) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(chart.len(), manifests.len());
}

#[test]
fn every_value_has_its_effect() {
    let mut values = values();
    values["image"] = json!({
        "prefix": "r.example/", "tag": "7", "pullPolicy": "Always", "pullSecrets": [{"name": "s"}]
    });
    values["subnets"] = json!(["subnet-a", "subnet-b"]);
    values["logLevel"] = json!("debug");
    values["warm"] = json!({"min": 0, "max": 9});
    values["ipamd"]["credentials"] = json!("pod-identity");
    values["ipamd"]["secret"] = json!("");
    values["ipamd"]["nodeTaint"] = json!(true);
    values["ipamd"]["nodeCondition"] = json!(true);
    values["ipamd"]["extraArgs"] = json!(["--eni-quota=3"]);
    values["ipamd"]["env"] = json!([{"name": "A", "value": "b"}]);
    values["ipScheduler"] = json!({
        "enabled": true, "replicas": 3, "httpTimeout": "5s", "extraArgs": ["--listen=0.0.0.0:1"], "resources": {},
    });
    values["agent"]["runtimeDirectory"] = json!("/run/k3s");
    values["agent"]["extraArgs"] = json!(["--bandwidth"]);
    values["webhook"]["port"] = json!(9443);
    values["webhook"]["defaultCni"] = json!("tke-bridge");
    let chart = chart(&values);
    assert_eq!(
        flags(&chart, "tke-eni-ipamd"),
        [
            "--clusterid=cls-1a2b3c4d",
            "--subnets=subnet-a:subnet-b",
            "--cloud=tencent",
            "--region=ap-guangzhou",
            "--credentials=pod-identity",
            "--ip-min-warm-target=0",
            "--ip-max-warm-target=9",
            "--enable-node-taint",
            "--enable-node-condition",
            "--log-level=debug",
            "--eni-quota=3",
        ]
    );
    assert_eq!(
        flags(&chart, "tke-eni-agent"),
        [
            "--container-runtime-endpoint=unix:///run/k3s/containerd.sock",
            "--log-level=debug",
            "--bandwidth",
        ]
    );
    assert_eq!(
        flags(&chart, "add-pod-eni-ip-limit-webhook"),
        [
            "--listen=0.0.0.0:9443",
            "--default-cni=tke-bridge",
            "--server-name=add-pod-eni-ip-limit-webhook.tke-eni-ip-webhook.svc",
            "--log-level=debug",
        ]
    );
    assert_eq!(
        flags(&chart, "tke-eni-ip-scheduler"),
        ["--http-timeout=5s", "--log-level=debug", "--listen=0.0.0.0:1"]
    );
    let specs = chart.iter().map(|object| &object["spec"]["template"]["spec"]);
    for spec in specs.filter(|spec| !spec.is_null()) {
        let container = &spec["containers"][0];
        let image = container["image"].as_str().unwrap();
        assert!(image.starts_with("r.example/tke-eni-") && image.ends_with(":7"));
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
    }
    assert!(
        !chart
            .iter()
            .any(|object| object.to_string().contains("secretRef"))
    );
}

#[test]
fn what_must_be_given_is_asked_for_and_the_webhook_can_be_left_out() {
    let ipamd = TEMPLATES[3].1;
    for missing in ["clusterId", "region", "subnets"] {
        let mut values = values();
        values[missing] = match missing {
            "subnets" => json!([]),
            _ => json!(""),
        };
        let error = render(ipamd, &values).unwrap_err();
        assert!(error.contains(&format!("{missing}: ")), "{error}");
    }
    let mut values = values();
    values["webhook"]["enabled"] = json!(false);
    assert_eq!(
        chart(&values)
            .iter()
            .filter(|object| object.to_string().contains("webhook"))
            .count(),
        0
    );
}
