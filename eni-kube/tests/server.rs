//! What the core's contract cannot ask for, on a real API server: strangers' fields, nonsense, rights, restarts.

mod support;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use eni_core::{
    cluster::{Cluster, ClusterError, Event, Object, Scope, Subject, WatchEvent, modify},
    model::{
        AddressRecord, Claim, ClaimDefaults, ClaimPhase, DeletePolicy, NodeConfig, PodKey, WarmRange,
        Workload,
    },
};
use eni_kube::crd;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use kube::core::{
    Request,
    params::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use support::{
    ADDRESS_RECORDS, Bed, CLAIM_DEFAULTS, CLAIMS, Case, ENI_RECORDS, EVENTS, NODE_CONFIGS, NODES, PODS,
    cluster, eventually, node_config,
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";

macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        fn main() -> ExitCode {
            let cases: Vec<Case> = vec![$((stringify!($case), |bed: Arc<Bed>| Box::pin($case(bed)))),*];
            support::run("the Kubernetes backend on a real API server", cases)
        }
    };
}

cases![
    fields_that_we_do_not_know_survive_an_update,
    nonsense_is_refused_by_the_schema,
    nonsense_that_the_schema_lets_pass_is_told_of_and_loses_nothing,
    a_listing_with_nonsense_is_an_error_and_never_a_shorter_list,
    a_senseless_warm_range_is_read_as_it_is_and_holds_up_nothing,
    an_event_that_repeats_is_one_object_with_a_count,
    a_pods_event_bears_the_pods_uid,
    watchers_of_a_scope_share_one_watch,
    a_watch_survives_restarts_and_tells_what_it_missed,
    calls_fail_as_unavailable_while_the_server_is_down,
    an_event_of_an_outage_is_written_after_it,
    a_label_that_was_taken_away_is_put_back_with_the_next_write,
    an_agents_role_is_enough_and_it_reads_its_own_node_alone,
    definitions_are_upgraded_put_right_and_never_downgraded,
    a_kind_that_is_not_defined_yet_is_waited_for,
    kubectl_shows_what_an_operator_asks_first,
    a_claim_that_anybody_deletes_stays_until_ipamd_deletes_it,
    an_addresss_object_is_read_as_written_and_strangers_are_told_apart,
    what_pods_ask_that_say_nothing_is_read_and_nonsense_refused,
];

async fn fields_that_we_do_not_know_survive_an_update(bed: Arc<Bed>) {
    let mut object = node_config("node-a");
    object["metadata"]["annotations"] = json!({"theirs": "a"});
    object["metadata"]["labels"] = json!({"theirs": "b"});
    object["theirs"] = json!({"c": 1});
    object["spec"]["securityGroups"] = json!(["sg-1"]);
    object["spec"]["theirs"] = json!([{"d": 2}]);
    object["status"] = json!({
        "maximum": 1, "capacity": 2, "theirs": "e",
        "eniInfos": [{
            "id": "eni-1", "mac": "20:90:6f:00:00:01", "subnet": "subnet-1", "subnetCIDR": "10.0.0.0/24",
            "gateway": "10.0.0.1", "primary": "10.0.0.2", "attached": [], "theirs": "f",
        }],
    });
    bed.put(NODE_CONFIGS, &object).await;
    let configs = bed.cluster().node_configs();
    let change = |config: &mut NodeConfig| {
        config.spec.warm = WarmRange::new(1, 2);
        config.pool.maximum = 9;
        config.pool.enis[0].primary = [10, 0, 0, 3].into();
        config.agent.short = 4;
        true
    };
    modify(configs.as_ref(), "node-a", change).await.unwrap();
    let undo = |config: &mut NodeConfig| config.spec.warm.take().is_some();
    modify(configs.as_ref(), "node-a", undo).await.unwrap();

    let found = bed
        .call(Request::new(NODE_CONFIGS).get("node-a", &Default::default()))
        .await;
    for place in [
        "/theirs",
        "/spec/securityGroups",
        "/spec/theirs",
        "/spec/zone",
        "/metadata/annotations",
        "/metadata/labels/theirs",
    ] {
        assert_eq!(found.pointer(place), object.pointer(place), "{place} of {found}");
    }
    assert_eq!(found["spec"].get("warm"), None, "what we took back is gone");
    assert_eq!(found["status"]["theirs"], "e");
    assert_eq!(found["status"]["eniInfos"][0]["theirs"], "f");
    assert_eq!(found["status"]["eniInfos"][0]["primary"], "10.0.0.3");
    assert_eq!(
        (&found["status"]["maximum"], &found["agent"]["short"]),
        (&json!(9), &json!(4))
    );
}

