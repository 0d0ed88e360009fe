//! The trait of the core over the kernel, and the same without a runtime.

use std::sync::Arc;

use async_trait::async_trait;
use eni_core::model::{Families, Mac};
use eni_core::network::{
    Discrepancy, EniLink, EniSetup, Leftover, NetworkError, NetworkResult, NodeNetwork, PodInterface,
    PodRoutes, PodWiring, Survey, Wired,
};

use crate::eni::{self, Tables};
use crate::namespace::Namespace;
use crate::node::{Node, Process};
use crate::reaper::Reaper;
use crate::settings::{self, Reset};
use crate::{audit, list, pod};

/// A node's network in the Linux kernel.
///
/// The methods of its own block the calling thread, usually for less than a millisecond; those of
/// [`NodeNetwork`] run them on the runtime's blocking threads. Clones share their sockets. Everything
/// needs CAP_NET_ADMIN in the node's namespace, and CAP_SYS_ADMIN to enter it and the pods'.
///
/// `ensure_eni` takes one family: an ENI with IPv4 and IPv6 is set up by two calls with the same MAC. It
/// is meant for secondary ENIs; the primary one keeps what the node's operating system gave it.
#[derive(Clone, Debug)]
pub struct NetlinkNetwork {
    node: Arc<Node>,
    tables: Arc<Tables>,
    /// The primary ENI and the families to forward; only an agent's network keeps them up.
    forwarding: Option<(Mac, Families)>,
}

impl NetlinkNetwork {
    /// The network of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] where `/proc` is not mounted.
    pub fn current() -> NetworkResult<Self> {
        Ok(Self::of(Namespace::current()?))
    }

    /// The network of the namespace at `path`, from whichever namespace this process is in.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NoNamespace`] when there is none.
    pub fn in_namespace(path: &str) -> NetworkResult<Self> {
        Ok(Self::of(Namespace::open(path)?))
    }

    /// The network of `namespace`.
    pub fn of(namespace: Namespace) -> Self {
        Self::with(namespace, Process::Lasting(Reaper::default()))
    }

    /// The network of the calling thread's namespace, for a process that ends soon and has no other thread in use, as
    /// a CNI plugin: the thread itself enters the pods' namespaces and comes back. It deletes no device: those that it takes out of service (group [`crate::DEAD_GROUP`]) are
    /// deleted by the agent's next [`NetlinkNetwork::maintain`] or `unwire`, or go with their
    /// sandbox' namespace.
    ///
    /// # Errors
    ///
    /// As [`NetlinkNetwork::current`].
    pub fn for_plugin() -> NetworkResult<Self> {
        Ok(Self::with(Namespace::current()?, Process::Passing))
    }

    fn with(namespace: Namespace, process: Process) -> Self {
        Self {
            node: Arc::new(Node::new(namespace, process)),
            tables: Arc::default(),
            forwarding: None,
        }
    }

    /// The same network, whose [`NodeNetwork::maintain`] also keeps `families` forwarded on a node with
    /// the primary ENI `primary`.
    #[must_use]
    pub fn forwarding(self, primary: Mac, families: Families) -> Self {
        Self {
            forwarding: Some((primary, families)),
            ..self
        }
    }

    /// [`NodeNetwork::maintain`], blocking. Each setting that somebody had changed is logged, with what it
    /// was and why it matters; where all is well nothing is.
    ///
    /// # Errors
    ///
    /// As [`NetlinkNetwork::ensure_forwarding`].
    pub fn maintain(&self) -> NetworkResult<()> {
        let Some((primary, families)) = self.forwarding else {
            self.node.wake_reaper();
            return Ok(());
        };
        for reset in self.ensure_forwarding(primary, families)? {
            tracing::warn!(
                setting = reset.setting,
                was = reset.was,
                now = reset.now,
                why = reset.why,
                "a setting of the node was put right"
            );
        }
        Ok(())
    }

    /// Makes the node forward its pods' packets, and accept answers that come back by another device
    /// than the one the question left by (`ip_forward` 1; `rp_filter` 0 for all, default, `primary` and the
    /// ENIs in service); what it had to change. To be repeated: init scripts and other agents put it
    /// back. It also has the devices deleted that plugins took out of service.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NoDevice`] when there is no device with the MAC `primary`.
    pub fn ensure_forwarding(&self, primary: Mac, families: Families) -> NetworkResult<Vec<Reset>> {
        self.node.wake_reaper();
        let (device, mut resets) = self
            .node
            .with_socket(|netlink| settings::unfilter(netlink, primary, &self.tables.macs()))?;
        resets.extend(
            self.node
                .namespace()
                .run_in(|| settings::forward(&device, families))??,
        );
        Ok(resets)
    }

    /// [`NodeNetwork::ensure_eni`], blocking.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NoDevice`] until the ENI's device shows; [`NetworkError::Foreign`] when its table
    /// holds somebody else's default route.
    pub fn ensure_eni(&self, eni: &EniSetup) -> NetworkResult<EniLink> {
        self.node
            .with_socket(|netlink| eni::ensure(netlink, &self.tables, eni))
    }

