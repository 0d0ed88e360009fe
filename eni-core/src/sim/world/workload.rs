//! A workload: one pod after the other under the same name, as a StatefulSet's; its scheduler, its kubelet and
//! its container runtime.

use std::{sync::Arc, time::Duration};

use futures::future::{join, pending};
use tokio::time::{Instant, sleep, timeout};

use super::{
    core::World,
    event::Event,
    node::SimNode,
    plugin::{Failed, Sandbox},
    truth::{PodFact, SandboxFact},
};
use crate::model::{ClaimRequest, DeletePolicy, NodeName, Pod, PodKey, PodPhase, SandboxKey};

/// How often a kubelet looks at what it runs.
const LOOK: Duration = Duration::from_secs(1);

/// A workload.
#[derive(Clone)]
pub(super) struct Workload {
    pub(super) world: Arc<World>,
    pub(super) nodes: Arc<Vec<Arc<SimNode>>>,
    pub(super) number: usize,
}

impl Workload {
    /// One pod after the other, as long as things go wrong; then the last one stays.
    pub(super) async fn run(self) {
        loop {
            sleep(self.world.dice.millis(0, self.world.setting.lifetime / 4)).await;
            if self.world.is_calm() {
                return pending().await;
            }
            let Some(node) = self.schedule() else { continue };
            let pod = self.create(&node);
            let mut sandboxes = Vec::new();
            self.live(&node, &pod, &mut sandboxes).await;
            self.end(&pod, sandboxes).await;
        }
    }

    /// A node with room.
    fn schedule(&self) -> Option<Arc<SimNode>> {
        let most = self.world.setting.limits.pods() as usize;
        let room = |node: &&Arc<SimNode>| {
            let pods = self.world.truth(|truth| {
                let here = truth
                    .pods
                    .values()
                    .filter(|pod| pod.node == node.name && !pod.gone);
                here.filter(|pod| !pod.host_network).count()
            });
            node.machine().is_some() && pods < most
        };
        let fit: Vec<_> = self.nodes.iter().filter(room).collect();
        self.world.dice.pick(&fit).map(|node| (*node).clone())
    }

    /// Every other workload keeps its address; no dice are thrown for it.
    fn policy(&self) -> DeletePolicy {
        match self.number % 2 {
            0 => DeletePolicy::Never,
            _ => DeletePolicy::Immediate,
        }
    }

    fn create(&self, node: &SimNode) -> Pod {
        let pod = Pod {
            key: PodKey::new("default", format!("pod-{}", self.number)),
            uid: format!("uid-{}", self.world.number()).into(),
            node: Some(node.name.clone()),
            host_network: self.world.dice.chance(0.05),
            phase: PodPhase::Pending,
            claim: Ok(ClaimRequest {
                policy: Some(self.policy()),
                ..ClaimRequest::default()
            }),
            workload: None,
        };
        self.world.cluster.put_pod(pod.clone());
        self.world.truth(|truth| {
            let fact = PodFact {
                node: node.name.clone(),
                host_network: pod.host_network,
                gone: false,
                served: None,
            };
            truth.pods.insert(pod.uid.clone(), fact);
        });
        self.world
            .step(&node.name, "pod", format!("{} {}", pod.key, pod.uid), "scheduled");
        pod
    }

    /// Keeps the pod running until its time has come or its machine is gone.
    async fn live(&self, node: &Arc<SimNode>, pod: &Pod, sandboxes: &mut Vec<Sandbox>) {
        let dice = &self.world.dice;
        let Some(first) = node.machine() else { return };
        let end = Instant::now() + dice.millis(500, self.world.setting.lifetime);
        let rates = &self.world.setting.rates;
        while self.world.is_calm() || Instant::now() < end {
            match node.machine() {
                Some(machine) if machine.instance == first.instance => {}
                _ => return,
            }
            if pod.host_network {
                sleep(LOOK).await;
                continue;
            }
            let current = sandboxes.last().filter(|sandbox| self.runs(sandbox));
            let Some(current) = current else {
                for dead in std::mem::take(sandboxes) {
                    self.stop(dead).await;
                }
                if let Some(sandbox) = self.start(node, pod).await {
                    sandboxes.push(sandbox);
                } else {
                    sleep(dice.millis(200, 4_000)).await;
                }
                continue;
            };
            self.world.truth(|truth| {
                if let Some(fact) = truth.pods.get_mut(&pod.uid) {
                    fact.served = Some(current.key.clone());
                }
            });
            // A sandbox that dies is made anew, for the same pod.
            if self.world.strikes(rates.late_del / 20.0) {
                self.kill(current);
            }
            sleep(LOOK).await;
        }
    }

