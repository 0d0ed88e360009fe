//! The node's namespace and the sockets into it.

use eni_core::network::NetworkResult;
use parking_lot::Mutex;

use crate::namespace::{Namespace, NamespaceError};
use crate::reaper::Reaper;
use crate::socket::{Netlink, NetlinkError};

/// Sockets kept for the next operation. More may be in use at once; the rest is closed.
const IDLE_SOCKETS: usize = 16;

/// The node's namespace and the sockets into it.
#[derive(Debug)]
pub(crate) struct Node {
    namespace: Namespace,
    idle: Mutex<Vec<Netlink>>,
    process: Process,
}

/// The process that works on the node's network.
#[derive(Debug)]
pub(crate) enum Process {
    /// It lives on, in whatever namespace, with whatever threads.
    Lasting(Reaper),
    /// It ends soon: its one thread is in the node's namespace, and another process deletes what it takes out of
    /// service.
    Passing,
}

impl Node {
    pub(crate) fn new(namespace: Namespace, process: Process) -> Self {
        Self {
            namespace,
            idle: Mutex::default(),
            process,
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Has the devices that are out of service deleted, if that is this process' business.
    pub(crate) fn wake_reaper(&self) {
        if let Process::Lasting(reaper) = &self.process {
            reaper.wake(&self.namespace);
        }
    }

    /// Runs `work` inside a pod's namespace.
    pub(crate) fn inside<T: Send>(
        &self,
        pod: &Namespace,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NamespaceError> {
        match self.process {
            Process::Lasting(_) => pod.run_in(work),
            Process::Passing => pod.visit(&self.namespace, work),
        }
    }

    fn open(&self) -> Result<Netlink, NetlinkError> {
        match self.process {
            Process::Lasting(_) => Netlink::open_in(&self.namespace),
            Process::Passing => Netlink::open(),
        }
    }

    /// Runs `work` with a socket of its own into the node's namespace.
    pub(crate) fn with_socket<T>(
        &self,
        work: impl FnOnce(&mut Netlink) -> NetworkResult<T>,
    ) -> NetworkResult<T> {
        let idle = self.idle.lock().pop();
        let mut netlink = match idle {
            Some(netlink) => netlink,
            None => self.open()?,
        };
        // Answers carry their request's number, so whatever a failed exchange left unread is ignored.
        let result = work(&mut netlink);
        let mut idle = self.idle.lock();
        if result.is_ok() && idle.len() < IDLE_SOCKETS {
            idle.push(netlink);
        }
        result
    }
}
