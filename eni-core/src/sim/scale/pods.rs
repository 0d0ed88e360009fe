//! The pods: each is scheduled, asks its node for an address until it has one, and may go again.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::{Scale, fleet::Fleet, region, report::Waits};
use crate::{
    agent::{Add, Del},
    allocator::AddressRequest,
    env::Environment,
    model::{Families, Pod, PodKey, PodPhase, SandboxKey, Uid},
    sim::{MemoryCluster, SimEnvironment},
};

/// How long one ADD waits at most, well within a runtime's two minutes.
const PATIENCE: Duration = Duration::from_secs(60);
/// After how long a kubelet makes another sandbox.
const AGAIN: Duration = Duration::from_secs(1);

/// All pods.
pub(super) struct Pods {
    cluster: MemoryCluster,
    environment: Arc<SimEnvironment>,
    fleet: Arc<Fleet>,
    limit: u32,
    state: Mutex<State>,
}

struct State {
    dice: fastrand::Rng,
    begun: u32,
    living: Vec<Living>,
    on: Vec<u32>,
    waits: Vec<Duration>,
    failed: u64,
    last: Instant,
}

/// A pod, by its number, on its node; and which of its sandboxes it has come to.
#[derive(Clone, Copy)]
struct Living {
    number: u32,
    node: u32,
    attempt: u32,
}

impl Pods {
    pub(super) fn new(
        scale: &Scale,
        cluster: MemoryCluster,
        environment: Arc<SimEnvironment>,
        fleet: Arc<Fleet>,
    ) -> Arc<Self> {
        let state = State {
            dice: fastrand::Rng::with_seed(scale.seed),
            begun: 0,
            living: Vec::new(),
            on: vec![0; scale.nodes as usize],
            waits: Vec::new(),
            failed: 0,
            last: Instant::now(),
        };
        Arc::new(Self {
            cluster,
            environment,
            fleet,
            limit: scale.ceiling(),
            state: Mutex::new(state),
        })
    }

    /// Schedules a pod to a node, whose runtime makes a sandbox for it.
    pub(super) fn begin(self: &Arc<Self>, node: u32) {
        let number = {
            let mut state = self.state.lock();
            state.begun += 1;
            state.on[node as usize] += 1;
            state.begun
        };
        let pod = Living {
            number,
            node,
            attempt: 0,
        };
        self.cluster.put_pod(Pod {
            key: pod.key(),
            uid: pod.uid(),
            node: Some(region::node(node)),
            host_network: false,
            phase: PodPhase::Pending,
            claim: Ok(Default::default()),
            workload: None,
        });
        tokio::spawn(self.clone().serve(pod));
    }

    /// Replaces a pod by another one on any node with room for it.
    pub(super) fn replace(self: &Arc<Self>) {
        let (old, node) = {
            let mut state = self.state.lock();
            if state.living.is_empty() {
                return;
            }
            let living = state.living.len();
            let index = state.dice.usize(..living);
            let old = state.living.swap_remove(index);
            state.on[old.node as usize] -= 1;
            let nodes = state.on.len();
            let node = loop {
                let node = state.dice.usize(..nodes);
                if state.on[node] < self.limit {
                    break node as u32;
                }
            };
            (old, node)
        };
        tokio::spawn(self.clone().end(old));
        self.begin(node);
    }

    /// How many have addresses, of all that were ever begun.
    pub(super) fn served(&self) -> usize {
        self.state.lock().waits.len()
    }

    /// How long those that were served since the last time had waited; and when the last one was served.
    pub(super) fn take_waits(&self) -> (Waits, Instant) {
        let mut state = self.state.lock();
        let waits = Waits::new(
            std::mem::take(&mut state.waits),
            std::mem::take(&mut state.failed),
        );
        (waits, state.last)
    }

    async fn serve(self: Arc<Self>, mut pod: Living) {
        let begun = Instant::now();
        loop {
            let add = Add {
                request: AddressRequest {
                    key: pod.sandbox(),
                    pod: Some(pod.key()),
                    pod_uid: Some(pod.uid()),
                    families: Families::V4,
                    origin: None,
                },
                deadline: Instant::now() + PATIENCE,
                started: self.environment.uptime().since,
            };
            match self.fleet.service(pod.node).add(add).await {
                Ok(_) => break,
                Err(error) => tracing::debug!(pod = %pod.key(), %error, "another sandbox is made"),
            }
            self.state.lock().failed += 1;
            self.delete(pod).await;
            pod.attempt += 1;
            sleep(AGAIN).await;
        }
        let mut state = self.state.lock();
        state.living.push(pod);
        state.waits.push(begun.elapsed());
        state.last = Instant::now();
    }

    /// The runtime takes the sandbox down, and then the pod's object goes.
    async fn end(self: Arc<Self>, pod: Living) {
        self.delete(pod).await;
        self.cluster.delete_pod(&pod.key());
    }

    async fn delete(&self, pod: Living) {
        let del = Del {
            key: pod.sandbox(),
            deadline: Instant::now() + PATIENCE,
            started: self.environment.uptime().since,
        };
        let deleted = self.fleet.service(pod.node).del(del).await;
        deleted.expect("a journal in memory takes it, and no call for the sandbox is under way");
    }
}

impl Living {
    fn key(self) -> PodKey {
        PodKey::new("default", format!("pod-{}", self.number))
    }

    fn uid(self) -> Uid {
        format!("uid-of-pod-{}", self.number).into()
    }

    fn sandbox(self) -> SandboxKey {
        SandboxKey::new("eni", format!("sandbox-{}-{}", self.number, self.attempt), "eth0")
    }
}
