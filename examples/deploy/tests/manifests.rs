//! That the roles are the published ones, and that the manifests fit each other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// "VPC-CNI Component Description", Permission Definition
/// (<https://www.tencentcloud.com/document/product/457/43557>), each rule as (apiGroups, resources, verbs) in the order
/// of the page.
type Rule = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const OURS: &str = "networking.tke.cloud.tencent.com";

const AGENT: &[Rule] = &[
    (
        &[""],
        &["pods", "namespaces", "nodes", "configmaps"],
        &["list", "watch", "get"],
    ),
    (&[""], &["nodes/status"], &["list", "watch", "get", "patch"]),
    (
        &[OURS],
        &[
            "underlayips",
            "nodeeniconfigs",
            "vpcipclaims",
            "vpcips",
            "vpcenis",
        ],
        &["get", "list", "watch", "delete", "update"],
    ),
    (
        &[""],
        &["events"],
        &["list", "watch", "get", "update", "patch", "create"],
    ),
];

const IPAMD: &[Rule] = &[
    (
        &[""],
        &["pods", "namespaces", "nodes", "nodes/status"],
        &["list", "watch", "get", "patch", "update"],
    ),
    (
        &[""],
        &["configmaps", "endpoints", "events"],
        &["get", "list", "watch", "update", "create", "patch"],
    ),
    (
        &["apps", "extensions"],
        &["statefulsets", "deployments"],
        &["list", "watch", "get"],
    ),
    (
        &["apiextensions.k8s.io"],
        &["customresourcedefinitions"],
        &["create", "update", "get"],
    ),
    (
        &[OURS],
        &[
            "staticipconfigs",
            "underlayips",
            "nodeeniconfigs",
            "vpcipclaims",
            "vpcips",
            "eipclaims",
            "vpcenis",
        ],
        &["create", "update", "delete", "get", "list", "watch", "patch"],
    ),
    (
        &["node.tke.cloud.tencent.com"],
        &["machines"],
        &["get", "list", "watch"],
    ),
    (
        &["cilium.io"],
        &["ciliumnodes", "ciliumnodes/status", "ciliumnodes/finalizers"],
        &["create", "update", "delete", "get", "list", "watch", "patch"],
    ),
];

const IP_SCHEDULER: &[Rule] = &[
    (
        &[""],
        &["pods/binding"],
        &["get", "list", "watch", "update", "create", "patch"],
    ),
    (
        &[""],
        &["configmaps", "endpoints", "events"],
        &["get", "list", "watch", "update", "create", "patch"],
    ),
    (
        &[""],
        &["pods", "namespaces", "nodes", "nodes/status"],
        &["list", "watch", "get"],
    ),
    (
        &[OURS],
        &["nodeeniconfigs", "vpcipclaims", "vpcips"],
        &["get", "list", "watch", "update"],
    ),
];

fn objects(manifest: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(manifest).unwrap()
}

fn all() -> Vec<Value> {
    let manifests = deploy::AGENT.iter().chain(deploy::IPAMD);
    let manifests = manifests
        .chain(deploy::IP_SCHEDULER)
        .chain([&deploy::WEBHOOK, &deploy::VIEW_ROLE]);
    manifests.flat_map(|manifest| objects(manifest)).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let kind = Value::from(kind);
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Kind, namespace and name.
fn identity(kind: &Value, metadata: &Value) -> [String; 3] {
    [kind, &metadata["namespace"], &metadata["name"]].map(|text| text.as_str().unwrap_or_default().to_owned())
}

#[test]
fn the_roles_are_the_published_ones() {
    let roles = [
        ("tke-eni-agent", deploy::AGENT_ROLE, AGENT),
        ("tke-eni-ipamd", deploy::IPAMD_ROLE, IPAMD),
        ("tke-eni-ip-scheduler", deploy::IP_SCHEDULER_ROLE, IP_SCHEDULER),
    ];
    for (name, manifest, rules) in roles {
        let rules: Vec<_> = rules
            .iter()
            .map(|(groups, resources, verbs)| {
                json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
            })
            .collect();
        let published = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": rules,
        });
        assert_eq!(objects(manifest), [published]);
    }
}

