//! What goes wrong by itself, second by second, and how all of it is put right in the end.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{core::World, ipamd::Ipamd, node::SimNode};
use crate::{
    model::{Eni, EniKind, EniState, NodeName, SubnetId},
    sim::MemoryCluster,
};

/// The troublemaker.
pub(super) struct Chaos {
    pub(super) world: Arc<World>,
    pub(super) nodes: Arc<Vec<Arc<SimNode>>>,
    pub(super) ipamd: Arc<Ipamd>,
    pub(super) subnets: Vec<SubnetId>,
    /// What others hold of a subnet.
    pub(super) taken: Mutex<Vec<(SubnetId, Vec<std::net::IpAddr>)>>,
}

impl Chaos {
    /// Makes trouble until the world is calm.
    pub(super) async fn run(self: Arc<Self>) {
        let rates = self.world.setting.rates;
        while !self.world.is_calm() {
            sleep(Duration::from_secs(1)).await;
            let strikes = |rate| self.world.strikes(rate);
            if strikes(rates.stale) {
                self.lag();
            }
            if strikes(rates.outage) {
                let length = self.world.dice.millis(2_000, 90_000);
                self.note("outage", format!("{length:?}"));
                self.world.set_outage(length);
            }
            if strikes(rates.by_hand) {
                match self.world.setting.claims && self.world.dice.chance(0.5) {
                    true => self.delete_claim(),
                    false => self.meddle(),
                }
            }
            if strikes(rates.exhaustion) {
                self.exhaust();
            }
            if strikes(rates.watch_lag) {
                self.connection(|connection, world| {
                    connection.set_watch_delay(world.dice.millis(100, 10_000));
                    "watch lag"
                });
            }
            if strikes(rates.relist) {
                self.connection(|connection, _| {
                    connection.interrupt_watches();
                    "relist"
                });
            }
            if strikes(rates.partition) {
                self.connection(|connection, world| {
                    connection.set_available(false);
                    let (connection, time) = (connection.clone(), world.dice.millis(500, 60_000));
                    tokio::spawn(async move {
                        sleep(time).await;
                        connection.set_available(true);
                    });
                    "partition"
                });
            }
            if strikes(rates.leader_change) {
                self.note("leader change", String::new());
                self.ipamd.isolate();
            }
            self.trouble_a_node();
        }
    }

    fn trouble_a_node(&self) {
        let (world, rates) = (&self.world, self.world.setting.rates);
        let Some(node) = world.dice.pick(&self.nodes) else {
            return;
        };
        if world.strikes(rates.reboot) {
            let lose_disk = world.dice.chance(rates.journal_loss);
            self.note("reboot", format!("{} disk lost: {lose_disk}", node.name));
            node.reboot(lose_disk);
        }
        if world.strikes(rates.clock_jump)
            && let Some(machine) = node.machine()
        {
            let seconds = world.dice.between(0, 7200) as i64 - 3600;
            self.note("clock jump", format!("{} {seconds} s", node.name));
            machine.environment.jump(SignedDuration::from_secs(seconds));
        }
        if world.strikes(rates.object_loss) {
            self.note("object loss", node.name.to_string());
            let store = crate::cluster::Cluster::node_configs(&world.cluster);
            let name = node.name.clone();
            world.truth(|truth| truth.configs.remove(&name));
            tokio::spawn(async move {
                let gone = store.delete(name.as_str(), None).await;
                gone.expect("the world's own connection never fails");
            });
        }
        if world.strikes(rates.termination) {
            self.terminate(node.clone());
        }
    }

    /// An instance goes, with or without its Node object; another may take the name.
    fn terminate(&self, node: Arc<SimNode>) {
        let Some(instance) = node.terminate() else { return };
        let world = self.world.clone();
        let (object, returns) = (world.dice.chance(0.7), world.dice.chance(0.7));
        let (later, forgotten) = (world.dice.millis(0, 60_000), world.dice.chance(0.5));
        self.note("termination", format!("{} {instance}", node.name));
        world.by_hand(|cloud| cloud.terminate_instance(&instance));
        tokio::spawn(async move {
            sleep(later).await;
            if forgotten {
                world.cloud.forget_instance(&instance);
            }
            if object {
                world.cluster.delete_node(&node.name);
            }
            if returns {
                sleep(later).await;
                let next = format!("{instance}x");
                world
                    .cloud
                    .add_instance(next.as_str(), "subnet-nodes", world.setting.limits);
                node.join(next.as_str().into());
            }
        });
    }

