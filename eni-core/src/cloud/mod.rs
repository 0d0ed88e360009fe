//! The cloud: ENIs, addresses, subnets and instances, behind one narrow trait.
//!
//! Only ipamd holds a [`Cloud`]. Decorators in this module wrap one implementation in another, so that
//! what concerns every cloud is written once: [`Pacer`] paces, limits, repeats and counts calls.
//! [`Breakers`] remember which subnets are not worth a call.
//!
//! How to add a cloud: [`guide`].

mod breaker;
mod call;
mod error;
#[doc = include_str!("guide.md")]
pub mod guide {}
pub mod pace;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use async_trait::async_trait;

pub use breaker::{Allowance, Breakers};
pub use call::Call;
pub use error::{CloudError, CloudErrorKind};
pub use pace::{Lane, LaneCounts, PaceConfig, PaceCounts, Paced, Pacer};

use crate::model::{Eni, EniId, Family, Instance, InstanceId, Limits, SecurityGroupId, Subnet, SubnetId};

/// The result of a cloud call.
pub type CloudResult<T> = Result<T, CloudError>;

/// What a cloud can do beyond the trait's minimum, and how much one call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A creation that is repeated with its token does nothing and answers the same.
    pub client_tokens: bool,
    /// Addresses that one assign call may ask for.
    pub assign_batch: u32,
    /// Addresses that one unassign call may name.
    pub unassign_batch: u32,
    /// ENIs that one listing by id may name.
    pub describe_batch: usize,
    /// ENIs can carry IPv6.
    pub ipv6: bool,
    /// An address can go from one ENI to another without being free in between.
    pub migration: bool,
    /// How long a listing by tags may take where it is made of many requests, each of which the backend gives up in
    /// time; `None` if it takes no longer than any call.
    pub listing_timeout: Option<Duration>,
}

impl Default for Capabilities {
    /// The least that the core can work with: one thing at a time, no tokens, IPv4.
    fn default() -> Self {
        Self {
            client_tokens: false,
            assign_batch: 1,
            unassign_batch: 1,
            describe_batch: 1,
            ipv6: false,
            migration: false,
            listing_timeout: None,
        }
    }
}

/// Which ENIs a listing asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniFilter {
    /// These; ids that do not exist are left out of the answer.
    Ids(Vec<EniId>),
    /// Those on one instance, its primary ENI included.
    Instance(InstanceId),
    /// Those that bear all of these tags.
    Tags(BTreeMap<String, String>),
}

/// A secondary ENI to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEni {
    /// Its name; ours are unique in the cluster.
    pub name: String,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Secondary IPv4 addresses to assign at once, beyond the primary one.
    pub secondary: u32,
    /// Security groups by priority; empty means the cloud's default.
    pub security_groups: Vec<SecurityGroupId>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless where [`Capabilities::client_tokens`] says so.
    pub token: String,
}

/// Secondary addresses to be added to an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignAddresses {
    /// Any this many of a family.
    Count(Family, u32),
    /// These very ones.
    Exactly(Vec<IpAddr>),
}

/// A cloud's network, as far as pods need it.
///
/// # Contract
///
/// * **Asynchronous state.** `create_eni`, `attach_eni`, `detach_eni`, `delete_eni`, `assign_addresses`,
///   `unassign_addresses` and `migrate_address` return when the cloud has *accepted* the order. The result shows in a
///   later [`enis`](Cloud::enis): the caller polls, for all its orders together.
/// * **Complete or an error.** A listing that could not be read whole is an error. An empty list means
///   that the cloud said so. It may still lag behind orders: absence in one listing proves nothing.
/// * **Idempotency.** `attach_eni` to the instance that already has the ENI, `detach_eni` of one that is
///   not attached, `delete_eni` of one that is gone and `unassign_addresses` of addresses that are not
///   there succeed. `create_eni` with a token that was used answers the ENI of the first call where
///   the capabilities say so. `assign_addresses` by count is never idempotent: re-read after an
///   unknown outcome. `Exactly` is: addresses that the ENI already has are left alone.
/// * **Atomicity.** `assign_addresses` assigns all or nothing.
/// * **Errors** say what the caller can do ([`CloudErrorKind`]). After
///   [`CloudErrorKind::Unavailable`] the outcome is unknown unless the call only reads.
/// * **Cancel safety.** Dropping a future leaves the outcome unknown, never a half-done order.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Cloud: Send + Sync {
    /// What this cloud can do. Constant for the life of the value.
    fn capabilities(&self) -> Capabilities;

    /// The instances that exist among `ids`; terminated ones may be missing.
    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>>;

    /// How many ENIs and addresses `instance` can carry.
    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits>;

    /// The subnets `ids`; one that does not exist is a [`CloudErrorKind::NotFound`].
    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>>;

    /// Every ENI that matches. A listing of many takes the cloud several requests, which are one call here:
    /// the [`Pacer`] lets the first one through and knows nothing of the others, so the backend sends
    /// them one after the other, and repeats one that is throttled rather than the whole.
    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>>;

    /// Makes a secondary ENI; it starts [`Pending`](crate::model::EniState::Pending) or
    /// [`Available`](crate::model::EniState::Available).
    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni>;

    /// Attaches an available ENI to an instance of its zone.
    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()>;

    /// Takes an ENI off its instance, whether that runs or is stopped.
    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()>;

    /// Deletes an ENI that is attached to nothing.
    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()>;

    /// Adds secondary addresses; returns those that were added.
    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>>;

    /// Removes secondary addresses.
    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()>;

    /// Moves a secondary address to another ENI of its subnet; nobody else can get it in between. Never repeated
    /// blindly: after an unknown outcome both ENIs are read. Asked only where [`Capabilities::migration`] says so.
    async fn migrate_address(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()>;
}
