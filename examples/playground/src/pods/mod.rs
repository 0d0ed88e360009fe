//! Pods: a stand-in for the scheduler and the kubelets, around a stand-in for the container runtime.

mod runtime;

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use eni_core::{
    model::{NodeName, Pod, PodKey, PodPhase, Uid},
    sim::MemoryCluster,
};
use fabric::netns::NamedNamespace;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{sync::Semaphore, time::sleep};

pub use runtime::{Added, CniError, Runtime, Sandbox};

/// Calls of plugins on one node at the same time, as on a node that starts many pods.
const CALLS: usize = 16;
/// Pods that are replaced at the same time during a churn.
const CHURN: usize = 4;
/// How often a call is tried before its pod counts as failed. Kubelet would go on for ever.
const ATTEMPTS: u32 = 5;
/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// The pods of the cluster.
#[derive(Debug)]
pub struct Pods {
    cluster: MemoryCluster,
    namespaces: PathBuf,
    hosts: Vec<Host>,
    random: Mutex<fastrand::Rng>,
    state: Mutex<State>,
}

/// A pod that runs.
#[derive(Debug)]
pub struct RunningPod {
    /// The node's position.
    pub host: usize,
    /// Its address.
    pub address: Ipv4Addr,
    /// The path of its network namespace.
    pub netns: PathBuf,
    sandbox: Sandbox,
    result: Value,
    namespace: NamedNamespace,
}

/// What was measured so far.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long each successful ADD took, with its node's position.
    pub adds: Vec<(usize, Duration)>,
    /// How long each successful DEL took.
    pub dels: Vec<Duration>,
    /// Calls that failed, whether or not a repetition succeeded.
    pub failures: Vec<String>,
    /// Addresses that a pod got while another had them.
    pub duplicates: Vec<String>,
}

#[derive(Debug)]
struct Host {
    name: NodeName,
    runtime: Runtime,
    calls: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<PodKey, RunningPod>,
    scheduled: Vec<usize>,
    created: u32,
    measured: Measured,
}

impl Pods {
    /// No pods yet, on nodes with these runtimes; `namespaces` is where theirs are mounted.
    pub fn new(
        cluster: MemoryCluster,
        namespaces: PathBuf,
        hosts: Vec<(NodeName, Runtime)>,
        seed: u64,
    ) -> Self {
        let host = |(name, runtime)| Host {
            name,
            runtime,
            calls: Semaphore::new(CALLS),
        };
        let hosts: Vec<Host> = hosts.into_iter().map(host).collect();
        let state = State {
            scheduled: vec![0; hosts.len()],
            ..State::default()
        };
        Self {
            cluster,
            namespaces,
            hosts,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            state: Mutex::new(state),
        }
    }

    /// Schedules `count` pods at once, then starts them; `done` hears of each that runs.
    pub async fn create(&self, count: u32, mut done: impl FnMut(usize)) {
        let scheduled: Vec<_> = (0..count).map(|_| self.schedule()).collect();
        let starts = scheduled.into_iter().map(|(pod, host)| self.start(pod, host));
        let mut results = stream::iter(starts).buffer_unordered(self.hosts.len() * CALLS);
        let mut ready = 0;
        while let Some(started) = results.next().await {
            ready += usize::from(started);
            done(ready);
        }
    }

    /// Replaces random pods until `deadline`; returns how many.
    pub async fn churn(&self, deadline: Instant, mut done: impl FnMut(usize)) -> usize {
        let rounds = std::iter::repeat_with(|| self.replace_one()).take_while(|_| Instant::now() < deadline);
        let mut replaced = stream::iter(rounds).buffer_unordered(CHURN);
        let mut count = 0;
        while replaced.next().await.is_some() {
            count += 1;
            done(count);
        }
        count
    }

    /// Deletes every pod; `done` hears of each that is gone.
    pub async fn delete_all(&self, mut done: impl FnMut(usize)) {
        let running = std::mem::take(&mut self.state.lock().running);
        let stops = running.into_values().map(|pod| self.stop(pod));
        let mut results = stream::iter(stops).buffer_unordered(self.hosts.len() * CALLS);
        let mut gone = 0;
        while results.next().await.is_some() {
            gone += 1;
            done(gone);
        }
    }

    /// Calls `each` for every pod that runs, in the order of names.
    pub fn for_each(&self, mut each: impl FnMut(&PodKey, &RunningPod)) {
        self.state
            .lock()
            .running
            .iter()
            .for_each(|(key, pod)| each(key, pod));
    }

    /// How many pods run.
    pub fn ready(&self) -> usize {
        self.state.lock().running.len()
    }

