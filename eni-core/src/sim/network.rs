//! A node's kernel in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Fault, fault::Faults};
use crate::{
    model::{Mac, PodAddresses, SandboxKey},
    network::{
        Discrepancy, EniLink, EniSetup, Leftover, NetworkError, NetworkResult, NodeNetwork, PodInterface,
        PodRoutes, PodWiring, Survey, Wired, WiredPod,
    },
};

/// The routing table of an ENI is this plus its device's index.
const TABLE_BASE: u32 = 4000;

/// One node's kernel in memory.
///
/// Devices come and go by [`attach`](Self::attach) and [`detach`](Self::detach), or by a
/// [`MemoryFabric`](super::MemoryFabric). Every namespace exists until [`remove_namespace`](Self::remove_namespace).
#[derive(Debug, Default)]
pub struct MemoryNetwork {
    kernel: Mutex<Kernel>,
    faults: Faults<NetworkError>,
}

#[derive(Debug, Default)]
struct Kernel {
    indexes: u32,
    /// Index and set-up of every device.
    devices: BTreeMap<Mac, (u32, Option<EniSetup>)>,
    /// Tables of ENIs whose device is gone.
    stale: BTreeMap<u32, Mac>,
    pods: BTreeMap<Key, (PodWiring, Wired)>,
    /// Which interface the rules of an address serve.
    rules: BTreeMap<IpAddr, (Key, Option<u32>)>,
    gone: BTreeSet<String>,
    /// Interfaces whose device somebody set down.
    down: BTreeSet<Key>,
}

/// What makes a pod interface ours: container and interface.
type Key = (Arc<str>, Arc<str>);

impl MemoryNetwork {
    /// A node without devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// A device appears, with an index that no device had before.
    pub fn attach(&self, mac: Mac) {
        let mut kernel = self.kernel.lock();
        kernel.indexes += 1;
        let index = kernel.indexes;
        kernel.devices.insert(mac, (index, None));
    }

    /// A device disappears; its table, and the rules that lead there, stay.
    pub fn detach(&self, mac: Mac) {
        let mut kernel = self.kernel.lock();
        if let Some((index, Some(_))) = kernel.devices.remove(&mac) {
            kernel.stale.insert(TABLE_BASE + index, mac);
        }
    }

    /// The node boots: devices stay, and are no longer set up; everything else is gone.
    pub fn reboot(&self) {
        let mut kernel = self.kernel.lock();
        kernel.devices.values_mut().for_each(|(_, setup)| *setup = None);
        kernel.stale.clear();
        kernel.pods.clear();
        kernel.down.clear();
        kernel.rules.clear();
    }

    /// A sandbox's namespace disappears, with the interfaces in it; the rules of their addresses stay.
    pub fn remove_namespace(&self, path: &str) {
        let mut kernel = self.kernel.lock();
        kernel.pods.retain(|_, (wiring, _)| wiring.netns != path);
        kernel.gone.insert(path.to_owned());
    }

    /// Somebody takes an address's rules away.
    pub fn break_rules(&self, ip: IpAddr) {
        self.kernel.lock().rules.remove(&ip);
    }

    /// Somebody sets a pod's device down; the rules of its addresses stay.
    pub fn set_down(&self, host_name: &str) {
        let mut kernel = self.kernel.lock();
        let found = kernel
            .pods
            .iter()
            .find(|(_, (_, wired))| wired.host_name == host_name);
        if let Some(key) = found.map(|(key, _)| key.clone()) {
            kernel.down.insert(key);
        }
    }

    /// What is on the wire, in order of container and interface.
    pub fn wired(&self) -> Vec<PodWiring> {
        self.kernel
            .lock()
            .pods
            .values()
            .map(|(wiring, _)| wiring.clone())
            .collect()
    }

    /// The next call of `action` (the trait method's name) meets `fault`; several are met in order.
    pub fn inject(&self, action: &'static str, fault: Fault<NetworkError>) {
        self.faults.queue(action, fault);
    }

    async fn call<T>(
        &self,
        action: &'static str,
        resource: &str,
        execute: impl FnOnce(&mut Kernel) -> NetworkResult<T>,
    ) -> NetworkResult<T> {
        match self.faults.next(action, resource) {
            Fault::Before(error) => return Err(error),
            Fault::After(error) => return execute(&mut self.kernel.lock()).and(Err(error)),
            Fault::Delay(time) => tokio::time::sleep(time).await,
            Fault::None => {}
        }
        execute(&mut self.kernel.lock())
    }
}

