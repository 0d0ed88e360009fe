//! Pods on ENIs while everything around them fails, one after the other.

use std::{
    collections::BTreeSet,
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use testbed::kubernetes::images::PAUSE_IMAGE;

use crate::{
    Bed, Case, Outcome, agreement,
    pings::Pings,
    pods::{PATIENCE, Pod, pods, running},
};

pub(crate) const CASES: &[Case] = &[
    (
        "forty_pods_come_and_go_and_journal_kernel_cloud_and_api_agree_within_a_minute",
        forty_come_and_go,
    ),
    (
        "no_ping_is_lost_while_kubelet_containerd_and_the_agent_are_killed",
        programs_are_killed,
    ),
    (
        "pods_beyond_the_warm_pool_come_up_after_ipamds_leader_is_lost",
        leader_is_lost,
    ),
    (OUTAGE_CASE, api_server_is_away),
];

/// The one that takes minutes.
pub(crate) const OUTAGE_CASE: &str =
    "a_minute_without_the_api_server_costs_no_ping_and_sandboxes_are_served_meanwhile";

/// How long pods may take whose node has to be given addresses first, on cores that others use too.
const LONG: Duration = Duration::from_secs(150);

/// Within what after the last pod everything has to be at rest.
const REST: Duration = Duration::from_secs(60);

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// A Deployment of pods that do nothing.
struct Idle<'a> {
    bed: &'a Bed,
    name: &'a str,
}

impl<'a> Idle<'a> {
    /// Makes it, on one node or on all.
    fn create(bed: &'a Bed, name: &'a str, node: Option<&str>) -> Result<Self, Failed> {
        let selector = node.map(|node| json!({"kubernetes.io/hostname": node}));
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "nodeSelector": selector,
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{
                            "name": "idle",
                            "image": PAUSE_IMAGE.tag,
                            "resources": {"limits": {"tke.cloud.tencent.com/eni-ip": 1}},
                        }],
                    },
                },
            },
        });
        let kubectl = bed.cluster.kubectl();
        kubectl.feed(&["apply", "--filename=-"], &deployment.to_string())?;
        Ok(Self { bed, name })
    }

    /// Wants so many; returns when they run, or are gone, with addresses of secondary ENIs and each its own.
    fn scale(&self, replicas: usize) -> Result<Vec<Pod>, Failed> {
        let kubectl = self.bed.cluster.kubectl();
        let wanted = format!("--replicas={replicas}");
        kubectl.run(&["scale", "deployment", self.name, &wanted])?;
        let selector = format!("--selector=app={}", self.name);
        let get = ["get", "pods", &selector, "--output=json"];
        let what = format!("{replicas} pods of {}", self.name);
        let list = kubectl.wait(&what, LONG, &get, |text| {
            running(text).len() == replicas && present(text) == replicas
        })?;
        let pods = running(&list);
        let secondary: BTreeSet<String> = (self.bed.cluster.enis()?.into_iter())
            .filter(|eni| !eni.primary)
            .flat_map(|eni| eni.addresses)
            .map(|address| address.to_string())
            .collect();
        let own: BTreeSet<String> = pods.iter().map(|pod| pod.address.clone()).collect();
        assert_eq!(own.len(), replicas, "an address is given twice: {pods:?}");
        assert!(own.is_subset(&secondary), "{own:?} are not all of {secondary:?}");
        Ok(pods)
    }

    fn delete(self) -> Outcome {
        self.scale(0)?;
        self.bed
            .cluster
            .kubectl()
            .run(&["delete", "deployment", self.name])?;
        Ok(())
    }
}

fn forty_come_and_go(bed: &Bed) -> Outcome {
    pods(bed)?;
    let idle = Idle::create(bed, "forty", None)?;
    let pods = idle.scale(40)?;
    let nodes: BTreeSet<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
    assert_eq!(nodes.len(), 2, "{pods:?}");
    idle.delete()?;
    agreement::wait(bed, REST)
}

fn programs_are_killed(bed: &Bed) -> Outcome {
    let servers = pods(bed)?;
    let pings = Pings::start(bed, &servers)?;
    for program in ["kubelet", "containerd", "tke-eni-agent"] {
        kill(bed, "node-1", program)?;
    }
    // Whatever was killed has come back as far as it is needed for them.
    let idle = Idle::create(bed, "after-kills", Some("node-1"))?;
    idle.scale(4)?;
    pings.end()?;
    idle.delete()
}

