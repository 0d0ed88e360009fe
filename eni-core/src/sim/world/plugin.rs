//! What the CNI plugin does for a sandbox, in the order in which the real one does it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    event::Event,
    handles::{Handle, SimNetwork},
    node::{Machine, Record, SimNode},
    process::Who,
};
use crate::{
    agent::{Add, Del, DelError, NodeService},
    allocator::AddressRequest,
    env::Environment,
    model::{Families, Netns, Origin, Pod, PodAddresses, SandboxKey},
    network::{NodeNetwork, PodInterface, PodWiring},
    sim::world::Bug,
};

/// A sandbox on a machine.
#[derive(Clone)]
pub(super) struct Sandbox {
    pub(super) node: Arc<SimNode>,
    pub(super) machine: Arc<Machine>,
    pub(super) key: SandboxKey,
    pub(super) pod: Pod,
    pub(super) number: u64,
    /// What the runtime remembers of the ADD.
    pub(super) addresses: Option<PodAddresses>,
}

/// The plugin could not do it; the runtime knows what to do.
#[derive(Debug)]
pub(super) struct Failed;

impl Sandbox {
    pub(super) fn netns(&self) -> String {
        format!("/run/netns/{}", self.key.container)
    }

    /// The boot clock.
    fn clock(&self) -> Duration {
        self.machine.environment.uptime().since
    }

    fn network(&self) -> SimNetwork {
        SimNetwork {
            handle: Handle::new(&self.node.world, Who::Plugin(self.node.name.clone())),
            node: self.node.name.clone(),
            kernel: self.machine.kernel.clone(),
            blind: false,
        }
    }

    fn interface(&self, addresses: Option<PodAddresses>) -> PodInterface {
        PodInterface {
            key: self.key.clone(),
            pod: Some(self.pod.key.clone()),
            addresses,
        }
    }

    /// Asks the agent; `None` if it is away, or goes away meanwhile.
    async fn ask<T, F: Future<Output = T>>(&self, question: impl FnOnce(Arc<NodeService>) -> F) -> Option<T> {
        let (process, service) = self.node.agent()?;
        tokio::select! {
            biased;
            () = process.until_cut() => None,
            answer = question(service) => Some(answer),
        }
    }

    /// ADD: asks the agent, wires, asks again. One that `stalls` wires only when the agent has given up
    /// holding its ADD, so long after that.
    pub(super) async fn add(
        &self,
        patience: Duration,
        stalls: Option<Duration>,
    ) -> Result<PodAddresses, Failed> {
        let uptime = self.machine.environment.uptime();
        let deadline = Instant::now() + patience;
        let add = Add {
            request: AddressRequest {
                key: self.key.clone(),
                pod: Some(self.pod.key.clone()),
                pod_uid: Some(self.pod.uid.clone()),
                families: Families::V4,
                origin: Some(Origin {
                    boot: uptime.boot,
                    netns: Some(Netns {
                        path: self.netns().into(),
                        device: 4,
                        inode: self.number,
                    }),
                    started: Some(uptime.since),
                }),
            },
            deadline,
            started: uptime.since,
        };
        let granted = self.ask(|service| async move { service.add(add).await }).await;
        let Some(Ok((grant, guard))) = granted else {
            return Err(Failed);
        };
        let mut guard = Some(guard);
        if let Some(stalls) = stalls {
            self.until_alone(deadline).await;
            guard = None;
            sleep(stalls).await;
        }
        let addresses = grant.allocation.addresses;
        let wiring = self.wiring(self.anothers().unwrap_or(addresses), grant.link.table);
        let network = self.network();
        let wired = network.wire(&wiring).await.is_ok();
        if wired && (self.node.world.has(Bug::AskOnce) || self.still_owns(addresses).await) {
            return Ok(addresses);
        }
        // An address that may still be on the wire is never given back.
        if network.unwire(&self.interface(Some(addresses))).await.is_ok() {
            drop(guard);
            self.give_back(self.clock(), Some(addresses)).await?;
        }
        Err(Failed)
    }

    /// What the first owner on the node has, where that is the mistake to be found.
    fn anothers(&self) -> Option<PodAddresses> {
        let wanted = self.node.world.has(Bug::WireAnothers);
        let (_, service) = self.node.agent().filter(|_| wanted)?;
        let owners = service.owners();
        owners.first().map(|(_, owned)| owned.addresses)
    }

