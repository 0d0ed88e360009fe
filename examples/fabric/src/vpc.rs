//! The VPC: a memory cloud, its data plane in the kernel, and the nodes in it.

use std::{fs, io, path::Path, sync::Arc};

use eni_core::{
    cloud::{Cloud, CloudError, EniFilter},
    model::EniKind,
    sim::{Latency, MemoryCloud},
};

use crate::{
    data_plane::{FabricError, VpcFabric},
    nodes::Node,
    topology::{LIMITS, Topology},
};

/// A VPC with nodes whose primary ENIs work.
#[derive(Debug)]
pub struct Vpc {
    /// What was planned.
    pub topology: Topology,
    /// The data plane.
    pub fabric: Arc<VpcFabric>,
    /// The cloud.
    pub cloud: MemoryCloud,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// Why there is no VPC.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VpcError {
    /// The data plane.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// A node.
    #[error("a node cannot be made: {0}")]
    Node(#[from] io::Error),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// An instance came without a primary ENI.
    #[error("instance of {0} has no primary ENI; this is a defect of the memory cloud")]
    NoPrimary(String),
}

impl Vpc {
    /// Builds the VPC with its files in `run`.
    pub async fn build(run: &Path, topology: Topology, latency: Latency) -> Result<Self, VpcError> {
        let namespaces = run.join("netns");
        fs::create_dir(&namespaces)?;
        let fabric = VpcFabric::create(namespaces.join("router"), &topology)?;
        let mut prepared = Vec::new();
        for plan in &topology.nodes {
            let namespace = Node::namespace(namespaces.join(plan.name.as_str()))?;
            fabric.connect(plan.instance.clone(), namespace.path())?;
            prepared.push(namespace);
        }
        let cloud = build_cloud(&topology, fabric.clone(), latency);
        let mut nodes = Vec::new();
        for (plan, namespace) in topology.nodes.iter().zip(prepared) {
            let enis = cloud.enis(&EniFilter::Instance(plan.instance.clone())).await?;
            let primary = enis.iter().find(|eni| eni.kind == EniKind::Primary);
            let primary = primary.ok_or_else(|| VpcError::NoPrimary(plan.name.to_string()))?;
            nodes.push(Node::boot(
                plan.clone(),
                namespace,
                run.join(plan.name.as_str()),
                primary,
            )?);
        }
        Ok(Self {
            topology,
            fabric,
            cloud,
            nodes,
        })
    }
}

fn build_cloud(topology: &Topology, fabric: Arc<VpcFabric>, latency: Latency) -> MemoryCloud {
    let mut builder = MemoryCloud::builder().latency(latency).fabric(fabric);
    for subnet in &topology.subnets {
        builder = builder.subnet(subnet.id.clone(), subnet.zone.clone(), subnet.range());
    }
    for node in &topology.nodes {
        builder = builder.instance(node.instance.clone(), node.subnet.id.clone(), LIMITS);
    }
    builder.build()
}