#[test]
fn every_object_is_named_once_and_every_binding_has_both_ends() {
    let all = all();
    let names: BTreeSet<_> = all
        .iter()
        .map(|object| identity(&object["kind"], &object["metadata"]))
        .collect();
    assert_eq!(names.len(), all.len(), "{names:?}");
    let bindings = [of_kind(&all, "ClusterRoleBinding"), of_kind(&all, "RoleBinding")].concat();
    assert_eq!(bindings.len(), 7);
    for binding in bindings {
        let role = &binding["roleRef"];
        let mut reference = role.clone();
        if role["kind"] == "Role" {
            reference["namespace"] = binding["metadata"]["namespace"].clone();
        }
        assert!(names.contains(&identity(&role["kind"], &reference)), "{binding}");
        for subject in binding["subjects"].as_array().unwrap() {
            assert!(names.contains(&identity(&subject["kind"], subject)), "{binding}");
        }
    }
}

#[test]
fn every_workload_runs_under_its_own_account_and_is_selected_by_its_labels() {
    let all = all();
    let accounts: BTreeSet<_> = of_kind(&all, "ServiceAccount")
        .into_iter()
        .map(|account| identity(&account["kind"], &account["metadata"]))
        .collect();
    let workloads = [of_kind(&all, "Deployment"), of_kind(&all, "DaemonSet")].concat();
    assert_eq!(workloads.len(), accounts.len());
    for workload in workloads {
        let (namespace, template) = (&workload["metadata"]["namespace"], &workload["spec"]["template"]);
        let account = json!({"namespace": namespace, "name": template["spec"]["serviceAccountName"]});
        assert!(
            accounts.contains(&identity(&"ServiceAccount".into(), &account)),
            "{account}"
        );
        assert_eq!(
            workload["spec"]["selector"]["matchLabels"],
            template["metadata"]["labels"]
        );
    }
}

#[test]
fn the_api_server_finds_the_webhook_by_the_name_in_its_certificate() {
    let webhook = objects(deploy::WEBHOOK);
    let one = |kind| of_kind(&webhook, kind)[0];
    let called = &one("MutatingWebhookConfiguration")["webhooks"][0];
    let service = &called["clientConfig"]["service"];
    let [namespace, name] = ["namespace", "name"].map(|field| service[field].as_str().unwrap());
    assert_eq!(
        identity(&"Service".into(), service),
        identity(&"Service".into(), &one("Service")["metadata"])
    );
    let pod = &one("Deployment")["spec"]["template"];
    assert_eq!(one("Service")["spec"]["selector"], pod["metadata"]["labels"]);
    let container = &pod["spec"]["containers"][0];
    let named = json!(format!("--server-name={name}.{namespace}.svc"));
    assert!(container["args"].as_array().unwrap().contains(&named), "{named}");
    assert_eq!(
        one("Service")["spec"]["ports"][0]["targetPort"],
        container["ports"][0]["name"]
    );
    assert_eq!(called["failurePolicy"], "Ignore", "no pod waits for a webhook");
}

#[test]
fn what_is_applied_together_is_all_but_the_schedulers_extender() {
    let list: Value = serde_saphyr::from_str(include_str!("../kustomization.yaml")).unwrap();
    let applied: BTreeSet<_> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap())
        .collect();
    let there = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let there: Vec<_> = there
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|file| file.ends_with(".yaml"))
        .collect();
    let left_out = [
        "kustomization.yaml",
        "ip-scheduler.yaml",
        "role-ip-scheduler.yaml",
        "role-ip-scheduler-lease.yaml",
        "scheduler-config-v1.yaml",
        "scheduler-config-v1beta1.yaml",
    ];
    let expected: BTreeSet<_> = there
        .iter()
        .map(String::as_str)
        .filter(|file| !left_out.contains(file))
        .collect();
    assert_eq!(applied, expected);
}

#[test]
fn both_configurations_of_the_scheduler_ask_the_extender_for_the_same() {
    let read = |text: &str| -> Value { serde_saphyr::from_str(text).unwrap() };
    let mut old = read(deploy::SCHEDULER_CONFIG);
    let new = read(include_str!("../scheduler-config-v1.yaml"));
    old["apiVersion"] = "kubescheduler.config.k8s.io/v1".into();
    assert_eq!(old, new);
    let extender = &new["extenders"][0];
    let workload = objects(deploy::IP_SCHEDULER_WORKLOAD);
    let container = &of_kind(&workload, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    let timeout = format!("--http-timeout={}", extender["httpTimeout"].as_str().unwrap());
    assert_eq!(container["args"], json!([timeout]));
}