    /// Until the agent holds nothing for this ADD any more: at the latest until its deadline.
    async fn until_alone(&self, deadline: Instant) {
        if let Some((process, _)) = self.node.agent() {
            tokio::select! {
                biased;
                () = process.until_cut() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    async fn still_owns(&self, addresses: PodAddresses) -> bool {
        let owned = self.ask(|service| async move { service.grant(&self.key) }).await;
        owned
            .flatten()
            .is_some_and(|grant| grant.allocation.addresses == addresses)
    }

    /// DEL: takes the interface off the wire, then gives its addresses back, also while the agent is away.
    pub(super) async fn del(&self) -> Result<(), Failed> {
        let started = self.clock();
        let network = self.network();
        let owned = self.ask(|service| async move { service.grant(&self.key) }).await;
        let addresses = owned
            .flatten()
            .map(|grant| grant.allocation.addresses)
            .or(self.addresses);
        let unwired = network.unwire(&self.interface(addresses)).await;
        unwired.map_err(|_| Failed)?;
        self.give_back(started, addresses).await
    }

    async fn give_back(&self, started: Duration, addresses: Option<PodAddresses>) -> Result<(), Failed> {
        self.node.world.truth(|truth| {
            if let Some(fact) = truth.sandboxes.get_mut(&self.key.container) {
                fact.deleted = true;
            }
        });
        for recorded in [false, true] {
            let key = self.victim();
            let del = Del {
                key,
                deadline: Instant::now() + Duration::from_secs(10),
                started,
            };
            match self.ask(|service| async move { service.del(del).await }).await {
                Some(Ok(None)) => return Ok(()),
                Some(Ok(Some(released))) => {
                    let interface = self.interface(Some(released.addresses));
                    return self.network().unwire(&interface).await.map_err(|_| Failed);
                }
                Some(Err(_)) => return Err(Failed),
                None if recorded => {}
                None => self.node.state.lock().spool.push(Record {
                    key: self.key.clone(),
                    started,
                    addresses,
                }),
            }
        }
        Ok(())
    }

    /// Whose addresses a DEL gives back.
    fn victim(&self) -> SandboxKey {
        let by_name = || {
            let (_, service) = self.node.agent()?;
            let owners = service.owners().into_iter();
            let mut same = owners.filter(|(_, owned)| owned.pod.as_ref() == Some(&self.pod.key));
            same.next_back().map(|(key, _)| key)
        };
        let named = self.node.world.has(Bug::DelByPodName).then(by_name).flatten();
        named.unwrap_or_else(|| self.key.clone())
    }

    /// CHECK: the agent still knows it, and the kernel is as it should be.
    pub(super) async fn check(&self) -> Result<(), String> {
        let owned = self.ask(|service| async move { service.grant(&self.key) }).await;
        let Some(grant) = owned.flatten() else {
            return Err("the agent serves it no addresses".to_owned());
        };
        if Some(grant.allocation.addresses) != self.addresses {
            return Err(format!("the agent says {}", grant.allocation.addresses));
        }
        let wiring = self.wiring(grant.allocation.addresses, grant.link.table);
        match self.network().verify(&wiring).await {
            Ok(wrong) if wrong.is_empty() => Ok(()),
            wrong => Err(format!("{wrong:?}")),
        }
    }

    fn wiring(&self, addresses: PodAddresses, table: u32) -> PodWiring {
        PodWiring {
            interface: self.interface(Some(addresses)),
            netns: self.netns(),
            addresses,
            table: Some(table),
            mtu: 1500,
        }
    }

    /// Whether a DEL waits for the agent to come back.
    pub(super) fn is_spooled(&self) -> bool {
        let state = self.node.state.lock();
        state.spool.iter().any(|record| record.key == self.key)
    }

    /// The runtime is told what it has.
    pub(super) fn acknowledge(&mut self, addresses: PodAddresses) {
        self.addresses = Some(addresses);
        self.node.world.observe(&Event::Acknowledge {
            node: &self.node.name,
            key: &self.key,
            addresses,
        });
    }
}

/// Replays what DELs recorded while no agent ran; whether all of it could be.
pub(super) async fn replay(node: &SimNode, service: &Arc<NodeService>, network: &dyn NodeNetwork) -> bool {
    loop {
        let Some(record) = node.state.lock().spool.first().cloned() else {
            return true;
        };
        let del = Del {
            key: record.key.clone(),
            deadline: Instant::now() + Duration::from_secs(10),
            started: record.started,
        };
        let released = match service.del(del).await {
            Ok(released) => released.map(|released| released.addresses),
            Err(DelError::Busy { .. } | DelError::Journal(_)) => return false,
        };
        let interface = PodInterface {
            key: record.key.clone(),
            pod: None,
            addresses: released.or(record.addresses),
        };
        if network.unwire(&interface).await.is_err() {
            return false;
        }
        node.state.lock().spool.retain(|other| *other != record);
    }
}
