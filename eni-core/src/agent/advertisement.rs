//! What passes between the dialogue, which knows what the kubelet may be told, and the part that tells it.

use tokio::sync::watch;

use crate::policy::Allowance;

/// What the kubelet may be told, and what it was told.
///
/// Whoever tells the kubelet follows [`allowed`](Self::allowed) and says by [`tell`](Self::tell) what went
/// out. The dialogue reports to ipamd what was told, so that what a lowered number frees is given to others
/// only when the kubelet knows.
#[derive(Debug)]
pub struct Advertisement {
    allowed: watch::Sender<Option<Allowance>>,
    told: watch::Sender<Option<u32>>,
}

impl Default for Advertisement {
    fn default() -> Self {
        Self {
            allowed: watch::Sender::new(None),
            told: watch::Sender::new(None),
        }
    }
}

impl Advertisement {
    /// What the kubelet may be told, now and as it changes; `None` until it is known.
    pub fn allowed(&self) -> watch::Receiver<Option<Allowance>> {
        self.allowed.subscribe()
    }

    /// The kubelet is told that `allocatable` pods may have an address. To be called before it can know.
    pub fn tell(&self, allocatable: u32) {
        let allocatable = Some(allocatable);
        self.told
            .send_if_modified(|told| std::mem::replace(told, allocatable) != allocatable);
    }

    /// What the kubelet was told last; `None` if this process told it nothing.
    pub(super) fn told(&self) -> watch::Receiver<Option<u32>> {
        self.told.subscribe()
    }

    pub(super) fn allow(&self, allowance: Allowance) {
        let allowance = Some(allowance);
        self.allowed
            .send_if_modified(|allowed| std::mem::replace(allowed, allowance) != allowance);
    }
}