async fn nonsense_is_refused_by_the_schema(bed: Arc<Bed>) {
    let mut object = node_config("node-a");
    object["status"] = json!({
        "maximum": 1, "capacity": 2,
        "eniInfos": [{
            "id": "eni-1", "mac": "20:90:6f:00:00:01", "subnet": "subnet-1", "subnetCIDR": "10.0.0.0/24",
            "gateway": "10.0.0.1", "primary": "fd00::2", "attached": [{"ip": "10.0.0.3", "generation": 7}],
        }],
    });
    bed.put(NODE_CONFIGS, &object).await;
    let edits = [
        ("/spec/zone", json!(7)),
        ("/spec/instance", json!(null)),
        ("/status/maximum", json!(-1)),
        ("/status/capacity", json!(1u64 << 32)),
        ("/status/eniInfos/0/mac", json!("20:90:6f")),
        ("/status/eniInfos/0/subnetCIDR", json!("10.0.0.0/99")),
        ("/status/eniInfos/0/gateway", json!("10.0.0.256")),
        ("/status/eniInfos/0/gateway", json!("10.0.0.01")),
        ("/status/eniInfos/0/primary", json!("fd00::2::3")),
        ("/status/eniInfos/0/attached/0/ip", json!("")),
        ("/status/eniInfos/0/attached/0/generation", json!(1.5)),
    ];
    for (place, nonsense) in edits {
        let edit = |object: &mut Value| *object.pointer_mut(place).unwrap() = nonsense.clone();
        let refused = bed.edit(NODE_CONFIGS, "node-a", edit).await;
        let message = refused.expect_err(&format!("{place} = {nonsense} was stored"));
        assert!(
            message.contains("Invalid") || message.contains("invalid"),
            "{message}"
        );
    }
    assert!(bed.cluster().node_configs().get("node-a").await.is_ok());
}

