//! Proof that nothing is left: everything that may be ours, in every place where it may be.

use eni_core::{
    cluster::{Cluster, Scope},
    model::EniKind,
};
use fabric::{dump::KernelDump, nodes::Node, vpc::Vpc};

use crate::system::System;

/// The kernels of all nodes before the system touched them.
#[derive(Debug)]
pub struct Baseline {
    dumps: Vec<KernelDump>,
}

impl Baseline {
    /// Reads the nodes as they are now.
    pub fn take(nodes: &[Node]) -> Result<Self, eni_netlink::socket::NetlinkError> {
        let dumps = nodes.iter().map(Node::dump).collect::<Result<_, _>>()?;
        Ok(Self { dumps })
    }

    /// What is left over in the kernels, the cloud and the cluster, by name. What cannot be read counts
    /// as left over.
    pub async fn leaks(&self, vpc: &Vpc, system: &System) -> Vec<String> {
        let mut leaks = Vec::new();
        for (node, before) in vpc.nodes.iter().zip(&self.dumps) {
            let name = &node.plan.name;
            match node.dump() {
                Ok(dump) => {
                    leaks.extend(
                        dump.differences(before)
                            .into_iter()
                            .map(|line| format!("{name}: {line}")),
                    );
                }
                Err(error) => leaks.push(format!("{name}: {error}")),
            }
            let config = system.node_config(node).await;
            for eni in config.iter().flat_map(|config| &config.pool.enis) {
                leaks.push(format!("cluster: NodeENIConfig {name} still has {}", eni.id));
            }
        }
        for eni in vpc.cloud.all_enis() {
            let secondary = eni.secondary_addresses().count();
            if eni.kind == EniKind::Secondary {
                leaks.push(format!(
                    "cloud: {} ({}, {:?}) still exists",
                    eni.id, eni.name, eni.state
                ));
            } else if secondary > 0 {
                leaks.push(format!(
                    "cloud: {} still has {secondary} secondary addresses",
                    eni.id
                ));
            }
        }
        let in_service = vpc.cloud.all_enis().len();
        let ports = vpc.fabric.enis().len();
        if ports != in_service {
            leaks.push(format!("router: {ports} ports for {in_service} ENIs"));
        }
        match system.cluster.eni_records().list(&Scope::All).await {
            Ok(records) => {
                let left = records.into_iter().map(|read| read.object.name);
                leaks.extend(left.map(|name| format!("cluster: VpcENI {name} still exists")));
            }
            Err(error) => leaks.push(format!("cluster: {error}")),
        }
        leaks
    }
}