    /// What was measured so far.
    pub fn measured(&self) -> Measured {
        self.state.lock().measured.clone()
    }

    /// Puts a new pod on the node with the fewest.
    fn schedule(&self) -> (Pod, usize) {
        let mut state = self.state.lock();
        let host = (0..self.hosts.len())
            .min_by_key(|host| state.scheduled[*host])
            .unwrap_or_default();
        state.scheduled[host] += 1;
        state.created += 1;
        let pod = Pod {
            key: PodKey::new("default", format!("pod-{}", state.created)),
            uid: Uid::from(self.identifier()),
            node: Some(self.hosts[host].name.clone()),
            host_network: false,
            phase: PodPhase::Pending,
            claim: Ok(Default::default()),
            workload: None,
        };
        drop(state);
        self.cluster.put_pod(pod.clone());
        (pod, host)
    }

    /// Starts a pod as kubelet does, with a new sandbox for each attempt; whether it runs.
    async fn start(&self, mut pod: Pod, host: usize) -> bool {
        for _ in 0..ATTEMPTS {
            match self.try_start(&pod, host).await {
                Ok(running) => {
                    pod.phase = PodPhase::Running;
                    self.cluster.put_pod(pod.clone());
                    self.insert(pod.key, running);
                    return true;
                }
                Err(message) => {
                    tracing::warn!(pod = %pod.key, node = %self.hosts[host].name, message, "ADD failed");
                    self.state
                        .lock()
                        .measured
                        .failures
                        .push(format!("{}: {message}", pod.key));
                }
            }
            sleep(PAUSE).await;
        }
        false
    }

    async fn try_start(&self, pod: &Pod, host: usize) -> Result<RunningPod, String> {
        let Host { runtime, calls, .. } = &self.hosts[host];
        let _call = calls.acquire().await.map_err(|error| error.to_string())?;
        let container = self.identifier();
        let path = self.namespaces.join(format!("cni-{}", &container[..16]));
        let namespace = NamedNamespace::create(path.clone()).map_err(|error| error.to_string())?;
        let sandbox = Sandbox {
            container,
            netns: path.clone(),
            pod: pod.key.clone(),
            uid: pod.uid.clone(),
        };
        match runtime.add(&sandbox).await {
            Ok((Added { address, result }, took)) => {
                self.state.lock().measured.adds.push((host, took));
                Ok(RunningPod {
                    host,
                    address,
                    netns: path,
                    sandbox,
                    result,
                    namespace,
                })
            }
            Err(error) => {
                // The specification: a failed ADD is followed by a DEL.
                self.del(runtime, &sandbox, None).await;
                Err(error.to_string())
            }
        }
    }

    fn insert(&self, key: PodKey, pod: RunningPod) {
        let mut state = self.state.lock();
        let holder = state
            .running
            .iter()
            .find(|(_, other)| other.address == pod.address);
        if let Some((other, _)) = holder {
            let message = format!("{key} got {}, which {other} has", pod.address);
            state.measured.duplicates.push(message);
        }
        state.running.insert(key, pod);
    }

    async fn replace_one(&self) {
        let victim = {
            let mut state = self.state.lock();
            let position = self.random.lock().usize(..state.running.len().max(1));
            let key = state.running.keys().nth(position).cloned();
            key.and_then(|key| state.running.remove(&key))
        };
        if let Some(victim) = victim {
            self.stop(victim).await;
        }
        let (pod, host) = self.schedule();
        self.start(pod, host).await;
    }

    /// Takes a pod down as kubelet does: its sandbox first, then its object.
    async fn stop(&self, pod: RunningPod) {
        let Host { runtime, calls, .. } = &self.hosts[pod.host];
        if let Ok(_call) = calls.acquire().await {
            self.del(runtime, &pod.sandbox, Some(&pod.result)).await;
        }
        drop(pod.namespace);
        self.state.lock().scheduled[pod.host] -= 1;
        self.cluster.delete_pod(&pod.sandbox.pod);
    }

    async fn del(&self, runtime: &Runtime, sandbox: &Sandbox, result: Option<&Value>) {
        for _ in 0..ATTEMPTS {
            match runtime.del(sandbox, result).await {
                Ok(took) => {
                    self.state.lock().measured.dels.push(took);
                    return;
                }
                Err(error) => {
                    tracing::warn!(pod = %sandbox.pod, %error, "DEL failed");
                    self.state
                        .lock()
                        .measured
                        .failures
                        .push(format!("{}: {error}", sandbox.pod));
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// 256 random bits in hexadecimal, as container runtimes name their containers.
    fn identifier(&self) -> String {
        let mut random = self.random.lock();
        (0..4).map(|_| format!("{:016x}", random.u64(..))).collect()
    }
}
