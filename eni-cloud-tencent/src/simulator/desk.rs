//! What every action works with.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use eni_core::{
    env::Environment,
    model::{Eni, EniId, Instance, InstanceId, InstanceState, Limits, Subnet, SubnetId},
    sim::MemoryCloud,
};
use jiff::tz::{Offset, TimeZone};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{
    Settings,
    accounts::Accounts,
    eips::Eips,
    faults::FaultPlan,
    parameters::Parameters,
    rates::Meter,
    refusal::{Verdict, refuse},
    reserves::Reserves,
    tasks::Tasks,
    tokens::Tokens,
};

/// The account that owns everything.
pub(super) const OWNER: &str = "100000000001";

/// The cloud, and what the API keeps beside it.
pub(super) struct Desk {
    pub(super) cloud: MemoryCloud,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) settings: Settings,
    pub(super) accounts: Mutex<Accounts>,
    pub(super) meter: Mutex<Meter>,
    pub(super) tokens: Mutex<Tokens>,
    pub(super) tasks: Mutex<Tasks>,
    pub(super) notes: Mutex<BTreeMap<EniId, Notes>>,
    pub(super) faults: Mutex<FaultPlan>,
    pub(super) eips: Mutex<Eips>,
    pub(super) reserves: Mutex<Reserves>,
}

/// What the API shows of an ENI that the memory cloud does not hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub(super) description: String,
    pub(super) created: String,
    pub(super) attached: String,
    pub(super) device: u64,
    pub(super) trunking: bool,
    pub(super) addresses: BTreeMap<IpAddr, String>,
}

impl Desk {
    /// The time as the VPC API writes it: eight hours east, without saying so.
    pub(super) fn stamp(&self) -> String {
        let zone = TimeZone::fixed(Offset::constant(8));
        self.environment
            .now()
            .to_zoned(zone)
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string()
    }

    /// A new id of a request, in the form of a UUID.
    pub(super) fn request_id(&self) -> String {
        let (a, b) = (self.environment.random(), self.environment.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            (b >> 48) & 0x3fff | 0x8000,
            b & 0xffff_ffff_ffff
        )
    }

    /// The ENI that a parameter names.
    pub(super) fn eni(&self, parameters: &Parameters<'_>, name: &str) -> Verdict<Eni> {
        let id = parameters.text(name)?;
        match self.cloud.eni(&EniId::from(id)) {
            Some(eni) => Ok(eni),
            None => refuse!("ResourceNotFound", "The network interface `{id}` does not exist."),
        }
    }

    /// The instance that a parameter names, if it is not gone.
    pub(super) fn instance(&self, parameters: &Parameters<'_>, name: &str) -> Verdict<(Instance, Limits)> {
        let id = parameters.text(name)?;
        match self.cloud.instance(&InstanceId::from(id)) {
            Some((instance, limits)) if instance.state != InstanceState::Terminated => Ok((instance, limits)),
            _ => refuse!(
                parameters
                    .action
                    .code(&["InvalidInstanceId.NotFound", "ResourceNotFound"]),
                "The instance `{id}` does not exist."
            ),
        }
    }

    /// The subnet that a parameter names.
    pub(super) fn subnet(&self, parameters: &Parameters<'_>, name: &str) -> Verdict<Subnet> {
        let id = SubnetId::from(parameters.text(name)?);
        let found = self
            .cloud
            .all_subnets()
            .into_iter()
            .find(|(subnet, _)| subnet.id == id);
        match found {
            Some((subnet, _)) => Ok(subnet),
            None => refuse!("ResourceNotFound", "The subnet `{id}` does not exist."),
        }
    }

    /// The VPC that a parameter names must be the one there is.
    pub(super) fn vpc(&self, parameters: &Parameters<'_>) -> Verdict<()> {
        let id = parameters.text("VpcId")?;
        match id == self.cloud.vpc().as_str() {
            true => Ok(()),
            false => refuse!(
                parameters
                    .action
                    .code(&["InvalidVpcId.NotFound", "ResourceNotFound"]),
                "The VPC `{id}` does not exist."
            ),
        }
    }

    /// The public addresses as they are now.
    pub(super) fn eips(&self) -> MutexGuard<'_, Eips> {
        let mut eips = self.eips.lock();
        eips.advance(Instant::now());
        eips.follow(|binding| {
            let eni = self.cloud.eni(&binding.eni)?;
            let held = eni.addresses.iter().any(|address| address.ip == binding.private);
            held.then_some(eni.instance)
        });
        eips
    }

    /// Changes what is noted of an ENI.
    pub(super) fn note(&self, eni: &EniId, change: impl FnOnce(&mut Notes)) {
        change(self.notes.lock().entry(eni.clone()).or_default());
    }
}