/// Follows a watch until it has told of an object, and returns that.
async fn told<T: Object>(watch: &mut BoxStream<'static, WatchEvent<T>>, key: &str) -> T {
    let found = async {
        loop {
            let told = match watch.next().await.expect("a watch never ends") {
                WatchEvent::Reset(all) => all.into_iter().find(|read| read.object.key() == key),
                WatchEvent::Applied(read) => Some(read).filter(|read| read.object.key() == key),
                WatchEvent::Deleted(object) => panic!("{} was not deleted", object.key()),
            };
            if let Some(read) = told {
                return read.object;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found)
        .await
        .unwrap_or_else(|_| panic!("the watch does not tell of {key}"))
}

async fn events(bed: &Bed, reason: &str) -> Vec<Value> {
    let all = bed.call(Request::new(EVENTS).list(&ListParams::default())).await;
    let events = all["items"].as_array().cloned().unwrap_or_default();
    events
        .into_iter()
        .filter(|event| event["reason"] == reason)
        .collect()
}

/// Makes an object unreadable by what the schema lets pass: Go takes a prefix length with a leading zero.
fn spoil(object: &mut Value) {
    object["status"] = json!({
        "maximum": 1, "capacity": 2,
        "eniInfos": [{
            "id": "eni-1", "mac": "20:90:6f:00:00:01", "subnet": "subnet-1", "subnetCIDR": "10.0.0.0/024",
            "gateway": "10.0.0.1", "primary": "10.0.0.2", "attached": [],
        }],
    });
}

async fn nonsense_that_the_schema_lets_pass_is_told_of_and_loses_nothing(bed: Arc<Bed>) {
    bed.put(NODE_CONFIGS, &node_config("node-a")).await;
    let cluster = bed.cluster();
    let mut watch = cluster.node_configs().watch(Scope::All);
    told(&mut watch, "node-a").await;

    bed.edit(NODE_CONFIGS, "node-a", spoil).await.unwrap();
    let event = eventually("an event tells of it", async || {
        events(&bed, "Unreadable").await.pop()
    })
    .await;
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("status: invalid IP address syntax"), "{message}");
    assert_eq!(event["involvedObject"]["kind"], "NodeENIConfig");
    assert_eq!(event["involvedObject"]["name"], "node-a");
    assert!(watch.next().now_or_never().is_none(), "neither changed nor gone");
    let refused = cluster.node_configs().get("node-a").await.unwrap_err();
    assert!(matches!(&refused, ClusterError::Refused { .. }), "{refused}");
    assert!(
        refused.to_string().contains("invalid IP address syntax"),
        "{refused}"
    );

    let right = |object: &mut Value| object["status"]["eniInfos"][0]["subnetCIDR"] = json!("10.0.0.0/24");
    bed.edit(NODE_CONFIGS, "node-a", right).await.unwrap();
    assert_eq!(told(&mut watch, "node-a").await.pool.enis.len(), 1);
}

async fn a_listing_with_nonsense_is_an_error_and_never_a_shorter_list(bed: Arc<Bed>) {
    bed.put(NODE_CONFIGS, &node_config("node-a")).await;
    let mut nonsense = node_config("node-b");
    spoil(&mut nonsense);
    bed.put(NODE_CONFIGS, &nonsense).await;
    let configs = bed.cluster().node_configs();
    let refused = configs.list(&Scope::All).await.unwrap_err();
    assert!(
        matches!(&refused, ClusterError::Refused { key, .. } if key == "node-b"),
        "{refused}"
    );
    let mut watch = configs.watch(Scope::All);
    eventually("an event tells of it", async || {
        events(&bed, "Unreadable").await.pop()
    })
    .await;
    assert!(
        watch.next().now_or_never().is_none(),
        "no state without node-b is told"
    );
    bed.call(Request::new(NODE_CONFIGS).delete("node-b", &DeleteParams::default()))
        .await;
    told(&mut watch, "node-a").await;
}

async fn a_senseless_warm_range_is_read_as_it_is_and_holds_up_nothing(bed: Arc<Bed>) {
    let senseless = WarmRange { min: 5, max: 2 };
    let mut object = node_config("node-a");
    object["spec"]["warm"] = json!(senseless);
    bed.put(NODE_CONFIGS, &object).await;
    bed.put(NODE_CONFIGS, &node_config("node-b")).await;
    let configs = bed.cluster().node_configs();
    let listed = configs.list(&Scope::All).await.unwrap();
    let warm: Vec<_> = listed.iter().map(|read| read.object.spec.warm).collect();
    assert_eq!(warm, [Some(senseless), None]);
    let mut watch = configs.watch(Scope::All);
    assert_eq!(told(&mut watch, "node-a").await.spec.warm, Some(senseless));

    // An operator who slips takes nothing from what ipamd writes of the same node.
    let publish = |config: &mut NodeConfig| {
        config.pool.maximum = 9;
        true
    };
    modify(configs.as_ref(), "node-a", publish).await.unwrap();
    let found = configs.get("node-a").await.unwrap().object;
    assert_eq!((found.pool.maximum, found.spec.warm), (9, Some(senseless)));
    assert!(events(&bed, "Unreadable").await.is_empty());
}

async fn an_event_that_repeats_is_one_object_with_a_count(bed: Arc<Bed>) {
    let event = Event {
        subject: Subject::Node("node-a".into()),
        warning: true,
        reason: "ENILimit",
        message: "the node is full".to_owned(),
    };
    let (first, second) = (bed.cluster(), bed.cluster());
    for _ in 0..20 {
        first.report(event.clone());
    }
    let counted = async |count: u64| {
        eventually("the count is right", async || {
            let found = events(&bed, "ENILimit").await;
            assert!(found.len() <= 1, "{found:?}");
            found.into_iter().find(|event| event["count"] == count)
        })
        .await
    };
    counted(20).await;
    second.report(event.clone());
    let found = counted(21).await;
    assert_eq!(
        found["involvedObject"]["uid"], "node-a",
        "as kubectl looks for it"
    );
    assert_eq!(found["source"]["component"], "tests");
    assert_eq!(found["type"], "Warning");
    assert_eq!(found["eventTime"], Value::Null, "the legacy form has none");
    assert!(found["lastTimestamp"].as_str() >= found["firstTimestamp"].as_str());
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    })
}

