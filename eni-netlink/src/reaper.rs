//! Deletes devices in bulk, behind the caller's back.
//!
//! Deleting one device waits some 20 ms for grace periods of the kernel; deleting a hundred in one
//! request takes little longer. So a DEL only takes a device out of service and marks it, and whatever
//! has gathered while the last deletion ran goes with the next one.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use nix::errno::Errno;
use parking_lot::Mutex;

use crate::identity::DEAD_GROUP;
use crate::kernel::Link;
use crate::namespace::Namespace;
use crate::socket::{Netlink, NetlinkError};

/// Deletes devices in bulk. Its thread starts with the first one and ends with the reaper.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    bell: Mutex<Option<SyncSender<()>>>,
}

impl Reaper {
    /// Has every marked device of the namespace deleted soon.
    pub(crate) fn wake(&self, namespace: &Namespace) {
        let mut bell = self.bell.lock();
        // A bell that has been rung is heard; a thread that has died is replaced.
        if let Some(Ok(()) | Err(TrySendError::Full(()))) = bell.as_ref().map(|bell| bell.try_send(())) {
            return;
        }
        *bell = None;
        match start(namespace) {
            Ok(started) => *bell = Some(started),
            Err(error) => {
                tracing::error!(%error, "devices cannot be deleted for now; the next DEL tries again")
            }
        }
    }
}

/// Deletes every marked device at once.
pub(crate) fn reap(netlink: &mut Netlink) -> Result<(), NetlinkError> {
    match netlink.request(Link::delete_group(DEAD_GROUP)) {
        Err(NetlinkError::Refused(refusal)) if refusal.errno == Errno::ENODEV => Ok(()),
        other => other.map(drop),
    }
}

fn start(namespace: &Namespace) -> Result<SyncSender<()>, NetlinkError> {
    let netlink = Netlink::open_in(namespace)?;
    let (bell, rings) = sync_channel(1);
    // It has rung for the first time.
    bell.try_send(())
        .expect("the channel is new and has room for one");
    thread::Builder::new()
        .name("eni-reaper".into())
        .spawn(move || run(netlink, &rings))
        .map_err(|source| NetlinkError::Socket {
            operation: "start the thread that deletes devices".into(),
            source,
        })?;
    Ok(bell)
}

fn run(mut netlink: Netlink, rings: &Receiver<()>) {
    while rings.recv().is_ok() {
        if let Err(error) = reap(&mut netlink) {
            tracing::error!(%error, "devices cannot be deleted; the next DEL tries again");
            if !matches!(error, NetlinkError::Refused(_)) {
                return;
            }
        }
    }
}
