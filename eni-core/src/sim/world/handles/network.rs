//! A process's handle of its node's kernel.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Backend, Call, Handle, Trouble, at_once};
use crate::{
    model::{Mac, NodeName},
    network::{
        Discrepancy, EniLink, EniSetup, Leftover, NetworkError, NetworkResult, NodeNetwork, PodInterface,
        PodRoutes, PodWiring, Survey, Wired,
    },
    sim::{
        MemoryNetwork,
        world::{core::World, event::Event, process::Who},
    },
};

/// A process's handle of its node's kernel.
pub(in crate::sim::world) struct SimNetwork {
    pub(in crate::sim::world) handle: Handle,
    pub(in crate::sim::world) node: NodeName,
    pub(in crate::sim::world) kernel: Arc<MemoryNetwork>,
    /// Surveys show no pod.
    pub(in crate::sim::world) blind: bool,
}

impl SimNetwork {
    async fn ask<T: Send + 'static>(
        &self,
        action: &'static str,
        resource: String,
        execute: impl FnOnce(&World, &Who) -> NetworkResult<T> + Send + 'static,
    ) -> NetworkResult<T> {
        let call = Call {
            backend: Backend::Kernel,
            action,
            resource,
            writes: true,
        };
        let fail = |_: Trouble| NetworkError::Kernel {
            operation: action.to_owned(),
            message: "the simulation wants it so".to_owned(),
        };
        self.handle.call(call, fail, execute).await
    }
}

#[async_trait]
impl NodeNetwork for SimNetwork {
    async fn ensure_eni(&self, eni: &EniSetup) -> NetworkResult<EniLink> {
        let (kernel, eni) = (self.kernel.clone(), eni.clone());
        self.ask("ensure_eni", eni.mac.to_string(), move |_, _| {
            at_once(kernel.ensure_eni(&eni))
        })
        .await
    }

    async fn remove_eni(&self, mac: Mac) -> NetworkResult<()> {
        let kernel = self.kernel.clone();
        self.ask("remove_eni", mac.to_string(), move |_, _| {
            at_once(kernel.remove_eni(mac))
        })
        .await
    }

    async fn wire(&self, wiring: &PodWiring) -> NetworkResult<Wired> {
        let (kernel, node, wiring) = (self.kernel.clone(), self.node.clone(), wiring.clone());
        let resource = format!("{} {}", wiring.interface.key, wiring.addresses);
        self.ask("wire", resource, move |world, _| {
            let wired = at_once(kernel.wire(&wiring))?;
            world.observe(&Event::Wire {
                node: &node,
                wiring: &wiring,
            });
            Ok(wired)
        })
        .await
    }

    async fn unwire(&self, interface: &PodInterface) -> NetworkResult<()> {
        let (kernel, node, interface) = (self.kernel.clone(), self.node.clone(), interface.clone());
        self.ask("unwire", interface.key.to_string(), move |world, _| {
            at_once(kernel.unwire(&interface))?;
            world.truth(|truth| {
                if let Some(machine) = truth.machines.get_mut(&node) {
                    machine.wired.remove(&interface.key);
                }
            });
            Ok(())
        })
        .await
    }

    async fn verify(&self, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>> {
        let (kernel, wiring) = (self.kernel.clone(), wiring.clone());
        self.ask("verify", wiring.interface.key.to_string(), move |_, _| {
            at_once(kernel.verify(&wiring))
        })
        .await
    }

    async fn maintain(&self) -> NetworkResult<()> {
        Ok(())
    }

    async fn survey(&self) -> NetworkResult<Survey> {
        let (kernel, blind) = (self.kernel.clone(), self.blind);
        self.ask("survey", String::new(), move |_, _| {
            let mut survey = at_once(kernel.survey())?;
            if blind {
                survey.pods.clear();
            }
            Ok(survey)
        })
        .await
    }

    async fn repair(&self, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>> {
        let (kernel, pods) = (self.kernel.clone(), pods.to_vec());
        self.ask("repair", String::new(), move |_, _| at_once(kernel.repair(&pods)))
            .await
    }

    async fn clear(&self, leftover: Leftover) -> NetworkResult<()> {
        let kernel = self.kernel.clone();
        self.ask("clear", format!("{leftover:?}"), move |_, _| {
            at_once(kernel.clear(leftover))
        })
        .await
    }

    async fn list(&self) -> NetworkResult<Vec<String>> {
        let kernel = self.kernel.clone();
        self.ask("list", String::new(), move |_, _| at_once(kernel.list()))
            .await
    }
}