async fn a_pods_event_bears_the_pods_uid(bed: Arc<Bed>) {
    let created = bed.put(PODS, &pod("web-0", "node-a")).await;
    let event = |name: &str| Event {
        subject: Subject::Pod(PodKey::new("default", name)),
        warning: true,
        reason: "AddressLost",
        message: format!("address of {name}"),
    };
    let cluster = bed.cluster();
    cluster.report(event("web-0"));
    cluster.report(event("gone"));
    let found = eventually("both are told", async || {
        let found = events(&bed, "AddressLost").await;
        (found.len() == 2).then_some(found)
    })
    .await;
    let uids: BTreeMap<_, _> = found
        .iter()
        .map(|event| {
            (
                event["involvedObject"]["name"].as_str().unwrap(),
                &event["involvedObject"]["uid"],
            )
        })
        .collect();
    assert_eq!(uids["web-0"], &created["metadata"]["uid"]);
    assert_eq!(uids["gone"], &Value::Null);
}

/// The requests of a user, as the API server wrote them down: verb, URI and status.
async fn requests(bed: &Bed, user: &str) -> Vec<(String, String, u64)> {
    let audit = bed.server.lock().await.audit().unwrap();
    audit
        .iter()
        .filter(|event| event["user"]["username"] == user)
        .map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            (
                text("verb"),
                text("requestURI"),
                event["responseStatus"]["code"].as_u64().unwrap_or(0),
            )
        })
        .collect()
}

async fn grant(bed: &Bed, user: &str, rules: Value) {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": user}, "rules": rules,
    });
    bed.put(ROLES, &role).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    bed.put(BINDINGS, &binding).await;
}

async fn watchers_of_a_scope_share_one_watch(bed: Arc<Bed>) {
    let rules = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    grant(&bed, "sharer", rules).await;
    bed.put(NODE_CONFIGS, &node_config("node-a")).await;
    let cluster = cluster(bed.user("sharer").await);
    let mut watches: Vec<_> = (0..5).map(|_| cluster.node_configs().watch(Scope::All)).collect();
    for watch in &mut watches {
        told(watch, "node-a").await;
    }
    bed.put(NODE_CONFIGS, &node_config("node-b")).await;
    for watch in &mut watches {
        told(watch, "node-b").await;
    }
    drop(watches);
    // The end of a watch is written down when it has ended: with the last of them.
    let watched = eventually("the watch ended", async || {
        let requests = requests(&bed, "sharer").await;
        let watched = requests.into_iter().filter(|(verb, ..)| verb == "watch").count();
        (watched > 0).then_some(watched)
    });
    assert_eq!(watched.await, 1);
    let listed = requests(&bed, "sharer").await;
    let listed: Vec<_> = listed.iter().filter(|(verb, ..)| verb == "list").collect();
    assert!(
        listed.len() <= 2,
        "one, and another while the role was not in force yet: {listed:?}"
    );
}

