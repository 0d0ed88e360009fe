//! The node's namespace and the sockets into it.

use eni_core::network::NetworkResult;
use parking_lot::Mutex;

use crate::namespace::Namespace;
use crate::reaper::Reaper;
use crate::socket::Netlink;

/// Sockets kept for the next operation. More may be in use at once; the rest is closed.
const IDLE_SOCKETS: usize = 16;

/// The node's namespace and the sockets into it.
#[derive(Debug)]
pub(crate) struct Node {
    namespace: Namespace,
    idle: Mutex<Vec<Netlink>>,
    reaper: Option<Reaper>,
}

impl Node {
    /// Without a reaper, another process deletes what is taken out of service.
    pub(crate) fn new(namespace: Namespace, reaper: Option<Reaper>) -> Self {
        Self {
            namespace,
            idle: Mutex::default(),
            reaper,
        }
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Has the devices that are out of service deleted, if that is this process' business.
    pub(crate) fn wake_reaper(&self) {
        if let Some(reaper) = &self.reaper {
            reaper.wake(&self.namespace);
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
            None => Netlink::open_in(&self.namespace)?,
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