    /// [`NodeNetwork::remove_eni`], blocking.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] with everything that could not be removed.
    pub fn remove_eni(&self, mac: Mac) -> NetworkResult<()> {
        self.node
            .with_socket(|netlink| eni::remove(netlink, &self.tables, mac))
    }

    /// [`NodeNetwork::wire`], blocking.
    ///
    /// # Errors
    ///
    /// [`NetworkError::NoNamespace`] when the sandbox is gone; [`NetworkError::Foreign`] when a device, an
    /// interface or a route of somebody else is in the way. Nothing is left behind.
    pub fn wire(&self, wiring: &PodWiring) -> NetworkResult<Wired> {
        pod::wire(&self.node, wiring)
    }

    /// [`NodeNetwork::unwire`], blocking. On return the interface is down and nothing leads to it; the
    /// device itself goes within some 50 ms.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] with everything that could not be removed.
    pub fn unwire(&self, interface: &PodInterface) -> NetworkResult<()> {
        pod::unwire(&self.node, interface)
    }

    /// As [`NetlinkNetwork::unwire`] and soon after it, for what an ADD that was under way made meanwhile: without a
    /// search through all devices of the node.
    ///
    /// # Errors
    ///
    /// As [`NetlinkNetwork::unwire`].
    pub fn unwire_again(&self, interface: &PodInterface) -> NetworkResult<()> {
        pod::unwire_again(&self.node, interface)
    }

    /// [`NodeNetwork::verify`], blocking.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] when the kernel cannot be read.
    pub fn verify(&self, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>> {
        pod::verify(&self.node, wiring)
    }

    /// [`NodeNetwork::survey`], blocking: one reading of the kernel, however many pods there are.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] when the kernel cannot be read.
    pub fn survey(&self) -> NetworkResult<Survey> {
        self.node.with_socket(audit::survey)
    }

    /// [`NodeNetwork::repair`], blocking: one reading of the kernel, and nothing more where nothing is
    /// missing. What is in the way and not ours is left there and named each time, except for rules of TKE's
    /// VPC-CNI before v3.8.0, which lead an address of the pod by another table: they give way.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] when the kernel cannot be read, or with everything that it refused; the
    /// rest has been done.
    pub fn repair(&self, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>> {
        self.node.with_socket(|netlink| audit::repair(netlink, pods))
    }

    /// [`NodeNetwork::clear`], blocking. A table stays as long as a living pod's rules lead to it: its last
    /// resort keeps the pod from leaving by another ENI.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] with what could not be removed.
    pub fn clear(&self, leftover: Leftover) -> NetworkResult<()> {
        self.node.with_socket(|netlink| audit::clear(netlink, leftover))
    }

    /// [`NodeNetwork::list`], blocking.
    ///
    /// # Errors
    ///
    /// [`NetworkError::Kernel`] when the kernel cannot be read.
    pub fn list(&self) -> NetworkResult<Vec<String>> {
        self.node.with_socket(list::list)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> NetworkResult<T> + Send + 'static,
    ) -> NetworkResult<T> {
        let network = self.clone();
        match tokio::task::spawn_blocking(move || work(&network)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => Err(NetworkError::Kernel {
                operation: "netlink exchange".into(),
                message: format!("the runtime is shutting down ({error})"),
            }),
        }
    }
}

#[async_trait]
impl NodeNetwork for NetlinkNetwork {
    async fn ensure_eni(&self, eni: &EniSetup) -> NetworkResult<EniLink> {
        let eni = eni.clone();
        self.blocking(move |network| network.ensure_eni(&eni)).await
    }

    async fn maintain(&self) -> NetworkResult<()> {
        self.blocking(Self::maintain).await
    }

    async fn remove_eni(&self, mac: Mac) -> NetworkResult<()> {
        self.blocking(move |network| network.remove_eni(mac)).await
    }

    async fn wire(&self, wiring: &PodWiring) -> NetworkResult<Wired> {
        let wiring = wiring.clone();
        self.blocking(move |network| network.wire(&wiring)).await
    }

    async fn unwire(&self, interface: &PodInterface) -> NetworkResult<()> {
        let interface = interface.clone();
        self.blocking(move |network| network.unwire(&interface)).await
    }

    async fn verify(&self, wiring: &PodWiring) -> NetworkResult<Vec<Discrepancy>> {
        let wiring = wiring.clone();
        self.blocking(move |network| network.verify(&wiring)).await
    }

    async fn survey(&self) -> NetworkResult<Survey> {
        self.blocking(Self::survey).await
    }

    async fn repair(&self, pods: &[PodRoutes]) -> NetworkResult<Vec<Discrepancy>> {
        let pods = pods.to_vec();
        self.blocking(move |network| network.repair(&pods)).await
    }

    async fn clear(&self, leftover: Leftover) -> NetworkResult<()> {
        self.blocking(move |network| network.clear(leftover)).await
    }

    async fn list(&self) -> NetworkResult<Vec<String>> {
        self.blocking(Self::list).await
    }
}