#[async_trait]
impl NodeNetwork for MemoryNetwork {
    async fn ensure_eni(&self, eni: &EniSetup) -> NetworkResult<EniLink> {
        self.call("ensure_eni", &eni.mac.to_string(), |kernel| {
            let device = kernel
                .devices
                .get_mut(&eni.mac)
                .ok_or(NetworkError::NoDevice { mac: eni.mac })?;
            device.1 = Some(eni.clone());
            Ok(EniLink {
                index: device.0,
                table: TABLE_BASE + device.0,
            })
        })
        .await
    }

    async fn maintain(&self) -> NetworkResult<()> {
        Ok(())
    }

    async fn remove_eni(&self, mac: Mac) -> NetworkResult<()> {
        self.call("remove_eni", &mac.to_string(), |kernel| {
            if let Some((_, setup)) = kernel.devices.get_mut(&mac) {
                *setup = None;
            }
            kernel.stale.retain(|_, stale| *stale != mac);
            Ok(())
        })
        .await
    }

    async fn wire(&self, wiring: &PodWiring) -> NetworkResult<Wired> {
        self.call("wire", &wiring.interface.key.to_string(), |kernel| {
            kernel.wire(wiring)
        })
        .await
    }

    async fn unwire(&self, interface: &PodInterface) -> NetworkResult<()> {
        self.call("unwire", &interface.key.to_string(), |kernel| {
            kernel.unwire(interface);
            Ok(())
        })
        .await
    }

