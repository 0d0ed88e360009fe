//! The implementation of the core's `Cloud`: what each call is in actions of the API.

mod addresses;
mod listing;
mod orders;
mod pages;
mod turns;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use eni_core::{
    cloud::{
        AssignAddresses, Capabilities, Cloud, CloudError, CloudErrorKind, CloudResult, CreateEni, EniFilter,
    },
    env::Environment,
    model::{Eni, EniId, Instance, InstanceId, Limits, Subnet, SubnetId},
};
use parking_lot::Mutex;
use turns::Turns;

use crate::{
    api::{Action, BATCH, DescribeNetworkInterfaceLimit, PAGE},
    client::{ActionCounts, ApiConfig, BuildError, Client, Failure},
    convert,
    credentials::CredentialSource,
};

/// How long all pages of a listing may take together: 10,000 ENIs are 100 of them, and the client gives each up in time.
const LISTING: Duration = Duration::from_secs(120);

/// Tencent Cloud: the ENIs, subnets and instances of one account in one region.
#[derive(Debug)]
pub struct TencentCloud {
    client: Client,
    credentials: Arc<dyn CredentialSource>,
    environment: EnvironmentOf,
    turns: Turns,
    /// Subnets as they were last read. Their VPC and zone never change; nothing else of them is used.
    places: Mutex<BTreeMap<SubnetId, Subnet>>,
}

/// An environment has no `Debug`.
struct EnvironmentOf(Arc<dyn Environment>);

impl std::fmt::Debug for EnvironmentOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

impl TencentCloud {
    /// The cloud of `config`, with keys of `credentials`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If no request could ever be sent so, and what to do.
    pub fn new(
        config: &ApiConfig,
        credentials: Arc<dyn CredentialSource>,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            client: Client::new(config, environment.clone())?,
            credentials,
            environment: EnvironmentOf(environment),
            turns: Turns::default(),
            places: Mutex::default(),
        })
    }

    /// The requests that were sent, by action. A call of the core can be several.
    pub fn counts(&self) -> BTreeMap<&'static str, ActionCounts> {
        self.client.counts()
    }

    async fn send<A: Action>(&self, request: &A, resource: &str) -> Result<A::Answer, Failure> {
        self.client
            .send(request, resource, self.credentials.as_ref())
            .await
    }

    fn random(&self) -> u64 {
        self.environment.0.random()
    }
}

#[async_trait]
impl Cloud for TencentCloud {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.client_tokens = true;
        capabilities.assign_batch = BATCH;
        capabilities.unassign_batch = BATCH;
        capabilities.describe_batch = PAGE;
        capabilities.ipv6 = true;
        capabilities.migration = true;
        capabilities.listing_timeout = Some(LISTING);
        capabilities
    }

    async fn instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<Instance>> {
        self.list_instances(ids).await
    }

    async fn limits(&self, instance: &InstanceId) -> CloudResult<Limits> {
        let request = DescribeNetworkInterfaceLimit {
            instance_id: instance.to_string(),
        };
        let answer = self.send(&request, instance.as_str()).await;
        let limits = answer.and_then(|limit| {
            convert::limits(&limit)
                .map_err(|error| Failure::senseless(DescribeNetworkInterfaceLimit::NAME, error))
        });
        limits.map_err(|failure| failure.about(instance.as_str(), None))
    }

    async fn subnets(&self, ids: &[SubnetId]) -> CloudResult<Vec<Subnet>> {
        self.list_subnets(ids).await
    }

    async fn enis(&self, filter: &EniFilter) -> CloudResult<Vec<Eni>> {
        let raw = self.list_enis(filter).await?;
        let read = raw.into_iter().map(convert::eni).collect::<Result<Vec<_>, _>>();
        let mut enis =
            read.map_err(|error| senseless("DescribeNetworkInterfaces", &listing::words(filter), error))?;
        if let EniFilter::Tags(tags) = filter {
            // What bears other tags is none of ours, whatever the gateway made of the filter.
            enis.retain(|eni| tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value)));
        }
        Ok(enis)
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<Eni> {
        self.create(request).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.attach(eni, instance).await
    }

    async fn detach_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.detach(eni).await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.delete(eni).await
    }

    async fn assign_addresses(&self, eni: &EniId, request: &AssignAddresses) -> CloudResult<Vec<IpAddr>> {
        self.assign(eni, request).await
    }

    async fn unassign_addresses(&self, eni: &EniId, addresses: &[IpAddr]) -> CloudResult<()> {
        self.unassign(eni, addresses).await
    }

    async fn migrate_address(&self, from: &EniId, to: &EniId, address: IpAddr) -> CloudResult<()> {
        self.migrate(from, to, address).await
    }
}

/// An answer that cannot be true, so that what was done is unknown.
fn senseless(action: &'static str, resource: &str, message: impl std::fmt::Display) -> CloudError {
    CloudError::new(CloudErrorKind::Unavailable, action, resource, message)
}