    fn runs(&self, sandbox: &Sandbox) -> bool {
        let facts = |truth: &mut super::truth::Truth| {
            truth
                .sandboxes
                .get(&sandbox.key.container)
                .is_some_and(|fact| fact.alive)
        };
        sandbox.addresses.is_some() && self.world.truth(facts)
    }

    /// A new sandbox with an address, or none.
    async fn start(&self, node: &Arc<SimNode>, pod: &Pod) -> Option<Sandbox> {
        let machine = node.machine()?;
        let number = self.world.number();
        let mut sandbox = Sandbox {
            node: node.clone(),
            machine: machine.clone(),
            key: SandboxKey::new("eni", format!("sandbox-{number}"), "eth0"),
            pod: pod.clone(),
            number,
            addresses: None,
        };
        machine.runtime.put(&sandbox.key.container, true);
        self.world.truth(|truth| {
            let fact = SandboxFact {
                node: node.name.clone(),
                uid: pod.uid.clone(),
                alive: true,
                number,
                acknowledged: None,
                deleted: false,
            };
            truth.sandboxes.insert(sandbox.key.container.clone(), fact);
        });
        let dice = &self.world.dice;
        let patience = dice.millis(5_000, 60_000);
        if self.world.strikes(self.world.setting.rates.orphan) {
            self.abandon(sandbox, patience).await;
            return None;
        }
        // A runtime that gives up first kills the plugin.
        let killed = if self.world.strikes(0.02) {
            dice.millis(0, 3_000)
        } else {
            patience * 2
        };
        let added = tokio::select! {
            biased;
            () = machine.process.until_cut() => return None,
            added = timeout(killed, sandbox.add(patience, None)) => added,
        };
        self.world.step(
            &node.name,
            "ADD",
            sandbox.key.to_string(),
            if matches!(added, Ok(Ok(_))) {
                "ok"
            } else {
                "failed"
            },
        );
        match added {
            Ok(Ok(addresses)) => {
                sandbox.acknowledge(addresses);
                Some(sandbox)
            }
            Ok(Err(Failed)) | Err(_) => {
                self.stop(sandbox).await;
                None
            }
        }
    }

    /// A runtime gives up on a plugin without ending it, and takes the sandbox down meanwhile. The plugin
    /// stalls for less than an address rests.
    async fn abandon(&self, sandbox: Sandbox, patience: Duration) {
        let dice = &self.world.dice;
        let (wait, stalls) = (dice.millis(0, 3_000), dice.millis(0, 3_000));
        let down = async {
            sleep(wait).await;
            self.delete(&sandbox).await;
        };
        let added = tokio::select! {
            biased;
            () = sandbox.machine.process.until_cut() => return,
            (added, ()) = join(sandbox.add(patience, Some(stalls)), down) => added,
        };
        let outcome = if added.is_ok() { "ok, too late" } else { "failed" };
        self.world
            .step(&sandbox.node.name, "ADD", sandbox.key.to_string(), outcome);
        if added.is_ok() {
            self.deleted(&sandbox);
        }
        self.kill(&sandbox);
        self.stop(sandbox).await;
    }

    /// Nothing is under way for a sandbox that was deleted, unless the agent was away.
    fn deleted(&self, sandbox: &Sandbox) {
        if !sandbox.is_spooled() {
            self.world.observe(&Event::Deleted {
                node: &sandbox.node.name,
                key: &sandbox.key,
            });
        }
    }