async fn a_watch_survives_restarts_and_tells_what_it_missed(bed: Arc<Bed>) {
    bed.put(NODE_CONFIGS, &node_config("node-a")).await;
    let cluster = bed.cluster();
    let mut watch = cluster.node_configs().watch(Scope::All);
    let mut pods = cluster.pods().watch(Scope::Node("node-a".into()));
    told(&mut watch, "node-a").await;
    for (crash, name) in [(true, "node-b"), (false, "node-c")] {
        // What others write makes the server forget, at its next start, the state where the watch stands.
        bed.put(PODS, &pod(name, "node-a")).await;
        bed.put(PODS, &pod(&format!("other-{name}"), "node-x")).await;
        let server = bed.server.clone();
        let restart = move || {
            let mut server = server.blocking_lock();
            if crash {
                server.crash_server()
            } else {
                server.stop_server()
            }
            server.start_server().unwrap();
        };
        tokio::task::spawn_blocking(restart).await.unwrap();
        bed.put(NODE_CONFIGS, &node_config(name)).await;
        told(&mut watch, name).await;
        assert_eq!(
            told(&mut pods, &format!("default/{name}"))
                .await
                .key
                .name
                .as_ref(),
            name
        );
    }
}

async fn calls_fail_as_unavailable_while_the_server_is_down(bed: Arc<Bed>) {
    bed.put(NODE_CONFIGS, &node_config("node-a")).await;
    let configs = bed.cluster().node_configs();
    let read = configs.get("node-a").await.unwrap();
    let server = bed.server.clone();
    tokio::task::spawn_blocking(move || server.blocking_lock().crash_server())
        .await
        .unwrap();
    let results = [
        configs.get("node-a").await.map(drop),
        configs.list(&Scope::All).await.map(drop),
        configs.update(read).await.map(drop),
        configs.delete("node-a", None).await,
    ];
    let server = bed.server.clone();
    tokio::task::spawn_blocking(move || server.blocking_lock().start_server().unwrap())
        .await
        .unwrap();
    for result in results {
        let error = result.unwrap_err();
        assert!(matches!(&error, ClusterError::Unavailable { .. }), "{error}");
        assert!(
            error.to_string().contains("refused"),
            "the cause is named: {error}"
        );
    }
    assert!(configs.get("node-a").await.is_ok());
}

async fn an_event_of_an_outage_is_written_after_it(bed: Arc<Bed>) {
    let cluster = bed.cluster();
    let server = bed.server.clone();
    tokio::task::spawn_blocking(move || server.blocking_lock().crash_server())
        .await
        .unwrap();
    cluster.report(Event {
        subject: Subject::Node("node-a".into()),
        warning: true,
        reason: "Outage",
        message: "told while nobody listened".to_owned(),
    });
    let server = bed.server.clone();
    tokio::task::spawn_blocking(move || server.blocking_lock().start_server().unwrap())
        .await
        .unwrap();
    let event = eventually("it is written", async || events(&bed, "Outage").await.pop()).await;
    assert_eq!(event["count"], 1);
}

async fn a_label_that_was_taken_away_is_put_back_with_the_next_write(bed: Arc<Bed>) {
    // As it is when somebody made the object by hand.
    bed.put(NODE_CONFIGS, &node_config("node-a")).await;
    let change = |config: &mut NodeConfig| {
        config.agent.short += 1;
        true
    };
    let configs = bed.cluster().node_configs();
    modify(configs.as_ref(), "node-a", change).await.unwrap();
    let found = bed
        .call(Request::new(NODE_CONFIGS).get("node-a", &Default::default()))
        .await;
    assert_eq!(found["metadata"]["labels"][crd::NODE_LABEL], "node-a");
}

