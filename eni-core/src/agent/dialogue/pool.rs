//! The published pool on the node: its ENIs in service, former ones out of it, and whatever others took
//! away put back.

use std::collections::BTreeMap;

use super::Dialogue;
use crate::{
    agent::Witnesses,
    model::NodePool,
    network::{EniSetup, NetworkError, NetworkResult, WiredPod},
};

impl Dialogue {
    /// Sets up the ENIs of a pool, accepts it, and takes down what left it; whether all of that worked.
    pub(super) async fn put_into_service(&mut self, pool: &NodePool) -> bool {
        let mut settled = true;
        let mut links = BTreeMap::new();
        for eni in &pool.enis {
            let setup = EniSetup {
                mac: eni.mac,
                primary: eni.primary,
                cidr: eni.cidr,
                gateway: eni.gateway,
            };
            match self.network.ensure_eni(&setup).await {
                Ok(link) => {
                    if let Some(before) = self.service.link(eni.mac).filter(|before| *before != link) {
                        tracing::warn!(node = %self.node, eni = %eni.id, ?before, ?link, "the ENI's device was replaced");
                    }
                    links.insert(eni.id.clone(), link);
                }
                Err(error) => {
                    settled = false;
                    // What was in service and whose device is there still carries its pods.
                    let gone = matches!(error, NetworkError::NoDevice { .. });
                    match self.service.link(eni.mac).filter(|_| !gone) {
                        Some(link) => {
                            tracing::warn!(node = %self.node, eni = %eni.id, %error, "ENI could not be put right");
                            links.insert(eni.id.clone(), link);
                        }
                        None => {
                            tracing::info!(node = %self.node, eni = %eni.id, %error, "ENI is not in service yet");
                        }
                    }
                }
            }
        }
        // By the pools, not by the devices: a device may have gone while no agent ran.
        self.leaving
            .extend(self.service.published().enis.iter().map(|eni| eni.mac));
        pool.enis.iter().for_each(|eni| {
            self.leaving.remove(&eni.mac);
        });
        match self.service.accept(pool.clone(), &links).await {
            Ok(_) => self.report_losses().await,
            Err(error) => {
                tracing::error!(node = %self.node, %error, "the published pool is not in force");
                return false;
            }
        }
        for mac in self.leaving.clone() {
            match self.network.remove_eni(mac).await {
                Ok(()) => {
                    self.leaving.remove(&mac);
                }
                Err(error) => {
                    tracing::warn!(node = %self.node, %mac, %error, "routes of a former ENI remain");
                    settled = false;
                }
            }
        }
        settled
    }

    /// Puts back what others took away from pods on the wire. ENIs are put right by the next
    /// [`put_into_service`](Self::put_into_service).
    pub(super) async fn repair(&self) {
        match self.network.repair(&self.service.routes()).await {
            Ok(repaired) => {
                for found in &repaired {
                    tracing::warn!(node = %self.node, what = found.what, "put back what somebody took away");
                }
                self.service.count_repairs(repaired.len());
            }
            Err(error) => {
                tracing::warn!(node = %self.node, %error, "pods' rules and routes could not be put right");
            }
        }
    }

    /// Ends the recovery of a lost journal once the published pool is known; whether none is under way.
    pub(super) async fn recover(&self) -> bool {
        if !self.service.recovering() || self.published.is_none() {
            return true;
        }
        let witnesses = match self.wired().await {
            Ok(wired) => Witnesses {
                wired,
                ..self.witnesses.clone()
            },
            Err(error) => {
                tracing::warn!(node = %self.node, %error, "the owners of a lost journal are not known yet");
                return false;
            }
        };
        match self.service.recover(&witnesses).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(node = %self.node, %error, "the owners of a lost journal are not recorded yet");
                false
            }
        }
    }

    /// What one of two surveys saw: a busy kernel may leave something out of either.
    async fn wired(&self) -> NetworkResult<Vec<WiredPod>> {
        let surveys = [self.network.survey().await?, self.network.survey().await?];
        let wired = surveys.into_iter().flat_map(|survey| survey.pods);
        let wired: BTreeMap<_, _> = wired.map(|pod| (pod.key.clone(), pod)).collect();
        Ok(wired.into_values().collect())
    }
}
