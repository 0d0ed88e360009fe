//! What is deployed: `examples/deploy` with the flags and the keys of this cluster, as its README asks of everybody.

use fabric::topology::Topology;
use serde_json::{Value, json};

use super::cloud::Account;
use crate::cluster::Cni;

/// The cluster's id, as ENIs bear it.
const CLUSTER: &str = "cls-testbed";

/// Flags of the agent by which it gives back within seconds what it would keep for minutes: nobody waits for that
/// here.
const HASTE: [(&str, &str); 5] = [
    ("--enable-quick-release", "true"),
    ("--release-interval", "5s"),
    ("--cooldown", "5s"),
    ("--report-interval", "5s"),
    ("--gc-interval", "10s"),
];

/// All objects, as a list.
pub(super) fn objects(account: &Account, topology: &Topology, cni: Cni) -> Value {
    let subnets: Vec<&str> = topology.subnets.iter().map(|subnet| subnet.id.as_str()).collect();
    let subnets = subnets.join(":");
    let mut ipamd = vec![
        ("--clusterid", CLUSTER),
        ("--subnets", &subnets),
        ("--region", &account.region),
        ("--cloud-endpoint", &account.endpoint),
    ];
    if cni == Cni::EniStatic {
        ipamd.extend([("--enable-static-ip", ""), ("--enable-ownerref", "")]);
    }
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "tke-eni-ipamd", "namespace": "kube-system"},
        "stringData": {
            "TENCENTCLOUD_SECRET_ID": account.secret_id,
            "TENCENTCLOUD_SECRET_KEY": account.secret_key,
        },
    })];
    for (manifests, flags) in [(deploy::IPAMD, &ipamd[..]), (deploy::AGENT, &HASTE[..])] {
        items.extend(documents(manifests).map(|document| with_flags(document, flags)));
    }
    items.extend(documents(deploy::IP_SCHEDULER).map(on_first_node));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn documents(manifests: &'static [&'static str]) -> impl Iterator<Item = Value> {
    let read = |manifest: &&str| -> Vec<Value> {
        serde_saphyr::from_multiple(manifest).expect("the manifests' own tests read them")
    };
    manifests.iter().flat_map(read)
}

/// Pins a workload to the first node: the scheduler, which has no kube-proxy beside it, looks for its extender there.
fn on_first_node(mut object: Value) -> Value {
    if object["kind"] == "Deployment" {
        object["spec"]["replicas"] = json!(1);
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "node-1"});
    }
    object
}

/// Sets the flags of a workload's container; other objects stay as they are.
fn with_flags(mut object: Value, flags: &[(&str, &str)]) -> Value {
    let arguments = object.pointer_mut("/spec/template/spec/containers/0/args");
    if let Some(Value::Array(arguments)) = arguments {
        for (flag, value) in flags {
            let of_flag = |argument: &Value| argument.as_str().is_some_and(|text| name(text) == *flag);
            arguments.retain(|argument| !of_flag(argument));
            arguments.push(match value.is_empty() {
                true => (*flag).into(),
                false => format!("{flag}={value}").into(),
            });
        }
    }
    object
}

/// The flag of an argument.
fn name(argument: &str) -> &str {
    argument.split_once('=').map_or(argument, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_have_the_clusters_flags_once_and_keep_their_others() {
        let account = Account {
            endpoint: "http://10.0.0.1:80".to_owned(),
            region: "ap-guangzhou".to_owned(),
            secret_id: "id",
            secret_key: "key",
        };
        let list = objects(&account, &Topology::new(2), Cni::EniStatic);
        let items = list["items"].as_array().unwrap();
        let arguments = |name: &str| -> Vec<String> {
            let workload = items
                .iter()
                .find(|item| item["metadata"]["name"] == name && !item["spec"]["template"].is_null())
                .unwrap();
            let arguments = &workload["spec"]["template"]["spec"]["containers"][0]["args"];
            serde_json::from_value(arguments.clone()).unwrap()
        };
        let ipamd = arguments("tke-eni-ipamd");
        let ids = ipamd.iter().filter(|argument| name(argument) == "--clusterid");
        assert_eq!(ids.collect::<Vec<_>>(), ["--clusterid=cls-testbed"]);
        assert!(ipamd.contains(&"--cloud=tencent".to_owned()), "{ipamd:?}");
        assert!(ipamd.contains(&"--enable-static-ip".to_owned()), "{ipamd:?}");
        let agent = arguments("tke-eni-agent");
        assert!(
            agent
                .iter()
                .any(|argument| name(argument) == "--container-runtime-endpoint")
        );
        assert!(agent.contains(&"--cooldown=5s".to_owned()), "{agent:?}");
    }
}
