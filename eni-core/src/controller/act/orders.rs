//! Actions that are orders to the cloud.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::{ActError, Actor, Round};
use crate::{
    cloud::{CloudError, CloudErrorKind, CloudResult, CreateEni},
    cluster::ClusterError,
    controller::inventory::Create,
    model::{EniId, EniRecord, Node, NodeConfig, PoolAddress, PoolEni, SubnetId},
};

/// How long an address counts as somebody else's once the cloud has said so.
const TAKEN: Duration = Duration::from_secs(60);

impl Actor {
    pub(super) async fn create(&self, round: &Round, record: EniRecord) -> Result<(), ActError> {
        let request = CreateEni {
            name: record.name.clone(),
            subnet: record.subnet.clone(),
            secondary: record.secondary,
            security_groups: Vec::new(),
            tags: self.config.tags.clone(),
            token: record.token.clone(),
        };
        match self.inventory.create(&request, &round.urgent).await {
            Create::Made(eni) => self.rewrite(record, |record| record.id = Some(eni.id)).await,
            // A record that no ENI will come of must not be counted on; the next plan makes another.
            Create::Refused(error) => {
                self.forget(&record).await?;
                Err(error.into())
            }
            Create::Open(error) => Err(error.into()),
        }
    }

    pub(super) async fn attach(&self, round: &Round, eni: &EniId) -> Result<(), ActError> {
        let config = self.desk.index().config(&round.node.name).cloned();
        let Some(instance) = config.map(|read| read.object.spec.instance) else {
            return Ok(());
        };
        let attached = self.inventory.attach(eni, &instance, &round.urgent).await;
        Ok(self.suspect(round, attached)?)
    }

    pub(super) async fn assign(
        &self,
        round: &Round,
        eni: &EniId,
        subnet: &SubnetId,
        count: u32,
    ) -> Result<(), ActError> {
        let assigned = self.inventory.assign(eni, subnet, count, &round.urgent).await;
        self.suspect(round, assigned)?;
        // An address that is being released may have been given anew: that is published before a listing shows
        // it, or it would look as if it had never gone.
        self.desk.change(|_| Some(round.node.name.clone()));
        Ok(())
    }

    /// Adds addresses that claims have. One that somebody else has is told to its claim, which decides.
    pub(super) async fn assign_exactly(
        &self,
        round: &Round,
        eni: &EniId,
        subnet: &SubnetId,
        addresses: Vec<IpAddr>,
    ) -> Result<(), ActError> {
        let taken = |error: &CloudError| error.kind == CloudErrorKind::AddressTaken;
        let assign = |addresses| {
            self.inventory
                .assign_exactly(eni, subnet, addresses, &round.urgent)
        };
        let mut assigned = assign(&addresses).await;
        if addresses.len() > 1 && assigned.as_ref().is_err_and(taken) {
            // All or nothing was added: of which one it was said is found one by one.
            for ip in &addresses {
                assigned = assign(std::slice::from_ref(ip)).await;
                if assigned.as_ref().is_err_and(taken) {
                    self.told_taken(&[*ip]);
                }
            }
        } else if assigned.as_ref().is_err_and(taken) {
            self.told_taken(&addresses);
        }
        self.suspect(round, assigned)?;
        self.desk.change(|index| {
            index.stir();
            Some(round.node.name.clone())
        });
        Ok(())
    }

    /// Moves an address here, if its node's shared object says now that nobody there can use it.
    pub(super) async fn migrate(
        &self,
        round: &Round,
        from: &EniId,
        to: &EniId,
        address: IpAddr,
    ) -> Result<(), ActError> {
        let owner = self.desk.index().owner(from, None);
        if let Some(owner) = owner {
            let told = |eni: &PoolEni| names(&eni.attached, address) || names(&eni.releasing, address);
            match self.cluster.node_configs().get(owner.as_str()).await {
                Ok(read) if read.object.pool.enis.iter().any(told) => return Ok(()),
                Ok(_) | Err(ClusterError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        tracing::info!(node = %round.node.name, %from, %to, %address, "an address moves to its pod");
        Ok(self.inventory.migrate(from, to, address, &round.urgent).await?)
    }

    fn told_taken(&self, addresses: &[IpAddr]) {
        let until = Instant::now() + TAKEN;
        self.desk.change(|index| {
            index.book.iter_mut().for_each(|book| book.take(addresses, until));
            None
        });
    }

    /// What should have fitted did not: what the instance can carry, and what it carries, is read again.
    fn suspect(&self, round: &Round, result: CloudResult<()>) -> CloudResult<()> {
        if let Err(error) = &result
            && error.kind == CloudErrorKind::Quota
            && let Some(instance) = &round.node.instance
        {
            self.inventory.suspect(instance);
        }
        result
    }

    /// Takes addresses off an ENI, if the shared object still says now that nobody can use them.
    pub(super) async fn unassign(
        &self,
        node: &Node,
        eni: &EniId,
        addresses: Vec<IpAddr>,
    ) -> Result<(), ActError> {
        let releasing = |published: Option<&PoolEni>, ip| {
            published.is_some_and(|eni| names(&eni.releasing, ip) && !names(&eni.attached, ip))
        };
        self.unassign_if(node, eni, addresses, releasing).await
    }

    /// Takes addresses off an ENI, if the shared object says now that the agent was never told of them.
    pub(super) async fn unassign_unpublished(
        &self,
        node: &Node,
        eni: &EniId,
        addresses: Vec<IpAddr>,
    ) -> Result<(), ActError> {
        let unpublished = |published: Option<&PoolEni>, ip| {
            published.is_none_or(|eni| !names(&eni.releasing, ip) && !names(&eni.attached, ip))
        };
        self.unassign_if(node, eni, addresses, unpublished).await
    }

    async fn unassign_if(
        &self,
        node: &Node,
        eni: &EniId,
        mut addresses: Vec<IpAddr>,
        may: impl Fn(Option<&PoolEni>, IpAddr) -> bool + Send,
    ) -> Result<(), ActError> {
        let read = self.cluster.node_configs().get(node.name.as_str()).await?;
        let config: NodeConfig = read.object;
        let published = config.pool.enis.iter().find(|published| published.id == *eni);
        addresses.retain(|ip| may(published, *ip));
        if addresses.is_empty() {
            return Ok(());
        }
        Ok(self.inventory.unassign(eni, &addresses).await?)
    }
}

fn names(list: &[PoolAddress], ip: IpAddr) -> bool {
    list.iter().any(|entry| entry.ip == ip)
}