    /// The sandbox's namespace and processes are gone.
    fn kill(&self, sandbox: &Sandbox) {
        sandbox.machine.kernel.remove_namespace(&sandbox.netns());
        sandbox.machine.runtime.put(&sandbox.key.container, false);
        self.world.truth(|truth| {
            if let Some(fact) = truth.sandboxes.get_mut(&sandbox.key.container) {
                fact.alive = false;
            }
            if let Some(machine) = truth.machines.get_mut(&sandbox.node.name)
                && machine.instance == sandbox.machine.instance
            {
                machine.wired.remove(&sandbox.key);
            }
        });
        self.world
            .step(&sandbox.node.name, "sandbox", sandbox.key.to_string(), "dead");
    }

    /// Takes a sandbox down: in order, late, twice, or without a word to the plugin.
    async fn stop(&self, sandbox: Sandbox) {
        let (world, rates) = (&self.world, &self.world.setting.rates);
        if !self.is_here(&sandbox) {
            return;
        }
        if world.dice.chance(0.3) || world.strikes(rates.late_del) {
            self.kill(&sandbox);
        }
        if world.strikes(rates.late_del) {
            sleep(world.dice.millis(0, 150_000)).await;
        }
        // What a failed ADD left is always taken down: the runtime knows that it failed.
        if sandbox.addresses.is_none() || !world.strikes(rates.lost_del) {
            let times = if world.strikes(rates.double_del) { 2 } else { 1 };
            for _ in 0..times {
                self.delete(&sandbox).await;
            }
            self.deleted(&sandbox);
        }
        self.kill(&sandbox);
        sandbox.machine.runtime.remove(&sandbox.key.container);
    }

    /// DEL until it works, as long as the machine exists.
    async fn delete(&self, sandbox: &Sandbox) {
        loop {
            if !self.is_here(sandbox) {
                return;
            }
            // After a boot it is the new machine's plugin that runs.
            let Some(machine) = sandbox.node.machine() else {
                return;
            };
            let now = Sandbox {
                machine: machine.clone(),
                ..sandbox.clone()
            };
            let deleted = tokio::select! {
                biased;
                () = machine.process.until_cut() => Err(Failed),
                deleted = now.del() => deleted,
            };
            let outcome = if deleted.is_ok() { "ok" } else { "failed" };
            self.world
                .step(&sandbox.node.name, "DEL", sandbox.key.to_string(), outcome);
            if deleted.is_ok() {
                return;
            }
            sleep(self.world.dice.millis(500, 5_000)).await;
        }
    }

    /// Whether the sandbox's instance is still the node's.
    fn is_here(&self, sandbox: &Sandbox) -> bool {
        let machine = sandbox.node.machine();
        machine.is_some_and(|machine| machine.instance == sandbox.machine.instance)
    }

    /// The pod's end: finished, deleted in order, or deleted by force while its sandbox lives.
    async fn end(&self, pod: &Pod, sandboxes: Vec<Sandbox>) {
        let dice = &self.world.dice;
        if dice.chance(0.3) {
            self.world.truth(|truth| truth.bury(&pod.uid));
            self.world.cluster.put_pod(Pod {
                phase: PodPhase::Finished,
                ..pod.clone()
            });
            sleep(dice.millis(0, 5_000)).await;
        }
        let force = dice.chance(0.2);
        if force {
            self.forget(pod);
        }
        let stops = async |workload: Self| {
            for sandbox in sandboxes {
                workload.stop(sandbox).await;
            }
        };
        if force {
            // The next pod of this name need not wait for it.
            tokio::spawn(stops(self.clone()));
        } else {
            stops(self.clone()).await;
            self.forget(pod);
        }
    }

    fn forget(&self, pod: &Pod) {
        self.world.truth(|truth| truth.bury(&pod.uid));
        self.world.cluster.delete_pod(&pod.key);
        let node = pod.node.clone().unwrap_or_else(|| NodeName::from(""));
        self.world
            .step(&node, "pod", format!("{} {}", pod.key, pod.uid), "deleted");
    }
}
