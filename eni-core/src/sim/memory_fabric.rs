//! The data plane between a memory cloud and the nodes' memory networks.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{Fabric, FabricChange, MemoryNetwork};
use crate::model::{EniId, InstanceId, Mac};

/// Makes the devices of a memory cloud's ENIs appear in its instances' [`MemoryNetwork`]s.
#[derive(Debug, Default)]
pub struct MemoryFabric {
    state: Mutex<Wires>,
}

#[derive(Debug, Default)]
struct Wires {
    networks: BTreeMap<InstanceId, Arc<MemoryNetwork>>,
    macs: BTreeMap<EniId, Mac>,
}

impl MemoryFabric {
    /// A fabric without instances.
    pub fn new() -> Self {
        Self::default()
    }

    /// The network of an instance; always the same one.
    pub fn network(&self, instance: &InstanceId) -> Arc<MemoryNetwork> {
        self.state
            .lock()
            .networks
            .entry(instance.clone())
            .or_default()
            .clone()
    }
}

impl Fabric for MemoryFabric {
    fn apply(&self, change: &FabricChange) {
        match change {
            FabricChange::EniAttached { eni, instance } => {
                self.state.lock().macs.insert(eni.id.clone(), eni.mac);
                self.network(instance).attach(eni.mac);
            }
            FabricChange::EniDetached { eni, instance } => {
                let mac = self.state.lock().macs.remove(eni);
                if let Some(mac) = mac {
                    self.network(instance).detach(mac);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::{Cloud, EniFilter},
        model::Limits,
        network::{EniSetup, NetworkError, NodeNetwork},
        sim::MemoryCloud,
    };

    #[tokio::test]
    async fn devices_follow_their_enis() {
        let fabric = Arc::new(MemoryFabric::new());
        let cloud = MemoryCloud::builder()
            .subnet("subnet-a", "zone-1", "10.0.0.0/24".parse().unwrap())
            .instance(
                "ins-a",
                "subnet-a",
                Limits {
                    enis: 2,
                    addresses_per_eni: 2,
                },
            )
            .fabric(fabric.clone())
            .build();
        let eni = cloud
            .enis(&EniFilter::Instance("ins-a".into()))
            .await
            .unwrap()
            .remove(0);
        let setup = EniSetup {
            mac: eni.mac,
            primary: eni.primary_address().unwrap(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: [10, 0, 0, 1].into(),
        };
        let network = fabric.network(&"ins-a".into());
        let link = network.ensure_eni(&setup).await.unwrap();
        assert_eq!(fabric.network(&"ins-a".into()).ensure_eni(&setup).await, Ok(link));

        cloud.detach_by_hand(&eni.id);
        assert_eq!(
            network.ensure_eni(&setup).await,
            Err(NetworkError::NoDevice { mac: eni.mac })
        );
        let left = network.list().await.unwrap();
        assert_eq!(left.len(), 1, "its table, until somebody clears it: {left:?}");
        cloud.attach_eni(&eni.id, &"ins-a".into()).await.unwrap();
        assert_ne!(network.ensure_eni(&setup).await.unwrap().index, link.index);
    }
}