    async fn verify(&self, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>> {
        self.call("verify", &wiring.interface.key.to_string(), |kernel| {
            Ok(kernel.verify(wiring))
        })
        .await
    }

    async fn survey(&self) -> NetworkResult<Survey> {
        self.call("survey", "", |kernel| Ok(kernel.survey())).await
    }

    async fn repair(&self, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>> {
        self.call("repair", "", |kernel| {
            Ok(pods.iter().flat_map(|pod| kernel.repair(pod)).collect())
        })
        .await
    }

    async fn clear(&self, leftover: Leftover) -> NetworkResult<()> {
        self.call("clear", &format!("{leftover:?}"), |kernel| {
            kernel.clear(leftover);
            Ok(())
        })
        .await
    }

    async fn list(&self) -> NetworkResult<Vec<String>> {
        self.call("list", "", |kernel| Ok(kernel.list())).await
    }
}

impl Kernel {
    fn wire(&mut self, wiring: &PodWiring) -> NetworkResult<Wired> {
        if self.gone.contains(&wiring.netns) {
            return Err(NetworkError::NoNamespace {
                netns: wiring.netns.clone(),
            });
        }
        let key = key(&wiring.interface);
        self.down.remove(&key);
        for ip in wiring.addresses.iter() {
            self.rules.insert(ip, (key.clone(), wiring.table));
        }
        if let Some((_, wired)) = self.pods.get(&key).filter(|(present, _)| alike(present, wiring)) {
            return Ok(wired.clone());
        }
        self.rules
            .retain(|ip, (owner, _)| *owner != key || wiring.addresses.iter().any(|own| own == *ip));
        self.indexes += 1;
        let [_, a, b, c] = self.indexes.to_be_bytes();
        let wired = Wired {
            host_name: format!("eni{:011x}", self.indexes),
            host_mac: Mac([0x02, 0, 0, a, b, c]),
            pod_mac: Mac([0x02, 0, 1, a, b, c]),
        };
        self.pods.insert(key, (wiring.clone(), wired.clone()));
        Ok(wired)
    }

    /// Like a real kernel it knows the addresses of a link that is there; of one that is gone the caller
    /// must know them.
    fn unwire(&mut self, interface: &PodInterface) {
        let key = key(interface);
        let known = self.pods.remove(&key).map(|(wiring, _)| wiring.addresses);
        for ip in known
            .into_iter()
            .chain(interface.addresses)
            .flat_map(PodAddresses::iter)
        {
            let owner = self.rules.get(&ip).map(|(owner, _)| owner);
            if owner.is_some_and(|owner| *owner == key || !self.pods.contains_key(owner)) {
                self.rules.remove(&ip);
            }
        }
    }

    fn verify(&self, wiring: &PodWiring) -> Vec<Discrepancy> {
        let key = key(&wiring.interface);
        let link = match self.pods.get(&key) {
            None => Some(format!("the link of {} is missing", wiring.interface.key)),
            Some((present, _)) if !alike(present, wiring) => {
                Some(format!("the link of {} differs", wiring.interface.key))
            }
            Some(_) if self.down.contains(&key) => {
                Some(format!("the link of {} is down", wiring.interface.key))
            }
            Some(_) => None,
        };
        let expected = (key, wiring.table);
        let rules = wiring
            .addresses
            .iter()
            .filter(|ip| self.rules.get(ip) != Some(&expected));
        let rules = rules.map(|ip| format!("the rules of {ip} are missing or lead elsewhere"));
        link.into_iter()
            .chain(rules)
            .map(|what| Discrepancy { what })
            .collect()
    }

    fn survey(&self) -> Survey {
        let pods = self.pods.iter().map(|(key, (wiring, _))| {
            let ruled = |ip: &IpAddr| self.rules.get(ip).is_some_and(|(owner, _)| owner == key);
            WiredPod {
                key: wiring.interface.key.clone(),
                addresses: wiring.addresses.iter().filter(ruled).collect(),
            }
        });
        let stray = self
            .rules
            .iter()
            .filter(|(_, (owner, _))| !self.pods.contains_key(owner));
        let stray = stray.map(|(ip, _)| Leftover::Address(*ip));
        let mut pods: Vec<_> = pods.collect();
        pods.sort_by(|one, other| one.key.cmp(&other.key));
        let tables = self.stale.keys().copied().filter(|table| !self.is_led_to(*table));
        Survey {
            pods,
            leftovers: stray.chain(tables.map(Leftover::Table)).collect(),
        }
    }

    /// Whether a pod that is there leaves by this table.
    fn is_led_to(&self, table: u32) -> bool {
        let mut rules = self.rules.values();
        rules.any(|(owner, by)| *by == Some(table) && self.pods.contains_key(owner))
    }

    fn repair(&mut self, pod: &PodRoutes) -> Vec<Discrepancy> {
        let key = key_of(&pod.key);
        if !self.pods.contains_key(&key) {
            return Vec::new();
        }
        let down = self.down.remove(&key).then(|| Discrepancy {
            what: format!("the link of {} was down", pod.key),
        });
        let wanted = (key, pod.table);
        let missing = pod
            .addresses
            .iter()
            .filter(|ip| self.rules.get(ip) != Some(&wanted));
        let missing: Vec<_> = missing.collect();
        for ip in &missing {
            self.rules.insert(*ip, wanted.clone());
        }
        let put_back = |ip| Discrepancy {
            what: format!("the rules of {ip} were missing or led elsewhere"),
        };
        down.into_iter()
            .chain(missing.into_iter().map(put_back))
            .collect()
    }

    fn clear(&mut self, leftover: Leftover) {
        match leftover {
            Leftover::Address(ip) => {
                let used = |(owner, _): &(Key, _)| self.pods.contains_key(owner);
                if !self.rules.get(&ip).is_some_and(used) {
                    self.rules.remove(&ip);
                }
            }
            Leftover::Table(table) if self.is_led_to(table) => {}
            Leftover::Table(table) => drop(self.stale.remove(&table)),
        }
    }

    fn list(&self) -> Vec<String> {
        let links = self.pods.iter().map(|((container, interface), (_, wired))| {
            format!("link {} of {container}/{interface}", wired.host_name)
        });
        let rules = self.rules.iter().map(|(ip, (_, table))| match table {
            Some(table) => format!("rule of {ip} to table {table}"),
            None => format!("rule of {ip} to table main"),
        });
        let tables = self.devices.iter().filter(|(_, (_, setup))| setup.is_some());
        let tables = tables.map(|(mac, (index, _))| format!("table {} of {mac}", TABLE_BASE + index));
        let stale = self.stale.iter();
        let stale = stale.map(|(table, mac)| format!("table {table} of {mac}, which is gone"));
        links.chain(rules).chain(tables).chain(stale).collect()
    }
}

/// Whether two wirings ask for the same link; the table is the rules' matter, and what is remembered of an
/// interface besides is nobody's.
fn alike(one: &PodWiring, other: &PodWiring) -> bool {
    let parts = |wiring: &PodWiring| (key(&wiring.interface), wiring.addresses, wiring.mtu);
    parts(one) == parts(other) && one.netns == other.netns
}

fn key(interface: &PodInterface) -> Key {
    key_of(&interface.key)
}

fn key_of(key: &SandboxKey) -> Key {
    (key.container.clone(), key.interface.clone())
}