async fn an_agents_role_is_enough_and_it_reads_its_own_node_alone(bed: Arc<Bed>) {
    // The role of TKE's agent.
    let ours = json!([
        "underlayips",
        "nodeeniconfigs",
        "vpcipclaims",
        "vpcips",
        "vpcenis"
    ]);
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods", "namespaces", "nodes", "configmaps"],
         "verbs": ["list", "watch", "get"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["list", "watch", "get", "patch"]},
        {"apiGroups": [crd::GROUP], "resources": ours, "verbs": ["get", "list", "watch", "delete", "update"]},
        {"apiGroups": [""], "resources": ["events"],
         "verbs": ["list", "watch", "get", "update", "patch", "create"]},
    ]);
    grant(&bed, "agent", rules).await;
    for name in ["node-a", "node-b"] {
        bed.put(NODE_CONFIGS, &node_config(name)).await;
        bed.put(
            NODES,
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}),
        )
        .await;
        bed.put(PODS, &pod(&format!("on-{name}"), name)).await;
    }
    let client = bed.user("agent").await;
    let allowed = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "update", "group": crd::GROUP, "resource": "nodeeniconfigs"}},
    });
    eventually("the role is in force", async || {
        let path = Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
        let request = path.create(&Default::default(), serde_json::to_vec(&allowed).unwrap());
        let answer: Value = client.request(request.unwrap()).await.unwrap();
        (answer["status"]["allowed"] == true).then_some(())
    })
    .await;

    let agent = cluster(client);
    let own = || Scope::Node("node-a".into());
    let mut configs = agent.node_configs().watch(own());
    let mut records = agent.eni_records().watch(own());
    let mut pods = agent.pods().watch(own());
    let mut nodes = agent.nodes().watch(own());
    told(&mut configs, "node-a").await;
    told(&mut pods, "default/on-node-a").await;
    told(&mut nodes, "node-a").await;
    assert!(matches!(records.next().await, Some(WatchEvent::Reset(all)) if all.is_empty()));
    let change = |config: &mut NodeConfig| {
        config.agent.advertised += 1;
        true
    };
    modify(agent.node_configs().as_ref(), "node-a", change)
        .await
        .unwrap();
    assert_eq!(told(&mut configs, "node-a").await.agent.advertised, 1);
    agent.report(Event {
        subject: Subject::Pod(PodKey::new("default", "on-node-a")),
        warning: false,
        reason: "Tested",
        message: "well".to_owned(),
    });
    eventually("the event is written", async || {
        events(&bed, "Tested").await.pop()
    })
    .await;
    drop((configs, records, pods, nodes));
    let requests = eventually("the watches ended", async || {
        let requests = requests(&bed, "agent").await;
        let watched = requests.iter().filter(|(verb, ..)| verb == "watch").count();
        (watched == 4).then_some(requests)
    })
    .await;
    for (verb, uri, code) in &requests {
        assert!(![401, 403].contains(code), "{verb} {uri}: {code}");
        let of_node = uri.contains("node-a");
        assert!(
            of_node || uri.contains("/events") || uri.contains("accessreviews"),
            "{verb} {uri}"
        );
    }
}

