//! A node: a machine that boots and dies, a disk that outlives it, and an agent that is started again
//! whenever it falls.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{task::JoinSet, time::sleep};

use super::{
    Bug,
    core::World,
    handles::{Handle, SimCluster, SimJournal, SimNetwork, SimSandboxes},
    plugin,
    process::{Process, Who},
    truth::MachineFact,
};
use crate::{
    agent::{Dialogue, DialogueConfig, NodePods, NodeService, Release, ServiceConfig},
    cluster::WatchEvent,
    gc::NodeCollector,
    journal::MemoryJournal,
    model::{InstanceId, Node, NodeName, NodePool, PodAddresses, SandboxKey},
    sim::{MemoryCluster, MemoryNetwork, MemorySandboxes, SimEnvironment},
};

/// A node.
pub(super) struct SimNode {
    pub(super) name: NodeName,
    pub(super) world: Arc<World>,
    pub(super) state: Mutex<State>,
}

/// What a node is now.
#[derive(Default)]
pub(super) struct State {
    pub(super) machine: Option<Arc<Machine>>,
    pub(super) agent: Option<(Arc<Process>, Arc<NodeService>)>,
    pub(super) connection: Option<MemoryCluster>,
    /// DELs that met no agent.
    pub(super) spool: Vec<Record>,
}

/// One boot of one instance.
pub(super) struct Machine {
    pub(super) process: Arc<Process>,
    pub(super) instance: InstanceId,
    pub(super) kernel: Arc<MemoryNetwork>,
    pub(super) runtime: Arc<MemorySandboxes>,
    pub(super) disk: MemoryJournal,
    pub(super) environment: Arc<SimEnvironment>,
}

/// A DEL that the agent replays before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: SandboxKey,
    pub(super) started: Duration,
    pub(super) addresses: Option<PodAddresses>,
}

impl SimNode {
    pub(super) fn new(world: &Arc<World>, name: NodeName) -> Arc<Self> {
        Arc::new(Self {
            name,
            world: world.clone(),
            state: Mutex::default(),
        })
    }

    pub(super) fn machine(&self) -> Option<Arc<Machine>> {
        self.state.lock().machine.clone()
    }

    /// The agent, while it serves.
    pub(super) fn agent(&self) -> Option<(Arc<Process>, Arc<NodeService>)> {
        let agent = self.state.lock().agent.clone();
        agent.filter(|(process, _)| !process.is_cut())
    }

    /// A new instance boots and joins the cluster.
    pub(super) fn join(self: &Arc<Self>, instance: InstanceId) {
        let world = &self.world;
        let environment = Arc::new(SimEnvironment::new(world.seed ^ (world.number() << 32)));
        self.boot(Arc::new(Machine {
            process: Arc::new(Process::new(Who::Machine(self.name.clone()))),
            kernel: world.fabric.network(&instance),
            instance: instance.clone(),
            runtime: Arc::default(),
            disk: MemoryJournal::new(),
            environment,
        }));
        self.state.lock().spool.clear();
        world.cluster.put_node(Node {
            name: self.name.clone(),
            uid: format!("uid-{}-{instance}", self.name).into(),
            instance: Some(instance),
            zone: Some("zone-1".into()),
            max_pods: None,
            silent: None,
        });
    }

    /// The machine is down and up again: no sandbox, no rule, no process; the disk is kept or lost.
    pub(super) fn reboot(self: &Arc<Self>, lose_disk: bool) {
        let Some(machine) = self.machine() else { return };
        machine.process.cut();
        machine.kernel.reboot();
        machine.environment.reboot();
        self.world.truth(|truth| {
            truth.kill_sandboxes(&self.name);
            if lose_disk {
                truth.lose_disk(&self.name);
            }
        });
        if lose_disk {
            self.state.lock().spool.clear();
        }
        let disk = if lose_disk {
            MemoryJournal::new()
        } else {
            machine.disk.clone()
        };
        self.boot(Arc::new(Machine {
            process: Arc::new(Process::new(Who::Machine(self.name.clone()))),
            instance: machine.instance.clone(),
            kernel: machine.kernel.clone(),
            runtime: Arc::default(),
            disk,
            environment: machine.environment.clone(),
        }));
    }

    /// The machine is gone for good.
    pub(super) fn terminate(&self) -> Option<InstanceId> {
        let machine = self.state.lock().machine.take()?;
        machine.process.cut();
        self.world.truth(|truth| {
            truth.kill_sandboxes(&self.name);
            truth.lose_machine(&self.name);
        });
        Some(machine.instance.clone())
    }