fn leader_is_lost(bed: &Bed) -> Outcome {
    pods(bed)?;
    let lease = [
        "get",
        "lease",
        "tke-eni-ipamd",
        "--namespace=kube-system",
        "--output=jsonpath={.spec.holderIdentity}",
    ];
    let kubectl = bed.cluster.kubectl();
    let before = kubectl.run(&lease)?;
    let idle = Idle::create(bed, "after-leader", Some("node-1"))?;
    // A replica's identity begins with the name of its node.
    let node = before.split('_').next().unwrap_or_default();
    kill(bed, node, "tke-eni-ipamd")?;
    // Three times what is warm.
    idle.scale(15)?;
    let after = kubectl.run(&lease)?;
    assert_ne!(after, before, "the lease did not change hands");
    idle.delete()
}

fn api_server_is_away(bed: &Bed) -> Outcome {
    let servers = pods(bed)?;
    let idle = Idle::create(bed, "after-outage", None)?;
    let pings = Pings::start(bed, &servers)?;
    bed.cluster.kill_api_server()?;
    let begun = Instant::now();
    let asked = bed
        .cluster
        .kubectl()
        .run(&["get", "nodes", "--request-timeout=2s"]);
    assert!(asked.is_err(), "the API server is there: {asked:?}");
    let served = sandbox_without_kubelet(bed, "first").and_then(|()| {
        // Nor does it take the API server to come back.
        kill(bed, "node-1", "tke-eni-agent")?;
        sandbox_without_kubelet(bed, "second")
    });
    thread::sleep(OUTAGE.saturating_sub(begun.elapsed()));
    let starts = Timestamp::now();
    bed.cluster.start_api_server()?;
    bed.starts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((starts, Timestamp::now()));
    served?;
    idle.scale(10)?;
    pings.end()?;
    idle.delete()
}

/// The pods of a list, without those that a kubelet refused: one that has just started has no devices of plugins that
/// have not found it yet, and refuses pods (UnexpectedAdmissionError) that the scheduler sends there meanwhile. Others
/// take their place.
fn present(list: &str) -> usize {
    let list: Value = serde_json::from_str(list).unwrap_or_default();
    let pods = list["items"].as_array().into_iter().flatten();
    pods.filter(|pod| pod["status"]["reason"] != "UnexpectedAdmissionError")
        .count()
}

/// Kills a program of a node, and waits until there is another.
fn kill(bed: &Bed, node: &str, program: &str) -> Outcome {
    let find = || -> Result<String, Failed> {
        let found = bed.cluster.exec(node, &["pidof", program])?;
        Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
    };
    let before = find()?;
    let killed = bed.cluster.exec(node, &["kill", "-KILL", &before])?;
    assert!(killed.status.success(), "{killed:?}");
    let begun = Instant::now();
    loop {
        let now = find()?;
        if !now.is_empty() && now != before {
            return Ok(());
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{program} was killed, and there is no other"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// What containerd does for a sandbox: a namespace, an ADD of the plugins on the node, and a DEL. Kubelet would
/// need the API server to make one.
const SANDBOX: &str = r#"set -e
export CNI_CONTAINERID="by-hand-$1" CNI_NETNS="/run/netns/by-hand-$1" CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin
export CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=by-hand-$1;K8S_POD_UID=00000000-0000-0000-0000-by-hand-$1"
ip netns add "by-hand-$1"
for try in 1 2 3 4 5 6 7 8 9 10; do
    added=$(echo "$2" | CNI_COMMAND=ADD /opt/cni/bin/tke-route-eni) && break
    added=; sleep 1
done
echo "$2" | CNI_COMMAND=DEL /opt/cni/bin/tke-route-eni >&2
ip netns delete "by-hand-$1"
echo "$added""#;

fn sandbox_without_kubelet(bed: &Bed, name: &str) -> Outcome {
    let conflist = bed
        .cluster
        .exec("node-1", &["cat", "/etc/cni/net.d/10-tke-route-eni.conflist"])?;
    let conflist: Value = serde_json::from_slice(&conflist.stdout)?;
    let mut plugin = conflist["plugins"][0].clone();
    for field in ["cniVersion", "name"] {
        plugin[field] = conflist[field].clone();
    }
    let made = bed
        .cluster
        .exec("node-1", &["sh", "-c", SANDBOX, "sh", name, &plugin.to_string()])?;
    let result: Value = serde_json::from_slice(&made.stdout).unwrap_or_default();
    let address = result["ips"][0]["address"].as_str().unwrap_or_default();
    assert!(made.status.success() && address.ends_with("/32"), "{made:?}");
    Ok(())
}