async fn definitions_are_upgraded_put_right_and_never_downgraded(bed: Arc<Bed>) {
    // The rights that ipamd has on definitions.
    let rules = json!([{
        "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
        "verbs": ["create", "update", "get"],
    }]);
    grant(&bed, "installer", rules).await;
    let client = bed.user("installer").await;
    eventually("the role is in force", async || {
        crd::install(client.clone()).await.ok()
    })
    .await;
    let name = format!("underlayips.{}", crd::GROUP);
    let get = async || {
        bed.call(Request::new(DEFINITIONS).get(&name, &Default::default()))
            .await
    };
    let version = |definition: &Value| definition["metadata"]["resourceVersion"].clone();
    let before = get().await;
    crd::install(client.clone()).await.unwrap();
    assert_eq!(
        version(&get().await),
        version(&before),
        "what is right is not written"
    );

    let loosen = |definition: &mut Value| {
        let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    };
    bed.edit(DEFINITIONS, &name, loosen).await.unwrap();
    crd::install(client.clone()).await.unwrap();
    assert_eq!(get().await["spec"], before["spec"]);

    let newer = |definition: &mut Value| {
        loosen(definition);
        let annotations = definition["metadata"]["annotations"].as_object_mut().unwrap();
        annotations
            .values_mut()
            .for_each(|revision| *revision = json!("999999"));
    };
    let newer = bed.edit(DEFINITIONS, &name, newer).await.unwrap();
    crd::install(client.clone()).await.unwrap();
    assert_eq!(get().await["spec"], newer["spec"]);
    bed.call(Request::new(DEFINITIONS).delete(&name, &DeleteParams::default()))
        .await;
    eventually("it is defined anew", async || {
        crd::install(client.clone()).await.ok()
    })
    .await;
}

async fn a_kind_that_is_not_defined_yet_is_waited_for(bed: Arc<Bed>) {
    let name = format!("vpcenis.{}", crd::GROUP);
    bed.call(Request::new(DEFINITIONS).delete(&name, &DeleteParams::default()))
        .await;
    eventually("the kind is gone", async || {
        let request = Request::new(ENI_RECORDS).list(&ListParams::default()).unwrap();
        bed.client.request::<Value>(request).await.err()
    })
    .await;
    let mut watch = bed.cluster().eni_records().watch(Scope::All);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), watch.next())
            .await
            .is_err()
    );
    crd::install(bed.client.clone()).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(60), watch.next()).await;
    assert!(matches!(first, Ok(Some(WatchEvent::Reset(all))) if all.is_empty()));
}

async fn kubectl_shows_what_an_operator_asks_first(bed: Arc<Bed>) {
    let mut object = node_config("node-a");
    object["agent"] = json!({"short": 3});
    bed.put(NODE_CONFIGS, &object).await;
    let configs = bed.cluster().node_configs();
    let change = |config: &mut NodeConfig| {
        (config.pool.capacity, config.pool.granted) = (27, 9);
        true
    };
    modify(configs.as_ref(), "node-a", change).await.unwrap();
    // What `kubectl get` asks for: the server makes the table.
    let mut request = Request::new(NODE_CONFIGS).list(&ListParams::default()).unwrap();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap();
    request.headers_mut().insert("accept", table);
    let table: Value = bed.client.request(request).await.unwrap();
    let titles = table["columnDefinitions"].as_array().unwrap().iter();
    let titles: Vec<_> = titles.map(|column| column["name"].as_str().unwrap()).collect();
    let expected = [
        "Name",
        "Instance",
        "Zone",
        "ENIs",
        "Addresses",
        "Granted",
        "Capacity",
        "Waiting",
        "Age",
    ];
    assert_eq!(titles, expected);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(
        cells[..8],
        json!(["node-a", "ins-1", "zone-1", 0, 0, 9, 27, 3])
            .as_array()
            .unwrap()[..]
    );
}

