//! A node as ipamd publishes it, with memory for its cluster and its kernel, and its whole agent.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{path::Path, sync::Arc};

use agent::{AgentConfig, AgentError, Backends, run};
use agent_api::Endpoint;
use eni_core::{
    agent::{DialogueConfig, ServiceConfig},
    cluster::Cluster,
    env::SystemEnvironment,
    model::*,
    sim::{MemoryCluster, MemoryNetwork},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// A node with one ENI, three addresses bound from 10.0.1.10 on, nine granted, and twelve at most.
pub struct Published {
    pub cluster: MemoryCluster,
    pub network: Arc<MemoryNetwork>,
    pub eni: PoolEni,
}

/// An agent that runs.
pub struct Running {
    stop: oneshot::Sender<()>,
    agent: JoinHandle<Result<(), AgentError>>,
}

impl Published {
    pub async fn new() -> Self {
        let (cluster, network) = (MemoryCluster::new(), Arc::new(MemoryNetwork::new()));
        let attached = (10..13).map(|last| PoolAddress {
            ip: [10, 0, 1, last].into(),
            generation: Generation::from_random(1),
        });
        let eni = PoolEni {
            id: "eni-1".into(),
            mac: Mac([0x20, 0x90, 0x6f, 0, 0, 1]),
            subnet: "subnet-1".into(),
            cidr: "10.0.1.0/24".parse().unwrap(),
            gateway: "10.0.1.1".parse().unwrap(),
            primary: "10.0.1.2".parse().unwrap(),
            attached: attached.collect(),
            releasing: Vec::new(),
            reserved: [].into(),
            evicting: Vec::new(),
        };
        let config = NodeConfig {
            name: "node-1".into(),
            spec: NodeSpec {
                instance: "ins-1".into(),
                node_uid: "uid-1".into(),
                zone: "zone-1".into(),
                warm: None,
                limits: None,
            },
            pool: NodePool {
                enis: vec![eni.clone()],
                maximum: 9,
                capacity: 12,
                granted: 9,
                by_claim: false,
            },
            agent: AgentReport::default(),
        };
        network.attach(eni.mac);
        cluster.node_configs().create(config).await.unwrap();
        Self {
            cluster,
            network,
            eni,
        }
    }

    /// Starts its agent, whose files are in `directory` and its socket `agent.sock` there.
    pub fn start(&self, directory: &Path, change: impl FnOnce(&mut AgentConfig)) -> Running {
        let mut config = AgentConfig {
            node: "node-1".into(),
            instance: "ins-1".into(),
            endpoint: Endpoint::Unix(directory.join("agent.sock")),
            journal: directory.join("journal"),
            service: ServiceConfig::default(),
            dialogue: DialogueConfig::default(),
            collection: eni_core::gc::INTERVAL,
            results: Vec::new(),
            devices: None,
        };
        change(&mut config);
        let backends = Backends {
            cluster: Arc::new(self.cluster.clone()),
            network: self.network.clone(),
            sandboxes: None,
            environment: SystemEnvironment::shared(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        Running {
            stop,
            agent: tokio::spawn(run(config, backends, shutdown)),
        }
    }
}

impl Running {
    /// Ends it in good order.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.agent.await.unwrap().unwrap();
    }
}