    fn lag(&self) {
        let (world, lag) = (self.world.clone(), self.world.dice.millis(500, 15_000));
        let time = world.dice.millis(5_000, 60_000);
        self.note("stale listings", format!("{lag:?} for {time:?}"));
        world.set_lag(lag);
        tokio::spawn(async move {
            sleep(time).await;
            world.set_lag(Duration::ZERO);
        });
    }

    /// Somebody else takes an address off an ENI of ours, or the ENI off its instance.
    fn meddle(&self) {
        let ours = self.our_enis();
        let used: Vec<_> = ours.iter().filter(|eni| eni.state == EniState::InUse).collect();
        let Some(eni) = self.world.dice.pick(&used) else {
            return;
        };
        let addresses: Vec<_> = eni.secondary_addresses().map(|address| address.ip).collect();
        let address = self
            .world
            .dice
            .pick(&addresses)
            .filter(|_| self.world.dice.chance(0.7));
        match address {
            Some(ip) => {
                self.note("unassign by hand", format!("{} {ip}", eni.id));
                self.world.by_hand(|cloud| cloud.unassign_by_hand(&eni.id, *ip));
            }
            None => {
                self.note("detach by hand", eni.id.to_string());
                self.world.by_hand(|cloud| cloud.detach_by_hand(&eni.id));
            }
        }
    }

    /// Somebody deletes a claim, or the workload that it goes with.
    fn delete_claim(&self) {
        let world = &self.world;
        let claims: Vec<_> = world.truth(|truth| truth.claims.keys().cloned().collect());
        let Some(key) = world.dice.pick(&claims) else {
            return;
        };
        self.note("claim deleted by hand", key.to_string());
        world.cluster.ask_to_delete_claim(key);
        world.truth(|truth| {
            if let Some(claim) = truth.claims.get_mut(key) {
                claim.deleting = true;
            }
        });
    }

    pub(super) fn our_enis(&self) -> Vec<Eni> {
        let ours = |eni: &Eni| {
            eni.kind == EniKind::Secondary
                && self
                    .world
                    .truth(|truth| truth.enis.get(&eni.id).is_none_or(|fact| fact.ours))
        };
        self.world.cloud.all_enis().into_iter().filter(ours).collect()
    }

    /// Others take what is free of a subnet, for a while.
    fn exhaust(&self) {
        let Some(subnet) = self.world.dice.pick(&self.subnets) else {
            return;
        };
        let most = self.world.dice.between(1, 300) as usize;
        let taken = self.world.cloud.take_addresses(subnet, most);
        self.note("others take", format!("{} of {subnet}", taken.len()));
        self.taken.lock().push((subnet.clone(), taken));
        if self.world.dice.chance(0.5) {
            let (subnet, ips) = self.taken.lock().remove(0);
            let (world, time) = (self.world.clone(), self.world.dice.millis(5_000, 120_000));
            tokio::spawn(async move {
                sleep(time).await;
                world.cloud.give_back(&subnet, &ips);
            });
        }
    }

    /// Does something to one process's connection.
    fn connection(&self, change: impl FnOnce(&MemoryCluster, &World) -> &'static str) {
        let mut all: Vec<(NodeName, MemoryCluster)> = Vec::new();
        all.extend(
            self.ipamd
                .connection
                .lock()
                .clone()
                .map(|one| ("ipamd".into(), one)),
        );
        for node in self.nodes.iter() {
            all.extend(
                node.state
                    .lock()
                    .connection
                    .clone()
                    .map(|one| (node.name.clone(), one)),
            );
        }
        if let Some((name, connection)) = self.world.dice.pick(&all) {
            let what = change(connection, &self.world);
            self.note(what, name.to_string());
        }
    }

    /// Puts right whatever others would put right in time.
    pub(super) fn heal(&self) {
        self.note("calm", String::new());
        self.world.calm_down();
        let cloud = &self.world.cloud;
        self.world.set_lag(Duration::ZERO);
        for eni in cloud.all_enis() {
            cloud.end_order(&eni.id);
        }
        for (subnet, ips) in self.taken.lock().drain(..) {
            cloud.give_back(&subnet, &ips);
        }
        self.connections_heal();
    }

    /// Connections that began before the calm may still be broken.
    fn connections_heal(&self) {
        let heal = |connection: &MemoryCluster| {
            connection.set_available(true);
            connection.set_watch_delay(Duration::ZERO);
        };
        self.ipamd.connection.lock().iter().for_each(heal);
        self.nodes
            .iter()
            .for_each(|node| node.state.lock().connection.iter().for_each(heal));
    }

    fn note(&self, what: &'static str, about: String) {
        self.world.step(&super::process::Who::World, what, about, "");
    }
}