async fn a_claim_that_anybody_deletes_stays_until_ipamd_deletes_it(bed: Arc<Bed>) {
    let claims = bed.cluster().claims();
    let key = PodKey::new("default", "web-0");
    let claim = Claim {
        workload: Some(Workload {
            api: "apps/v1".into(),
            kind: "StatefulSet".into(),
            name: "web".into(),
            uid: "uid-w".into(),
        }),
        ..Claim::new(key.clone(), "uid-1".into(), Default::default())
    };
    let created = claims.create(claim).await.unwrap();
    let request = || Request::new(CLAIMS).get("web-0", &Default::default());
    let owner = bed.call(request()).await["metadata"]["ownerReferences"][0].clone();
    // Without blockOwnerDeletion: that would take rights that ipamd has not.
    assert_eq!(
        owner,
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "uid-w"})
    );

    bed.call(Request::new(CLAIMS).delete("web-0", &DeleteParams::default()))
        .await;
    let marked = claims.get(&key.to_string()).await.unwrap();
    let expected = Claim {
        deleting: true,
        ..created.object.clone()
    };
    assert_eq!(marked.object, expected);
    let stale = claims.delete(&key.to_string(), Some(&created.version)).await;
    assert!(matches!(stale, Err(ClusterError::Conflict { .. })), "{stale:?}");
    claims
        .delete(&key.to_string(), Some(&marked.version))
        .await
        .unwrap();
    let gone = claims.get(&key.to_string()).await;
    assert!(matches!(gone, Err(ClusterError::NotFound { .. })), "{gone:?}");
    claims.delete(&key.to_string(), None).await.unwrap();
}

async fn an_addresss_object_is_read_as_written_and_strangers_are_told_apart(bed: Arc<Bed>) {
    let store = bed.cluster().address_records();
    for ip in ["10.0.0.9", "fd00::9"] {
        let ip = ip.parse().unwrap();
        let mut record = AddressRecord {
            ip,
            claim: Some((PodKey::new("default", "web-0"), "uid-1".into())),
            node: Some("node-a".into()),
            subnet: Some("subnet-1".into()),
            phase: ClaimPhase::Assigned,
        };
        let mut read = store.create(record.clone()).await.unwrap();
        assert_eq!(store.get(&AddressRecord::name(ip)).await.unwrap().object, record);
        (record.node, record.phase) = (None, ClaimPhase::Retained);
        read.object = record.clone();
        store.update(read).await.unwrap();
        assert_eq!(store.get(&AddressRecord::name(ip)).await.unwrap().object, record);
    }
    // As TKE's own ipamd has them of an ENI's address.
    let stranger = json!({
        "apiVersion": format!("{}/v1", crd::GROUP), "kind": "VpcIP", "metadata": {"name": "10.0.0.1"},
        "spec": {"type": "ENI"}, "status": {"phase": "Attached"},
    });
    bed.put(ADDRESS_RECORDS, &stranger).await;
    assert_eq!(store.get("10.0.0.1").await.unwrap().object.claim, None);
}

async fn what_pods_ask_that_say_nothing_is_read_and_nonsense_refused(bed: Arc<Bed>) {
    let mut object = json!({
        "apiVersion": format!("{}/v1", crd::GROUP), "kind": "StaticIPConfig", "metadata": {"name": "shop"},
        "spec": {
            "namespaces": ["shop"], "deletePolicy": "Never", "keepSeconds": 600, "subnets": ["subnet-a"],
        },
    });
    bed.put(CLAIM_DEFAULTS, &object).await;
    let expected = ClaimDefaults {
        name: "shop".into(),
        namespaces: vec!["shop".into()],
        policy: Some(DeletePolicy::Never),
        keep: Some(Duration::from_secs(600)),
        subnets: vec!["subnet-a".into()],
    };
    let mut watch = bed.cluster().claim_defaults().watch(Scope::All);
    assert_eq!(told(&mut watch, "shop").await, expected);
    object["metadata"]["name"] = json!("wrong");
    for (field, nonsense) in [
        ("deletePolicy", json!("never")),
        ("keepSeconds", json!(299)),
        ("namespaces", json!("shop")),
        ("subnets", json!([7])),
    ] {
        let mut wrong = object.clone();
        wrong["spec"][field] = nonsense;
        let body = serde_json::to_vec(&wrong).unwrap();
        let request = Request::new(CLAIM_DEFAULTS).create(&Default::default(), body);
        let answer = bed.client.request::<Value>(request.unwrap()).await;
        let message = answer.expect_err(field).to_string();
        assert!(message.contains(field), "{message}");
    }
}
