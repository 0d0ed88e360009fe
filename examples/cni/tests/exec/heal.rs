//! The whole agent beside pods that others meddle with.

use std::{sync::Arc, thread, time::Duration};

use agent::{AgentConfig, Backends};
use eni_core::{
    agent::{DialogueConfig, ServiceConfig},
    cluster::Cluster,
    env::SystemEnvironment,
    model::{AgentReport, NodeConfig, NodeSpec, PodKey, SandboxKey},
    network::{PodInterface, PodWiring},
    sim::MemoryCluster,
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    bed::{Node, eventually, ip},
    plugin::{Exec, ROUTE_ENI},
};

crate::exec_tests![what_others_break_is_put_right_and_what_died_is_gone];

/// Between two looks, of the repair and for garbage.
const PERIOD: Duration = Duration::from_millis(200);

/// Runs the agent as its binary does, in place of the bed's, while `work` lasts.
fn with_whole_agent(node: &Node, work: impl FnOnce()) {
    node.stop_agent();
    let cluster = MemoryCluster::new();
    let object = NodeConfig {
        name: "node-1".into(),
        spec: NodeSpec {
            instance: "ins-1".into(),
            node_uid: "uid-1".into(),
            zone: "zone-1".into(),
            warm: None,
            limits: None,
        },
        pool: node.pool.clone(),
        agent: AgentReport::default(),
    };
    let config = AgentConfig {
        node: "node-1".into(),
        instance: "ins-1".into(),
        endpoint: node.endpoint.clone(),
        journal: node.directory.path().join("journal"),
        service: ServiceConfig {
            cooldown: Duration::ZERO,
            ..ServiceConfig::default()
        },
        dialogue: DialogueConfig {
            repair_interval: PERIOD,
            ..DialogueConfig::default()
        },
        collection: PERIOD,
        results: Vec::new(),
        devices: None,
    };
    let backends = Backends {
        cluster: Arc::new(cluster.clone()),
        network: Arc::new(node.network.clone()),
        sandboxes: None,
        environment: SystemEnvironment::shared(),
    };
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let agent = thread::spawn(move || {
        runtime.block_on(async {
            cluster.node_configs().create(object).await.unwrap();
            agent::run(config, backends, async { stopped.await.unwrap_or_default() }).await
        })
    });
    work();
    stop.send(()).unwrap();
    agent.join().unwrap().unwrap();
}

fn what_others_break_is_put_right_and_what_died_is_gone() {
    let node = Node::new(4);
    let (web, other) = (node.sandbox("c1", "web-0"), node.sandbox("c2", "db-0"));
    with_whole_agent(&node, || {
        let conf = node.conf("1.1.0");
        let ready = || Exec::new(ROUTE_ENI, "STATUS", &conf).run().succeeded();
        eventually("the agent serves", ready);
        let mut elsewhere = conf.clone();
        elsewhere["name"] = json!("elsewhere");
        let mut checked = conf.clone();
        checked["prevResult"] = web.exec("ADD", &conf).run().result();
        other.exec("ADD", &elsewhere).run().result();

        // Somebody flushes the rules, the ENI's own included.
        for priority in ["512", "1536"] {
            while ip("rule show").contains(&format!("\n{priority}:")) {
                ip(&format!("rule delete pref {priority}"));
            }
        }
        eventually("the rules are back", || {
            web.exec("CHECK", &checked).run().succeeded()
        });
        web.assert_connected(&node);
        other.assert_connected(&node);

        // A plugin was killed after it had wired a pod that owns nothing any more.
        let killed = node.sandbox("c3", "ghost");
        let ghost = PodWiring {
            interface: PodInterface {
                key: SandboxKey::new("pods", "c3", "eth0"),
                pod: Some(PodKey::new("default", "ghost")),
                addresses: None,
            },
            netns: killed.netns().to_owned(),
            addresses: "10.0.1.13".parse::<std::net::IpAddr>().unwrap().into(),
            table: Some(node.link.table),
            mtu: 1400,
        };
        node.network.wire(&ghost).unwrap();
        eventually("what it left is gone", || {
            !node.leftovers().iter().any(|line| line.contains("10.0.1.13"))
                && !ip("-o link show").contains("/c3/")
        });
        web.assert_connected(&node);

        // The runtime collects one network, in which nothing is valid; both sandboxes are dead.
        drop((web, other));
        eventually("the kernel takes the devices away", || {
            !ip("-o link show group 225").contains("alias")
        });
        let mut collect = conf.clone();
        collect["cni.dev/valid-attachments"] = json!([]);
        Exec::new(ROUTE_ENI, "GC", &collect).run().silent();
        let rules = ip("rule show");
        assert!(!rules.contains("10.0.1.10"), "{rules}");
        assert!(rules.contains("10.0.1.11"), "another network's: {rules}");
    });
    node.start_agent();
}