    fn boot(self: &Arc<Self>, machine: Arc<Machine>) {
        let (world, limits) = (&self.world, self.world.setting.limits);
        world.truth(|truth| {
            let fact = truth
                .machines
                .entry(self.name.clone())
                .or_insert_with(|| MachineFact {
                    instance: machine.instance.clone(),
                    capacity: limits.pods() as usize,
                    booted: tokio::time::Instant::now(),
                    owned: Default::default(),
                    held: Default::default(),
                    pool: NodePool::default(),
                    wired: Default::default(),
                });
            fact.booted = tokio::time::Instant::now();
        });
        self.state.lock().machine = Some(machine.clone());
        tokio::spawn(self.clone().supervise(machine));
    }

    /// Starts the agent, again and again, as long as the machine is up.
    async fn supervise(self: Arc<Self>, machine: Arc<Machine>) {
        let world = &self.world;
        loop {
            let handle = Handle::new(world, Who::Agent(self.name.clone()));
            let mut tasks = JoinSet::new();
            tasks.spawn(self.clone().serve(machine.clone(), handle.clone()));
            tokio::select! {
                biased;
                () = machine.process.until_cut() => {}
                () = handle.process.until_cut() => {}
                _ = tasks.join_next() => {}
            }
            // First nothing reaches a backend any more, then the tasks are dropped.
            handle.process.cut();
            if !machine.process.is_cut() {
                self.state.lock().agent = None;
            }
            tasks.shutdown().await;
            world.step(&handle.process.who, "end", String::new(), "");
            if machine.process.is_cut() {
                return;
            }
            let longest = if world.is_calm() { 1_000 } else { 20_000 };
            sleep(world.dice.millis(100, longest)).await;
        }
    }

    /// The node's way to the cluster. What is wrong with it is so for the next agent, too.
    fn connection(&self) -> MemoryCluster {
        let mut state = self.state.lock();
        let connect = || self.world.cluster.connect();
        state.connection.get_or_insert_with(connect).clone()
    }

    /// One life of the agent; it ends when it cannot begin.
    async fn serve(self: Arc<Self>, machine: Arc<Machine>, handle: Handle) {
        let setting = &self.world.setting;
        let connection = self.connection();
        let cluster = Arc::new(SimCluster {
            handle: handle.clone(),
            connection,
        });
        let network = Arc::new(SimNetwork {
            handle: handle.clone(),
            node: self.name.clone(),
            kernel: machine.kernel.clone(),
            blind: false,
        });
        let journal = Arc::new(SimJournal {
            handle: handle.clone(),
            node: self.name.clone(),
            disk: machine.disk.clone(),
        });
        let opened = NodeService::open(journal, machine.environment.clone(), ServiceConfig::default());
        let Ok(service) = opened.await else { return };
        if !plugin::replay(&self, &service, &*network).await {
            return;
        }
        let config = DialogueConfig {
            release: if setting.quick_release {
                Release::Quick
            } else {
                Release::Slow
            },
            release_interval: setting.release_interval,
            report_interval: Duration::from_secs(5),
            ..DialogueConfig::default()
        };
        let dialogue = Dialogue::new(
            self.name.clone(),
            machine.instance.clone(),
            service.clone(),
            cluster,
            network.clone(),
            config,
        );
        let sandboxes = Arc::new(SimSandboxes {
            handle: handle.clone(),
            runtime: machine.runtime.clone(),
        });
        let eyes = Arc::new(SimNetwork {
            handle: handle.clone(),
            node: self.name.clone(),
            kernel: machine.kernel.clone(),
            blind: self.world.has(Bug::BlindToSandboxes),
        });
        let pods = match self.world.has(Bug::BlindToPods) {
            true => no_pods(),
            false => dialogue.pods(),
        };
        let collector = NodeCollector::new(service.clone(), eyes, sandboxes, pods);
        self.state.lock().agent = Some((handle.process.clone(), service.clone()));
        futures::join!(dialogue.run(), service.run(), collector.run(setting.collection));
    }
}

/// What a collector knows that takes what it was not told for gone.
fn no_pods() -> Arc<NodePods> {
    let pods = NodePods::default();
    pods.learn(WatchEvent::Reset(Vec::new()));
    Arc::new(pods)
}
