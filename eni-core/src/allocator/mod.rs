//! Which address a sandbox gets: pure bookkeeping in memory, no I/O.

mod pool;
mod reserved;
mod rest;
mod slot;

use tokio::time::Instant;

pub use pool::{Accepted, PoolAllocator};
pub use rest::MINIMUM_COOLING;
pub use slot::PoolCounts;

use crate::model::{Allocation, Claimant, EniId, Families, Origin, PodKey, SandboxKey, Uid};

/// What a sandbox's interface asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRequest {
    /// Who asks.
    pub key: SandboxKey,
    /// The pod, where the runtime named it.
    pub pod: Option<PodKey>,
    /// The pod's uid, where the runtime named it.
    pub pod_uid: Option<Uid>,
    /// Which families it needs.
    pub families: Families,
    /// In which boot and for which namespace.
    pub origin: Option<Origin>,
}

impl AddressRequest {
    /// The interface that asks, among the others of its pod.
    pub fn claimant(&self) -> Claimant<'_> {
        Claimant {
            key: &self.key,
            pod_uid: self.pod_uid.as_ref(),
            origin: self.origin.as_ref(),
        }
    }
}

/// Why there is no address now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortage {
    /// What the node's lost journal knew was not gathered yet, so nothing can be given out.
    #[error("the node's journal is empty and its owners are still being looked for")]
    Recovering,
    /// No ENI is in service.
    #[error("no ENI is in service on this node")]
    NoEni,
    /// The interface owns an address, whose ENI is not in service.
    #[error("ENI {eni}, which carries its address, is not in service on this node")]
    OutOfService {
        /// The ENI.
        eni: EniId,
    },
    /// The pod's claim has no address on this node yet.
    #[error("no address is reserved for this pod yet; its VpcIPClaim says why")]
    Unclaimed,
    /// Every address is owned or held back.
    #[error("all {owned} addresses of this node are in use ({cooling} cooling down, {withdrawn} withdrawn)")]
    NoAddress {
        /// Addresses that sandboxes own.
        owned: usize,
        /// Addresses that cool down.
        cooling: usize,
        /// Addresses that were offered back.
        withdrawn: usize,
    },
}

/// Gives addresses to sandboxes and takes them back.
///
/// # Contract
///
/// * Synchronous and pure: no clock, no I/O. The caller makes each change durable before anybody else
///   learns of it, and undoes it if that fails.
/// * `allocate` for a key that owns something answers that again.
/// * An address has at most one owner; a dual-stack allocation is atomic.
/// * `release` of an unknown key changes nothing.
pub trait Allocator: Send {
    /// Gives an address.
    fn allocate(&mut self, request: &AddressRequest, now: Instant) -> Result<Allocation, Shortage>;

    /// Takes a key's addresses back; they rest from `now` to `until`.
    fn release(&mut self, key: &SandboxKey, now: Instant, until: Instant) -> Option<Allocation>;

    /// What a key owns.
    fn owned(&self, key: &SandboxKey) -> Option<&Allocation>;

    /// Why there is no free address, when there is none.
    fn shortage(&self) -> Shortage;
}
